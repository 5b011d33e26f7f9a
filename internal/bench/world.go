package bench

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/rig"
	"sluice/internal/store"
)

const shards = message.DefaultShards

// world is what one measurement runs in: a Redis, a simulator, and the programs.
type world struct {
	*rig.Rig
	o          Options
	durability string
	db         *store.DB
	far        *rig.Process // the plain far side; nil: the simulator is the far side, or there is none
}

// newWorld starts an empty Redis.
func newWorld(ctx context.Context, o Options, durability string) (*world, error) {
	return newWorldUnder(ctx, o, durability, nil)
}

// newWorldUnder starts an empty Redis after prepare, which may be nil, changed the rig.
func newWorldUnder(ctx context.Context, o Options, durability string, prepare func(*rig.Rig)) (*world, error) {
	g, err := rig.New(o.Program)
	if err != nil {
		return nil, err
	}
	if prepare != nil {
		prepare(g)
	}
	w := &world{Rig: g, o: o, durability: durability}
	fsync := "everysec"
	if durability == Fsync {
		fsync = "always"
	}
	if err := w.StartRedis(ctx, "", "--appendfsync", fsync); err != nil {
		w.close()
		return nil, err
	}
	if w.db, err = store.Open(ctx, "redis://"+w.Redis.Addr); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// close ends everything.
func (w *world) close() {
	if w.db != nil {
		w.db.Close()
	}
	w.Close()
}

// simulate starts the simulator, which sends its webhooks to the webhook program at hook, unless hook is
// empty.
func (w *world) simulate(ctx context.Context, rate int, hook string) error {
	return w.Simulate(ctx, graphsim.Options{Rate: rate, Seed: 1, Webhook: graphsim.Webhook{Batch: 100}}, hook)
}

// configure writes the configuration of the programs, with more settings.
func (w *world) configure(numbers []rig.Number, more ...map[string]any) error {
	settings := map[string]any{
		"shards": int(shards),
		"redis":  map[string]any{"url": "redis://" + w.Redis.Addr, "durability": w.durability},
	}
	if w.far != nil {
		settings["graph"] = map[string]any{"base_url": "http://" + w.far.Addr}
	}
	for _, m := range more {
		maps.Copy(settings, m)
	}
	return w.Configure(numbers, settings)
}

// program starts one of Sluice's programs and waits until it is ready.
func (w *world) program(ctx context.Context, name string, env ...string) (*rig.Process, error) {
	return w.Program(ctx, name, "", env)
}

// workers starts n workers at the same time. With traced each writes its own trace.
func (w *world) workers(ctx context.Context, n int, traced bool) ([]*rig.Process, error) {
	all := make([]*rig.Process, n)
	g, ctx := errgroup.WithContext(ctx)
	for i := range all {
		var env []string
		if traced {
			env = append(env, "SLUICE_TRACE_SENDS="+w.traceFile(i))
		}
		g.Go(func() (err error) {
			all[i], err = w.program(ctx, "worker", env...)
			return err
		})
	}
	return all, g.Wait()
}

func (w *world) traceFile(i int) string { return filepath.Join(w.Dir, fmt.Sprintf("trace-%d", i)) }

// stopAll stops processes by SIGTERM, all at the same time.
func stopAll(processes []*rig.Process) {
	var g errgroup.Group
	for _, p := range processes {
		g.Go(func() error { p.Stop(); return nil })
	}
	g.Wait()
}

// traces reads the traces of n workers, which must have ended.
func (w *world) traces(n int) (*sends, error) {
	s := &sends{times: map[string][]time.Time{}}
	for i := range n {
		f, err := os.Open(w.traceFile(i))
		if err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
		err = s.readTrace(f)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	s.sort()
	return s, nil
}

// api returns a client of the producer.
func (w *world) api(producer *rig.Process) *client.Client { return w.API(producer.Addr) }

// raw returns a Redis client without Sluice's scripts.
func (w *world) raw() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: w.Redis.Addr, PoolSize: 64, DisableIdentity: true})
}

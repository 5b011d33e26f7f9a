package bench

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sluice/internal/client"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/store"
)

// The secrets of a run. They guard nothing.
const (
	apiKey    = "bench-api-key-of-no-use-elsewhere"
	token     = "bench-access-token"
	appSecret = "bench-app-secret"
)

const shards = message.DefaultShards

// world is one measurement's surroundings: a Redis, a simulator, and the programs.
type world struct {
	o          Options
	dir        string
	durability string
	redis      *process
	db         *store.DB
	sim        *process
	children   []*process
	http       *http.Client
}

// newWorld starts an empty Redis.
func newWorld(ctx context.Context, o Options, durability string) (*world, error) {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, fmt.Errorf("folder of the run: %w", err)
	}
	w := &world{o: o, dir: dir, durability: durability, http: &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
	if w.redis, err = startRedis(ctx, dir, durability, w.env()); err != nil {
		w.close()
		return nil, err
	}
	w.children = append(w.children, w.redis)
	if w.db, err = store.Open(ctx, "redis://"+w.redis.addr); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// close ends everything.
func (w *world) close() {
	for _, p := range w.children {
		p.kill()
	}
	if w.db != nil {
		w.db.Close()
	}
	w.http.CloseIdleConnections()
	os.RemoveAll(w.dir)
}

// env is the environment of a child: nothing of ours that would configure it.
func (w *world) env(more ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH")}
	for _, name := range []string{"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "GOCOVERDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, more...)
}

// part starts a part of ours, see Part.
func (w *world) part(name string, env []string, args ...string) (*process, error) {
	p, err := start(name, w.dir, w.env(env...), w.o.Program, append([]string{PartCommand, name}, args...)...)
	if err == nil {
		w.children = append(w.children, p)
	}
	return p, err
}

// served starts a part that takes its settings as JSON and listens at the address in them.
func (w *world) served(ctx context.Context, name, addr string, settings any) (*process, error) {
	b, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	p, err := w.part(name, nil, addr, string(b))
	if err != nil {
		return nil, err
	}
	p.addr = addr
	return p, p.ready(ctx, dials(addr))
}

// simulate starts the simulator, which reports to the webhook at hook unless that is empty.
func (w *world) simulate(ctx context.Context, rate int, hook string) (err error) {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	o := graphsim.Options{Token: token, Rate: rate, Seed: 1}
	if hook != "" {
		o.Webhook = graphsim.Webhook{URL: hook, Secret: appSecret, Batch: 100}
	}
	w.sim, err = w.served(ctx, "simulate", addr, o)
	return err
}

// number is a phone number of the run.
type number struct {
	ID   string `json:"id"`
	Rate int    `json:"rate"`
	File string `json:"token_file"`
}

// numbers returns n phone numbers that may send rate messages a second.
func numbers(n, rate int) []number {
	all := make([]number, n)
	for i := range all {
		all[i] = number{ID: fmt.Sprintf("1065403%08d", i), Rate: rate, File: "token"}
	}
	return all
}

// configure writes the programs' configuration. The simulator must run.
func (w *world) configure(numbers []number) error {
	type object = map[string]any
	for name, content := range map[string]string{"token": token, "secret": appSecret, "verify": "bench-verify-token", "marker": "bench-marker-key-0123456789"} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("configure: %w", err)
		}
	}
	graph := "http://127.0.0.1:1"
	if w.sim != nil {
		graph = "http://" + w.sim.addr
	}
	hash := sha256.Sum256([]byte(apiKey))
	b, err := json.Marshal(object{ // JSON is YAML too
		"environment": "bench", "log_level": "warn", "shards": int(shards),
		"redis":           object{"url": "redis://" + w.redis.addr, "durability": w.durability},
		"graph":           object{"base_url": graph},
		"marker_key_file": "marker",
		"numbers":         numbers,
		"apps":            []object{{"name": "main", "secret_file": "secret", "verify_token_file": "verify"}},
		"api_keys":        []object{{"name": "bench", "sha256": hex.EncodeToString(hash[:]), "numbers": []string{"*"}, "scopes": []string{"messages:send", "messages:read"}}},
	})
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return os.WriteFile(filepath.Join(w.dir, "sluice.yaml"), b, 0o600)
}

// program starts one of Sluice's programs and waits until it is ready.
func (w *world) program(ctx context.Context, name string, env ...string) (*process, error) {
	ops, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args := []string{"--config", "sluice.yaml", "--listen-ops", ops}
	addr := ""
	if flag := map[string]string{"producer": "--listen-api", "webhook": "--listen-webhook"}[name]; flag != "" {
		if addr, err = freeAddr(); err != nil {
			return nil, err
		}
		args = append(args, flag, addr)
	}
	p, err := w.part(name, env, args...)
	if err != nil {
		return nil, err
	}
	p.addr, p.ops = addr, ops
	return p, p.ready(ctx, func(ctx context.Context) error { _, err := w.get(ctx, "http://"+ops+"/readyz"); return err })
}

// workers starts n workers, each with its own trace when traced.
func (w *world) workers(ctx context.Context, n int, traced bool) ([]*process, error) {
	all := make([]*process, n)
	for i := range all {
		var env []string
		if traced {
			env = append(env, "SLUICE_TRACE_SENDS="+w.traceFile(i))
		}
		p, err := w.program(ctx, "worker", env...)
		if err != nil {
			return nil, err
		}
		all[i] = p
	}
	return all, nil
}

func (w *world) traceFile(i int) string { return filepath.Join(w.dir, fmt.Sprintf("trace-%d", i)) }

// stopAll stops processes in good order, all at once.
func stopAll(processes []*process) {
	var g errgroup.Group
	for _, p := range processes {
		g.Go(func() error { p.stop(); return nil })
	}
	g.Wait()
}

// traces reads what n workers traced. They must have been stopped.
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
func (w *world) api(producer *process) *client.Client {
	return &client.Client{Base: "http://" + producer.addr, Key: apiKey, HTTP: w.http}
}

// raw returns a Redis client without our scripts.
func (w *world) raw() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: w.redis.addr, PoolSize: 64, DisableIdentity: true})
}

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/graphsim"
)

// get reads a URL whose answer must be 200.
func (w *world) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %.200s", url, resp.Status, b)
	}
	return b, nil
}

// stats asks the simulator what it saw.
func (w *world) stats(ctx context.Context) (s graphsim.Stats, err error) {
	b, err := w.get(ctx, "http://"+w.sim.addr+"/_sim/stats")
	if err != nil {
		return s, fmt.Errorf("ask the simulator: %w", err)
	}
	return s, json.Unmarshal(b, &s)
}

// accepted hands every message that the simulator took to f.
func (w *world) accepted(ctx context.Context, f func(graphsim.Accepted)) error {
	b, err := w.get(ctx, "http://"+w.sim.addr+"/_sim/accepted")
	if err != nil {
		return fmt.Errorf("ask the simulator: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		var a graphsim.Accepted
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			return fmt.Errorf("the simulator's ledger: %w", err)
		}
		f(a)
	}
	return nil
}

// metric adds up the series of a metric of one program.
func (w *world) metric(ctx context.Context, p *process, name string) (float64, error) {
	b, err := w.get(ctx, "http://"+p.ops+"/metrics")
	if err != nil {
		return 0, fmt.Errorf("metrics of %s: %w", p.name, err)
	}
	return sum(string(b), name), nil
}

// sum adds up the series of a metric in Prometheus's text format.
func sum(text, name string) (total float64) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || (rest[0] != ' ' && rest[0] != '{') {
			continue
		}
		f := strings.Fields(rest[strings.LastIndexByte(rest, '}')+1:])
		if len(f) > 0 {
			v, _ := strconv.ParseFloat(f[0], 64)
			total += v
		}
	}
	return total
}

// usage is what was used up to a moment.
type usage struct {
	at       time.Time
	redis    time.Duration // processor time
	programs time.Duration // processor time
	commands float64       // that Redis ran, in scripts too
	trips    float64       // that the programs made to Redis
	accepted int           // messages that the simulator took
}

// used looks what Redis and the given programs have used so far.
func (w *world) used(ctx context.Context, programs []*process) (u usage, err error) {
	u.at = time.Now()
	if w.sim != nil {
		s, err := w.stats(ctx)
		if err != nil {
			return u, err
		}
		u.accepted = s.Accepted
	}
	if u.redis, err = w.redis.cpu(); err != nil {
		return u, err
	}
	stats, err := info(ctx, w.db, "stats")
	if err != nil {
		return u, err
	}
	u.commands = stats["total_commands_processed"]
	for _, p := range programs {
		cpu, err := p.cpu()
		if err != nil {
			return u, errors.Join(err, p.alive())
		}
		u.programs += cpu
		if p.ops == "" {
			continue
		}
		trips, err := w.metric(ctx, p, "sluice_redis_round_trips_total")
		if err != nil {
			return u, err
		}
		u.trips += trips
	}
	return u, nil
}

// since returns what was used from before to u.
func (u usage) since(before usage) usage {
	u.redis -= before.redis
	u.programs -= before.programs
	u.commands -= before.commands
	u.trips -= before.trips
	u.accepted -= before.accepted
	return u
}

// costs fills in what each of n messages cost.
func (u usage) costs(r *Row, n int) {
	micros := func(d time.Duration) *float64 {
		return new(ratio(float64(d)/float64(time.Microsecond), float64(n)))
	}
	r.RedisCPU, r.GoCPU = micros(u.redis), micros(u.programs)
}

// profile takes a CPU profile of programs while f runs, if profiles are wanted.
func (w *world) profile(ctx context.Context, name string, programs []*process, d time.Duration, f func() error) error {
	if w.o.Profiles == "" {
		return f()
	}
	var g errgroup.Group
	for i, p := range programs[:min(2, len(programs))] {
		g.Go(func() error {
			b, err := w.get(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.ops, min(max(1, int(d.Seconds())), 30)))
			if err != nil {
				return fmt.Errorf("profile of %s: %w", p.name, err)
			}
			file := filepath.Join(w.o.Profiles, fmt.Sprintf("%s-%s-%d.pprof", name, p.name, i))
			return os.WriteFile(file, b, 0o644)
		})
	}
	return errors.Join(f(), g.Wait())
}

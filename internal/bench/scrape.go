package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sluice/internal/rig"
)

// info returns the numbers in sections of INFO.
func info(ctx context.Context, c redis.Cmdable, sections ...string) (map[string]float64, error) {
	numbers := map[string]float64{}
	for _, s := range sections {
		text, err := c.Info(ctx, s).Result()
		if err != nil {
			return nil, fmt.Errorf("info %s: %w", s, err)
		}
		for line := range strings.SplitSeq(text, "\r\n") {
			name, value, _ := strings.Cut(line, ":")
			if f, err := strconv.ParseFloat(value, 64); err == nil {
				numbers[name] = f
			}
		}
	}
	return numbers, nil
}

// usage is what Redis and the programs have used up to a moment.
type usage struct {
	at       time.Time
	redis    time.Duration // processor time
	programs time.Duration // processor time
	commands float64       // commands that Redis ran, also in scripts
	trips    float64       // round trips of the programs to Redis
	accepted int           // messages that the far side accepted
}

// used returns what Redis and the given programs have used so far.
func (w *world) used(ctx context.Context, programs []*rig.Process) (u usage, err error) {
	u.at = time.Now()
	if u.accepted, err = w.taken(ctx); err != nil {
		return u, err
	}
	if u.redis, err = w.Redis.CPU(); err != nil {
		return u, err
	}
	stats, err := info(ctx, w.db, "stats")
	if err != nil {
		return u, err
	}
	u.commands = stats["total_commands_processed"]
	for _, p := range programs {
		cpu, err := p.CPU()
		if err != nil {
			return u, errors.Join(err, p.Alive())
		}
		u.programs += cpu
		if p.Ops == "" {
			continue
		}
		trips, err := w.Metric(ctx, p, "sluice_redis_round_trips_total")
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

// costs sets what each of n messages cost.
func (u usage) costs(r *Row, n int) {
	micros := func(d time.Duration) *float64 {
		return new(ratio(float64(d)/float64(time.Microsecond), float64(n)))
	}
	r.Commands, r.RedisCPU, r.GoCPU = new(ratio(u.commands, float64(n))), micros(u.redis), micros(u.programs)
}

// profile calls f. If the options ask for profiles, it writes CPU profiles of programs and the commands of
// Redis in the meantime.
func (w *world) profile(ctx context.Context, name string, programs []*rig.Process, d time.Duration, f func() error) error {
	if w.o.Profiles == "" {
		return f()
	}
	before, err := w.commands(ctx)
	if err != nil {
		return err
	}
	var g errgroup.Group
	for i, p := range programs[:min(3, len(programs))] {
		g.Go(func() error {
			b, err := w.Get(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.Ops, min(max(1, int(d.Seconds())), 30)))
			if err != nil {
				return fmt.Errorf("profile of %s: %w", p.Name, err)
			}
			file := filepath.Join(w.o.Profiles, fmt.Sprintf("%s-%s-%d.pprof", name, p.Name, i))
			return os.WriteFile(file, b, 0o644)
		})
	}
	if err := errors.Join(f(), g.Wait()); err != nil {
		return err
	}
	after, err := w.commands(ctx)
	if err != nil {
		return err
	}
	var table strings.Builder
	for _, cmd := range slices.Sorted(maps.Keys(after)) {
		fmt.Fprintf(&table, "%-20s %10d calls %10d us\n", cmd, after[cmd].calls-before[cmd].calls, after[cmd].micros-before[cmd].micros)
	}
	return os.WriteFile(filepath.Join(w.o.Profiles, name+"-redis.txt"), []byte(table.String()), 0o644)
}

// command is how often Redis ran a command, and how long that took.
type command struct{ calls, micros int }

// commands returns the commands that Redis has run so far, also in scripts. The time of evalsha includes theirs.
func (w *world) commands(ctx context.Context) (map[string]command, error) {
	text, err := w.db.Info(ctx, "commandstats").Result()
	if err != nil {
		return nil, err
	}
	ran := map[string]command{}
	for line := range strings.SplitSeq(text, "\r\n") {
		name, rest, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
		var c command
		if _, err := fmt.Sscanf(rest, "calls=%d,usec=%d", &c.calls, &c.micros); found && err == nil {
			ran[name] = c
		}
	}
	return ran, nil
}

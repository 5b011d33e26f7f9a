package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/config"
	"sluice/internal/events"
	"sluice/internal/rig"
)

// smallBacklog is what the large one is compared with.
const smallBacklog = 10_000

// memory weighs messages in Redis and an idle worker, and drains a small and a large backlog.
func memory(ctx context.Context, o Options) ([]Row, error) {
	o.Duration = cmp.Or(o.Duration, 30*time.Second)
	row := Row{Rate: unlimited, Workers: cmp.Or(o.Workers, 1), Numbers: cmp.Or(o.Numbers, 12)}
	var rows []Row
	for _, row.Durability = range o.durabilities(Relaxed) {
		row.Case, row.Backlog = "a small backlog", smallBacklog
		small, err := memoryOnce(ctx, o, row)
		if err != nil {
			return rows, err
		}
		row.Case, row.Backlog = "a large backlog", cmp.Or(o.Backlog, 100_000)
		large, err := memoryOnce(ctx, o, row)
		if err != nil {
			return append(rows, small), err
		}
		large.Baseline, large.Ratio = small.PerSecond, new(ratio(*large.PerSecond, *small.PerSecond))
		rows = append(rows, small, large)
		row.Case, row.Backlog = "delivered, with the webhooks that said so", smallBacklog
		final, err := memoryFinal(ctx, o, row)
		if err != nil {
			return rows, err
		}
		quiet, err := memoryIdle(ctx, o, Row{Case: "an idle worker", Durability: row.Durability, Workers: 1, Numbers: row.Numbers})
		if err != nil {
			return append(rows, final), err
		}
		rows = append(rows, final, quiet)
	}
	return rows, nil
}

// memoryOnce weighs a backlog and drains so much of it as the small one has.
func memoryOnce(ctx context.Context, o Options, row Row) (Row, error) {
	o.say("memory: %s (%s)", row.Case, row.about())
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	nrs := rig.Numbers(row.Numbers, row.Rate)
	if err := w.simulate(ctx, 0, ""); err != nil {
		return row, err
	}
	if err := w.configure(nrs); err != nil {
		return row, err
	}
	empty, err := w.weigh(ctx)
	if err != nil {
		return row, err
	}
	if err := w.preload(ctx, nrs, row.Backlog); err != nil {
		return row, err
	}
	full, err := w.weigh(ctx)
	if err != nil {
		return row, err
	}
	object, _ := content(1)
	row.BytesWaiting = new((full-empty)/float64(row.Backlog) - float64(len(object)))
	if err := w.readEvents(ctx); err != nil {
		return row, err
	}
	workers, err := w.workers(ctx, row.Workers, false)
	if err != nil {
		return row, err
	}
	all := row.Backlog
	row.Backlog = min(all, smallBacklog) // as much of both is measured
	err = w.emptying(ctx, &row, o.Duration, workers)
	row.Backlog = all
	return row, err
}

// readEvents lets a worker that sends nothing read the events of the loading, as workers do while
// a backlog grows.
func (w *world) readEvents(ctx context.Context) error {
	p, err := w.program(ctx, "worker", "SLUICE_ROLES="+config.RoleReconcile)
	if err != nil {
		return err
	}
	defer p.Stop()
	stream := events.New(w.db, shards, events.Options{})
	for {
		if behind, err := stream.Behind(ctx); err == nil && behind == 0 {
			return nil
		}
		if err := errors.Join(pause(ctx, 20*time.Millisecond), p.Alive()); err != nil {
			return err
		}
	}
}

// memoryFinal weighs the records of delivered messages, and adds up what their whole life
// after the intake cost.
func memoryFinal(ctx context.Context, o Options, row Row) (Row, error) {
	o.say("memory: %s (%s)", row.Case, row.about())
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	nrs := rig.Numbers(row.Numbers, row.Rate)
	// The webhook's address must be known to the simulator before its configuration can be
	// written, which holds the simulator's: so it is configured twice.
	if err := w.configure(nrs); err != nil {
		return row, err
	}
	hook, err := w.program(ctx, "webhook")
	if err != nil {
		return row, err
	}
	if err := w.simulate(ctx, 0, hook.Addr); err != nil {
		return row, err
	}
	if err := w.configure(nrs); err != nil {
		return row, err
	}
	empty, err := w.weigh(ctx)
	if err != nil {
		return row, err
	}
	if err := w.preload(ctx, nrs, row.Backlog); err != nil {
		return row, err
	}
	before, err := w.used(ctx, []*rig.Process{hook}) // of the workers it is nothing so far
	if err != nil {
		return row, err
	}
	workers, err := w.workers(ctx, row.Workers, false)
	if err != nil {
		return row, err
	}
	// Sent and delivered, for each message: then its record is final.
	deadline := time.Now().Add(4 * o.Duration)
	for folded := 0.0; folded < 2*float64(row.Backlog); {
		if time.Now().After(deadline) {
			return row, fmt.Errorf("%.0f of %d statuses were folded in %s", folded, 2*row.Backlog, 4*o.Duration)
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return row, err
		}
		folded = 0
		for _, p := range workers {
			n, err := w.Metric(ctx, p, `sluice_status_folded_total`)
			if err != nil {
				return row, err
			}
			folded += n
		}
	}
	after, err := w.used(ctx, append([]*rig.Process{hook}, workers...))
	if err != nil {
		return row, err
	}
	after.since(before).costs(&row, row.Backlog)
	stopAll(workers)
	full, err := w.weigh(ctx)
	if err != nil {
		return row, err
	}
	row.BytesFinal = new((full - empty) / float64(row.Backlog))
	return row, nil
}

// memoryIdle weighs a worker that has nothing to do.
func memoryIdle(ctx context.Context, o Options, row Row) (Row, error) {
	o.say("memory: %s", row.Case)
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	if err := w.configure(rig.Numbers(row.Numbers, 80)); err != nil {
		return row, err
	}
	workers, err := w.workers(ctx, 1, false)
	if err != nil {
		return row, err
	}
	if err := pause(ctx, 5*time.Second); err != nil {
		return row, err
	}
	b, err := workers[0].Resident()
	row.Resident = new(b / (1 << 20))
	return row, err
}

// weigh returns what Redis's data take, in bytes, without the buffers of connections and
// without the event streams: those are bounded, however many messages there are.
func (w *world) weigh(ctx context.Context) (float64, error) {
	m, err := info(ctx, w.db, "memory")
	if err != nil {
		return 0, err
	}
	bytes := m["used_memory"] - m["mem_clients_normal"] - m["mem_aof_buffer"]
	var streams []*redis.IntCmd
	err = w.db.Pipe(ctx, func(p redis.Pipeliner) {
		streams = nil
		for _, s := range shards.All() {
			streams = append(streams, p.MemoryUsage(ctx, s.MessageEventsKey(), 0), p.MemoryUsage(ctx, s.MetaEventsKey(), 0))
		}
	})
	for _, s := range streams {
		bytes -= float64(s.Val())
	}
	return bytes, err
}

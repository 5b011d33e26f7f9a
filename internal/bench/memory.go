package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/config"
	"sluice/internal/events"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/rig"
)

// smallBacklog is the backlog that the large one is compared with.
const smallBacklog = 10_000

// memory measures the memory of messages in Redis and of an idle worker, and drains a small and a large backlog.
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
		row.Case, row.Backlog = "delivered, with the webhooks that reported it", smallBacklog
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

// drains is how often memoryOnce drains as many messages as the small backlog has: that takes seconds, in which
// other load on the machine decides, so it takes the median.
const drains = 5

// memoryOnce measures the memory of a backlog and drains as many of its messages as the small one has, several
// times. Each time other workers start, and a backlog that is used up is loaded again.
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
	object, _ := messageObject(1)
	row.BytesWaiting = new((full-empty)/float64(row.Backlog) - float64(len(object)))
	if err := w.readEvents(ctx); err != nil {
		return row, err
	}
	rows := make([]Row, drains)
	for i := range rows {
		if i > 0 && row.Backlog <= smallBacklog {
			if err := w.preload(ctx, nrs, row.Backlog); err != nil {
				return row, err
			}
		}
		if rows[i], err = w.drainSome(ctx, o, row); err != nil {
			return row, err
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(*a.PerSecond, *b.PerSecond) })
	return rows[drains/2], nil
}

// drainSome drains as many messages as the small backlog has.
func (w *world) drainSome(ctx context.Context, o Options, row Row) (Row, error) {
	taken, err := w.taken(ctx)
	if err != nil {
		return row, err
	}
	workers, err := w.workers(ctx, row.Workers, false)
	if err != nil {
		return row, err
	}
	defer stopAll(workers)
	all := row.Backlog
	row.Backlog = min(all, smallBacklog) // the same number for both
	err = w.emptying(ctx, &row, o.Duration, workers, taken)
	row.Backlog = all
	return row, err
}

// quietBytes is how much Redis sends at most per second to a worker that reads no events.
const quietBytes = 100 << 10

// readEvents runs a worker that sends nothing until it has read the events of the loading, as workers do while
// a backlog grows. It has read them when Redis sends almost nothing.
func (w *world) readEvents(ctx context.Context) error {
	p, err := w.program(ctx, "worker", "SLUICE_ROLES="+config.RoleReconcile)
	if err != nil {
		return err
	}
	defer p.Stop()
	for last, quiet := -1.0, 0; quiet < 2; {
		stats, err := info(ctx, w.db, "stats")
		if err != nil {
			return err
		}
		sent := stats["total_net_output_bytes"]
		if quiet++; last < 0 || sent-last > quietBytes {
			quiet = 0
		}
		last = sent
		if err := errors.Join(pause(ctx, time.Second), p.Alive()); err != nil {
			return err
		}
	}
	return nil
}

// memoryFinal measures the memory of the records of delivered messages, and what their life
// after the acceptance cost.
func memoryFinal(ctx context.Context, o Options, row Row) (Row, error) {
	o.say("memory: %s (%s)", row.Case, row.about())
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	nrs := rig.Numbers(row.Numbers, row.Rate)
	// The simulator needs the address of the webhook program before it starts, and the configuration of the
	// webhook program needs the address of the simulator: so the configuration is written twice.
	if err := w.configure(nrs); err != nil {
		return row, err
	}
	hook, err := w.program(ctx, "webhook")
	if err != nil {
		return row, err
	}
	producer, err := w.program(ctx, "producer") // it answers for the state of a message
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
	before, err := w.used(ctx, []*rig.Process{hook}) // the workers have not started
	if err != nil {
		return row, err
	}
	workers, err := w.workers(ctx, row.Workers, false)
	if err != nil {
		return row, err
	}
	if taken, _, err := w.arrivals(ctx, row.Backlog, 4*o.Duration); err != nil || taken < row.Backlog {
		return row, errors.Join(err, fmt.Errorf("%d of %d messages arrived in %s", taken, row.Backlog, 4*o.Duration))
	}
	// Sent and delivered, for each message: then its record is final.
	var all []arrival
	err = w.Accepted(ctx, func(a graphsim.Accepted) {
		all = append(all, arrival{Number: a.Number, Marker: a.Marker, WAMID: a.WAMID})
	})
	if err != nil {
		return row, err
	}
	api := w.api(producer)
	if err := w.awaitState(ctx, api, all, message.Delivered, 4*o.Duration); err != nil {
		return row, err
	}
	after, err := w.used(ctx, append([]*rig.Process{hook}, workers...))
	if err != nil {
		return row, err
	}
	after.since(before).costs(&row, row.Backlog)
	if err := w.verify(ctx, api, all, message.Delivered); err != nil {
		return row, err
	}
	stopAll(append(workers, producer))
	if err := w.expired(ctx); err != nil {
		return row, err
	}
	full, err := w.weigh(ctx)
	if err != nil {
		return row, err
	}
	row.BytesFinal = new((full - empty) / float64(row.Backlog))
	return row, nil
}

// expired waits until the keys that live only for seconds have expired: until no key expired in a second, 30 s at
// most.
func (w *world) expired(ctx context.Context) error {
	last := int64(-1)
	for range 30 {
		keys, err := w.db.DBSize(ctx).Result()
		if err != nil || keys == last {
			return err
		}
		last = keys
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// memoryIdle measures the memory of a worker without work.
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

// weigh returns the memory of Redis's data in bytes, without the buffers of connections and
// without the event streams, whose size does not depend on the number of messages.
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
			streams = append(streams, p.MemoryUsage(ctx, events.MessageKey(s), 0), p.MemoryUsage(ctx, events.MetaKey(s), 0))
		}
	})
	for _, s := range streams {
		bytes -= float64(s.Val())
	}
	return bytes, err
}

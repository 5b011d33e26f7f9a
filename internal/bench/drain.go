package bench

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"sluice/internal/rig"
)

// unlimited is a rate that no run reaches: the highest that can be configured.
const unlimited = maxRate

// drain sends a backlog as fast as possible, by 1, 2 and 4 workers, and by asynq alone with
// its best number of servers.
func drain(ctx context.Context, o Options) ([]Row, error) {
	o.Duration = cmp.Or(o.Duration, 30*time.Second)
	row := Row{Rate: cmp.Or(o.Rate, unlimited), Numbers: cmp.Or(o.Numbers, 12), Backlog: cmp.Or(o.Backlog, 40_000)}
	counts := []int{1, 2, 4}
	if o.Workers > 0 {
		counts = []int{o.Workers}
	}
	var rows []Row
	for _, row.Durability = range o.durabilities(Relaxed, Fsync) {
		row.Workers = 0 // asynq has servers
		best, err := drainAsynqBest(ctx, o, row, toSimulator)
		if err != nil {
			return rows, err
		}
		rows = append(rows, best)
		for _, row.Workers = range counts {
			row.Case = "full path"
			o.say("drain: %s (%s)", row.Case, row.about())
			one, err := drainOnce(ctx, o, row)
			if err != nil {
				return rows, err
			}
			one.Baseline = best.PerSecond
			one.Ratio = new(ratio(*one.PerSecond, *best.PerSecond))
			rows = append(rows, one)
		}
	}
	return rows, nil
}

func drainOnce(ctx context.Context, o Options, row Row) (Row, error) {
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
	if err := w.preload(ctx, nrs, row.Backlog); err != nil {
		return row, err
	}
	workers, err := w.workers(ctx, row.Workers, false)
	if err != nil {
		return row, err
	}
	name := fmt.Sprintf("drain-%s-%d", row.Durability, row.Workers)
	return row, w.profile(ctx, name, workers, o.Duration/4, func() error { return w.emptying(ctx, &row, o.Duration, workers, 0) })
}

// emptying measures how fast a backlog is sent, between its first twentieth and its last. taken messages arrived
// before.
func (w *world) emptying(ctx context.Context, row *Row, d time.Duration, programs []*rig.Process, taken int) error {
	if _, _, err := w.arrivals(ctx, taken+row.Backlog/20, d); err != nil {
		return err
	}
	before, err := w.used(ctx, programs)
	if err != nil {
		return err
	}
	if _, _, err = w.arrivals(ctx, taken+row.Backlog*19/20, d); err != nil {
		return err
	}
	after, err := w.used(ctx, programs)
	if err != nil {
		return err
	}
	if sent := after.accepted - taken; sent < row.Backlog*19/20 {
		w.o.say("  only %d of %d messages arrived in time", sent, row.Backlog)
	}
	used := after.since(before)
	row.PerSecond = new(ratio(float64(used.accepted), after.at.Sub(before.at).Seconds()))
	if used.trips > 0 {
		row.Trips = new(ratio(used.trips, float64(used.accepted)))
	}
	used.costs(row, used.accepted)
	for _, p := range programs {
		b, err := p.Resident()
		if err != nil {
			return err
		}
		row.Resident = new(max(deref(row.Resident), b/(1<<20)))
	}
	return nil
}

// toSimulator and toFarSide start the far side of a run. Both answer at once.
func toSimulator(ctx context.Context, w *world) error { return w.simulate(ctx, 0, "") }
func toFarSide(ctx context.Context, w *world) error   { return w.farSide(ctx, farSideSettings{}) }

// drainAsynqBest finds asynq's best number of servers by short measurements, and measures it.
func drainAsynqBest(ctx context.Context, o Options, row Row, far func(context.Context, *world) error) (Row, error) {
	best, err := asynqBest(ctx, o, row, far)
	if err != nil {
		return row, err
	}
	return drainAsynq(ctx, o, row, best, far)
}

// asynqBest finds asynq's best number of servers by short measurements.
func asynqBest(ctx context.Context, o Options, row Row, far func(context.Context, *world) error) (AsynqSettings, error) {
	var best AsynqSettings
	most := 0.0
	for _, servers := range []int{1, 2, 4, 8} {
		for _, concurrency := range []int{10, 100} {
			s := AsynqSettings{Servers: servers, Concurrency: concurrency, Queues: map[string]int{"bulk": 1}}
			try := row
			try.Backlog = min(row.Backlog, 8_000)
			one, err := drainAsynq(ctx, o, try, s, far)
			if err != nil {
				return best, err
			}
			o.say("  asynq alone, servers %d, concurrency %d: %s/s", servers, concurrency, show(*one.PerSecond))
			if *one.PerSecond > most {
				best, most = s, *one.PerSecond
			}
		}
	}
	return best, nil
}

func drainAsynq(ctx context.Context, o Options, row Row, s AsynqSettings, far func(context.Context, *world) error) (Row, error) {
	row.Case = fmt.Sprintf("asynq: its best, servers %d, concurrency %d", s.Servers, s.Concurrency)
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	if err := far(ctx, w); err != nil {
		return row, err
	}
	if err := w.fillAsynq(ctx, "bulk", row.Backlog); err != nil {
		return row, err
	}
	row.Rate, row.Numbers = 0, 1
	p, err := w.asynq(ctx, s)
	if err != nil {
		return row, err
	}
	return row, w.emptying(ctx, &row, o.Duration, []*rig.Process{p}, 0)
}

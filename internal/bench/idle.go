package bench

import (
	"cmp"
	"context"
	"time"

	"sluice/internal/rig"
)

// idle measures what thousands of numbers without work cost: in the throughput of a busy number, and in
// Redis while nothing is sent.
func idle(ctx context.Context, o Options) ([]Row, error) {
	idle := cmp.Or(o.Numbers, 2000)
	o.Duration = cmp.Or(o.Duration, 15*time.Second)
	row := Row{Rate: cmp.Or(o.Rate, unlimited), Workers: cmp.Or(o.Workers, 2), Backlog: cmp.Or(o.Backlog, 100_000)}
	var rows []Row
	for _, row.Durability = range o.durabilities(Relaxed) {
		alone, busy := row, row
		alone.Case, alone.Numbers = "one busy number alone", 1
		busy.Case, busy.Numbers = "the busy number with idle ones", 1+idle
		for _, r := range []*Row{&alone, &busy} {
			o.say("idle: %s (%s)", r.Case, r.about())
			quiet, err := idleOnce(ctx, o, r)
			if err != nil {
				return rows, err
			}
			if r == &busy {
				r.Baseline, r.Ratio = alone.PerSecond, new(ratio(*r.PerSecond, *alone.PerSecond))
			}
			rows = append(rows, *r, quiet)
		}
		r, err := idleAsynq(ctx, o, row, idle)
		if err != nil {
			return rows, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// idleOnce measures the throughput of a busy number into r, and what the same workers cost when the backlog is
// sent.
func idleOnce(ctx context.Context, o Options, r *Row) (quiet Row, err error) {
	w, err := newWorld(ctx, o, r.Durability)
	if err != nil {
		return quiet, err
	}
	defer w.close()
	nrs := rig.Numbers(r.Numbers, r.Rate)
	for i := range nrs[1:] {
		nrs[i+1].Rate = 80
	}
	if err := w.simulate(ctx, 0, ""); err != nil {
		return quiet, err
	}
	if err := w.configure(nrs); err != nil {
		return quiet, err
	}
	workers, err := w.workers(ctx, r.Workers, false)
	if err != nil {
		return quiet, err
	}
	if err := pause(ctx, settle); err != nil {
		return quiet, err
	}
	quiet = Row{Case: "nothing to do", Durability: r.Durability, Workers: r.Workers, Numbers: r.Numbers}
	before, err := w.used(ctx, workers)
	if err != nil {
		return quiet, err
	}
	if err := pause(ctx, o.Duration/3); err != nil {
		return quiet, err
	}
	after, err := w.used(ctx, workers)
	if err != nil {
		return quiet, err
	}
	used := after.since(before)
	each := after.at.Sub(before.at).Seconds() * float64(r.Workers)
	quiet.CommandRate, quiet.TripRate = new(used.commands/each), new(used.trips/each)
	for _, p := range workers {
		b, err := p.Resident()
		if err != nil {
			return quiet, err
		}
		quiet.Resident = new(max(deref(quiet.Resident), b/(1<<20)))
	}
	stopAll(workers)
	if err := w.preload(ctx, nrs[:1], r.Backlog); err != nil {
		return quiet, err
	}
	if workers, err = w.workers(ctx, r.Workers, false); err != nil {
		return quiet, err
	}
	return quiet, w.emptying(ctx, r, o.Duration, workers, 0)
}

// idleAsynq measures asynq alone, with a queue for each number, as its documentation describes.
func idleAsynq(ctx context.Context, o Options, row Row, idle int) (Row, error) {
	row.Case, row.Rate, row.Workers, row.Numbers, row.Backlog = "asynq: a queue for each number, one of them busy", 0, 0, 1+idle, 2_000
	o.say("idle: %s (%s)", row.Case, row.about())
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	if err := w.simulate(ctx, 0, ""); err != nil {
		return row, err
	}
	if err := w.fillAsynq(ctx, "bulk", row.Backlog); err != nil {
		return row, err
	}
	queues := map[string]int{"bulk": 1}
	for _, n := range rig.Numbers(idle, 1) {
		queues[n.ID] = 1
	}
	p, err := w.asynq(ctx, AsynqSettings{Servers: 1, Concurrency: 100, Queues: queues})
	if err != nil {
		return row, err
	}
	return row, w.emptying(ctx, &row, o.Duration, []*rig.Process{p}, 0)
}

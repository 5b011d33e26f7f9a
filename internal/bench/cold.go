package bench

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"sluice/internal/rig"
)

// cold starts 1, then 2 workers behind a backlog that they have not seen, and measures how
// fast they send it to a far side that costs little. Bare asynq, with the best number of
// servers, drains as many tasks before and after each: the ratio is to the mean of the two.
func cold(ctx context.Context, o Options) ([]Row, error) {
	o.Duration = cmp.Or(o.Duration, 90*time.Second)
	row := Row{Rate: cmp.Or(o.Rate, unlimited), Numbers: cmp.Or(o.Numbers, 12), Backlog: cmp.Or(o.Backlog, 40_000)}
	counts := []int{1, 2}
	if o.Workers > 0 {
		counts = []int{o.Workers}
	}
	var rows []Row
	for _, row.Durability = range o.durabilities(Relaxed, Fsync) {
		row.Workers, row.Case = 0, "asynq"
		o.say("cold: %s (%s)", row.Case, row.about())
		best, err := asynqBest(ctx, o, row, toFarSide)
		if err != nil {
			return rows, err
		}
		before, err := drainAsynq(ctx, o, row, best, toFarSide)
		if err != nil {
			return rows, err
		}
		rows = append(rows, before)
		for _, n := range counts {
			ours := row
			ours.Workers, ours.Case = n, "full path, cold workers"
			o.say("cold: %s (%s)", ours.Case, ours.about())
			if ours, err = coldOnce(ctx, o, ours); err != nil {
				return rows, err
			}
			after, err := drainAsynq(ctx, o, row, best, toFarSide)
			if err != nil {
				return rows, err
			}
			ours.Baseline = new((*before.PerSecond + *after.PerSecond) / 2)
			ours.Ratio = new(ratio(*ours.PerSecond, *ours.Baseline))
			rows, before = append(rows, ours, after), after
		}
	}
	return rows, nil
}

func coldOnce(ctx context.Context, o Options, row Row) (Row, error) {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	nrs := rig.Numbers(row.Numbers, row.Rate)
	if err := w.farSide(ctx, farSideSettings{}); err != nil {
		return row, err
	}
	if err := w.configure(nrs); err != nil {
		return row, err
	}
	if err := w.fill(ctx, nrs, row.Backlog); err != nil {
		return row, err
	}
	workers, err := w.workers(ctx, row.Workers, false)
	if err != nil {
		return row, err
	}
	name := fmt.Sprintf("cold-%s-%d", row.Durability, row.Workers)
	return row, w.profile(ctx, name, workers, o.Duration/10, func() error { return w.emptying(ctx, &row, o.Duration, workers) })
}

package bench

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"sluice/internal/rig"
)

// cold starts 1, then 2 workers with a backlog that is already in Redis, and measures how
// fast they send it to a far side that costs little. Bare asynq, with the best number of
// servers, drains as many tasks before and after each. Ratios are to the mean of the two. The
// figures are the medians of the rounds.
func cold(ctx context.Context, o Options) ([]Row, error) {
	o.Duration = cmp.Or(o.Duration, 90*time.Second)
	row := Row{Rate: cmp.Or(o.Rate, unlimited), Numbers: cmp.Or(o.Numbers, 12), Backlog: cmp.Or(o.Backlog, 40_000)}
	counts := []int{1, 2}
	if o.Workers > 0 {
		counts = []int{o.Workers}
	}
	var rows []Row
	for _, row.Durability = range o.durabilities(Relaxed, Fsync) {
		more, err := coldRounds(ctx, o, row, counts)
		if err != nil {
			return rows, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func coldRounds(ctx context.Context, o Options, row Row, counts []int) (rows []Row, err error) {
	o.say("cold: asynq (%s)", row.about())
	best, err := asynqBest(ctx, o, row, toFarSide)
	if err != nil {
		return nil, err
	}
	before, err := drainAsynq(ctx, o, row, best, toFarSide)
	if err != nil {
		return nil, err
	}
	baselines, measured := []Row{before}, make([][]Row, len(counts))
	for i := range cmp.Or(o.Rounds, 1) {
		for j, n := range counts {
			r := row
			r.Workers, r.Case = n, "full path, cold workers"
			o.say("cold: round %d: %s (%s)", i+1, r.Case, r.about())
			if r, err = coldOnce(ctx, o, r); err != nil {
				return nil, err
			}
			after, err := drainAsynq(ctx, o, row, best, toFarSide)
			if err != nil {
				return nil, err
			}
			r.compare(before, after)
			o.say("  %s/s, asynq %s/s, ratio %s, of processor time %s", show(*r.PerSecond), show(*r.Baseline), show(*r.Ratio), show(*r.CostRatio))
			measured[j] = append(measured[j], r)
			baselines, before = append(baselines, after), after
		}
	}
	rows = append(rows, medians(baselines))
	for _, rounds := range measured {
		rows = append(rows, medians(rounds))
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
	return row, w.profile(ctx, name, workers, o.Duration/10, func() error { return w.emptying(ctx, &row, o.Duration, workers, 0) })
}

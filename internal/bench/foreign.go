package bench

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sluice/internal/rig"
)

// foreignLatency is how long the plain far side takes to answer: about as long as Meta does.
const foreignLatency = 80 * time.Millisecond

// foreign sends the backlog of one number at its limit to a plain HTTP server that is not the
// simulator, and counts by the times at which requests arrived there.
func foreign(ctx context.Context, o Options) ([]Row, error) {
	rates := []int{80, 1000}
	if o.Rate > 0 {
		rates = []int{o.Rate}
	}
	o.Duration = cmp.Or(o.Duration, time.Minute)
	var rows []Row
	for _, durability := range o.durabilities(Relaxed) {
		for _, rate := range rates {
			row := Row{
				Case: "at the limit, far side answers after 80 ms", Durability: durability, Rate: rate, Workers: cmp.Or(o.Workers, 3), Numbers: 1,
				// As many as are sent meanwhile, and some that remain.
				Backlog: max(o.Backlog, rate*int((o.Duration+settle+5*time.Second)/time.Second)),
			}
			o.say("foreign: %s (%s)", row.Case, row.about())
			row, err := foreignOnce(ctx, o, row)
			if err != nil {
				return rows, err
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func foreignOnce(ctx context.Context, o Options, row Row) (Row, error) {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	nrs := rig.Numbers(1, row.Rate)
	if err := w.farSide(ctx, farSideSettings{Latency: foreignLatency, Keep: true}); err != nil {
		return row, err
	}
	if err := w.configure(nrs); err != nil {
		return row, err
	}
	if err := w.fill(ctx, nrs, row.Backlog); err != nil {
		return row, err
	}
	workers, err := w.workers(ctx, row.Workers, true)
	if err != nil {
		return row, err
	}
	if err := pause(ctx, settle); err != nil {
		return row, err
	}
	before, err := w.used(ctx, workers)
	if err != nil {
		return row, err
	}
	if err := pause(ctx, o.Duration); err != nil {
		return row, err
	}
	after, err := w.used(ctx, workers)
	if err != nil {
		return row, err
	}
	stopAll(workers)
	all, err := w.arrived(ctx, 0)
	if err != nil {
		return row, err
	}
	traced, err := w.traces(row.Workers)
	if err != nil {
		return row, err
	}
	times := make([]time.Time, len(all))
	for i, a := range all {
		times[i] = a.At
	}
	slices.SortFunc(times, time.Time.Compare)
	arrived := within(times, before.at, after.at)
	row.PerSecond = new(float64(arrived) / after.at.Sub(before.at).Seconds())
	row.Utilisation = new(*row.PerSecond / float64(row.Rate))
	row.WindowsOver = new(float64(windowsOver(traced.times[nrs[0].ID], row.Rate)))
	row.OurWindow = new(float64(largestWindow(traced.times[nrs[0].ID])))
	row.FarWindow = new(float64(largestWindow(times)))
	after.since(before).costs(&row, arrived)
	return row, nil
}

package bench

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"sluice/client"
	"sluice/internal/rig"
)

// settle is how long the shard assignment among workers may take.
const settle = 3 * time.Second

// pace sends the backlog of one number by many workers at its rate limit, and the same by asynq's
// recipe for rate limits.
func pace(ctx context.Context, o Options) ([]Row, error) {
	rates := []int{80, 1000}
	if o.Rate > 0 {
		rates = []int{o.Rate}
	}
	var rows []Row
	for _, durability := range o.durabilities(Relaxed) {
		for _, rate := range rates {
			for _, one := range []struct {
				what string
				rate int
				run  func(context.Context, Options, Row) (Row, error)
			}{
				{"at the limit", rate, paceOnce},
				{"at half that load", max(1, rate/2), paceOnce},
				{"asynq: the rate limit recipe", rate, paceAsynq},
			} {
				d := cmp.Or(o.Duration, 20*time.Second)
				row := Row{
					Case: one.what, Durability: durability, Rate: one.rate, Workers: cmp.Or(o.Workers, 10), Numbers: 1,
					// As many as are sent during the run, and some that remain.
					Backlog: max(cmp.Or(o.Backlog, 20_000), one.rate*int((d+settle+5*time.Second)/time.Second)),
				}
				o.say("pace: %s (%s)", row.Case, row.about())
				o := o
				o.Duration = d
				row, err := one.run(ctx, o, row)
				if err != nil {
					return rows, err
				}
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

func paceOnce(ctx context.Context, o Options, row Row) (Row, error) {
	rows, err := paceThrough(ctx, o, row, func(*world) ([]period, error) {
		return []period{{what: row.Case, profile: "pace", during: func(ctx context.Context) error { return pause(ctx, o.Duration) }}}, nil
	})
	if err != nil {
		return row, err
	}
	return rows[0], nil
}

// period is a part of a run that is measured.
type period struct {
	what    string
	profile string                      // with what the names of its profiles begin
	also    []*rig.Process              // profiled in addition to the workers
	during  func(context.Context) error // what happens meanwhile. The period lasts as long
}

// paceThrough measures how one number is paced in periods that follow each other. prepare returns them. There is a row for each.
func paceThrough(ctx context.Context, o Options, row Row, prepare func(*world) ([]period, error)) ([]Row, error) {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return nil, err
	}
	defer w.close()
	nrs := rig.Numbers(1, row.Rate)
	if err := w.simulate(ctx, row.Rate, ""); err != nil {
		return nil, err
	}
	if err := w.configure(nrs, map[string]any{"secrets_key_file": "marker"}); err != nil {
		return nil, err
	}
	intakeTrips, err := w.intakeTrips(ctx, nrs[0].ID)
	if err != nil {
		return nil, err
	}
	if err := w.preload(ctx, nrs, row.Backlog); err != nil {
		return nil, err
	}
	workers, err := w.workers(ctx, row.Workers, true)
	if err != nil {
		return nil, err
	}
	periods, err := prepare(w)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	rows := make([]Row, len(periods))
	bounds := make([]usage, len(periods)+1) // read once between two periods: to ask programs for their metrics is work for them
	if bounds[0], err = w.used(ctx, workers); err != nil {
		return nil, err
	}
	throttled := 0
	for i, p := range periods {
		rows[i], rows[i].Case = row, p.what
		o.say("  %s", p.what)
		profiled := append(slices.Clone(p.also), workers[:min(2, len(workers))]...)
		err = w.profile(ctx, p.profile+"-"+strconv.Itoa(row.Rate), profiled, o.Duration, func() error { return p.during(ctx) })
		if err != nil {
			return nil, err
		}
		if bounds[i+1], err = w.used(ctx, workers); err != nil {
			return nil, err
		}
		for _, p := range workers {
			mb, err := p.Resident()
			if err != nil {
				return nil, err
			}
			rows[i].Resident = new(max(mb/(1<<20), deref(rows[i].Resident)))
		}
		seen, err := w.Stats(ctx)
		if err != nil {
			return nil, err
		}
		rows[i].SimWindow = new(float64(seen.Windows[nrs[0].ID])) // so far
		rows[i].Throttled = new(float64(seen.Requests["130429"] - throttled))
		throttled = seen.Requests["130429"]
	}
	stopAll(workers)
	traced, err := w.traces(row.Workers)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i].paced(bounds[i], bounds[i+1], traced, nrs[0].ID)
		rows[i].Trips = new(*rows[i].Trips + intakeTrips)
	}
	return rows, nil
}

// paced sets the figures about the pace of a number from before to after.
func (r *Row) paced(before, after usage, traced *sends, number string) {
	times := traced.times[number]
	used, sent, seconds := after.since(before), within(times, before.at, after.at), after.at.Sub(before.at).Seconds()
	times = slices.DeleteFunc(slices.Clone(times), func(t time.Time) bool { // with the windows that begin before
		return t.Before(before.at.Add(-time.Second)) || t.After(after.at)
	})
	r.PerSecond = new(float64(sent) / seconds)
	r.Utilisation = new(float64(sent) / seconds / float64(r.Rate))
	r.WindowsOver = new(float64(windowsOver(times, r.Rate)))
	r.OurWindow = new(float64(largestWindow(times)))
	r.Dequeues = new(ratio(float64(within(traced.tasks, before.at, after.at)), float64(sent)))
	r.Trips = new(ratio(used.trips, float64(sent)))
	used.costs(r, sent)
}

func deref(f *float64) float64 {
	if f == nil {
		return 0
	}
	return *f
}

// intakeTrips measures how many round trips to Redis the intake makes for a single message.
func (w *world) intakeTrips(ctx context.Context, number string) (float64, error) {
	producer, err := w.program(ctx, "producer")
	if err != nil {
		return 0, err
	}
	const n = 20
	post := func(i int) error {
		object, _ := messageObject(1_000_000 + i)
		_, err := w.api(producer).Send(ctx, client.Message{From: number, Content: object, Class: client.ClassMarketing})
		return err
	}
	if err := post(0); err != nil { // the first one loads the scripts
		return 0, err
	}
	before, err := w.Metric(ctx, producer, "sluice_redis_round_trips_total")
	if err != nil {
		return 0, err
	}
	for i := range n {
		if err := post(i + 1); err != nil {
			return 0, err
		}
	}
	after, err := w.Metric(ctx, producer, "sluice_redis_round_trips_total")
	producer.Stop()
	return (after - before) / n, err
}

// paceAsynq runs as many asynq servers, each with its share of the rate, as asynq's wiki describes.
func paceAsynq(ctx context.Context, o Options, row Row) (Row, error) {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	if err := w.simulate(ctx, row.Rate, ""); err != nil {
		return row, err
	}
	if err := w.fillAsynq(ctx, "bulk", row.Backlog); err != nil {
		return row, err
	}
	p, err := w.asynq(ctx, recipe(row))
	if err != nil {
		return row, err
	}
	if err := pause(ctx, settle); err != nil {
		return row, err
	}
	all := []*rig.Process{p}
	before, err := w.used(ctx, all)
	if err != nil {
		return row, err
	}
	if err := pause(ctx, o.Duration); err != nil {
		return row, err
	}
	after, err := w.used(ctx, all)
	if err != nil {
		return row, err
	}
	counts, err := w.counts(ctx, p)
	if err != nil {
		return row, err
	}
	seen, err := w.Stats(ctx)
	if err != nil {
		return row, err
	}
	used := after.since(before)
	seconds := after.at.Sub(before.at).Seconds()
	row.PerSecond = new(float64(used.accepted) / seconds)
	row.Utilisation = new(float64(used.accepted) / seconds / float64(row.Rate))
	row.SimWindow = new(float64(seen.Windows[rig.Numbers(1, 1)[0].ID]))
	row.Throttled = new(float64(seen.Requests["130429"]))
	row.Dequeues = new(ratio(float64(counts.Tasks), float64(seen.Accepted)))
	used.costs(&row, used.accepted)
	return row, nil
}

// recipe returns the settings of asynq with the rate limit that its wiki shows, divided among the servers.
func recipe(row Row) AsynqSettings {
	return AsynqSettings{
		Servers: row.Workers, Concurrency: 10, Strict: true, Queues: map[string]int{"urgent": 2, "bulk": 1},
		Rate: float64(row.Rate) / float64(row.Workers),
	}
}

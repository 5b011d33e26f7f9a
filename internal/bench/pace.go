package bench

import (
	"cmp"
	"context"
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
	return paceWhile(ctx, o, row, "pace", func(*world) (func(context.Context) error, error) {
		return func(ctx context.Context) error { return pause(ctx, o.Duration) }, nil
	})
}

// paceWhile measures how one number is paced while something else runs. What prepare returns runs during the measurement, which
// lasts as long. The names of profiles begin with name.
func paceWhile(ctx context.Context, o Options, row Row, name string, prepare func(*world) (func(context.Context) error, error)) (Row, error) {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	nrs := rig.Numbers(1, row.Rate)
	if err := w.simulate(ctx, row.Rate, ""); err != nil {
		return row, err
	}
	if err := w.configure(nrs, map[string]any{"secrets_key_file": "marker"}); err != nil {
		return row, err
	}
	intakeTrips, err := w.intakeTrips(ctx, nrs[0].ID)
	if err != nil {
		return row, err
	}
	if err := w.preload(ctx, nrs, row.Backlog); err != nil {
		return row, err
	}
	workers, err := w.workers(ctx, row.Workers, true)
	if err != nil {
		return row, err
	}
	meanwhile, err := prepare(w)
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
	err = w.profile(ctx, name+"-"+strconv.Itoa(row.Rate), workers, o.Duration, func() error { return meanwhile(ctx) })
	if err != nil {
		return row, err
	}
	after, err := w.used(ctx, workers)
	if err != nil {
		return row, err
	}
	for _, p := range workers {
		mb, err := p.Resident()
		if err != nil {
			return row, err
		}
		row.Resident = new(max(mb/(1<<20), deref(row.Resident)))
	}
	stopAll(workers)
	seen, err := w.Stats(ctx)
	if err != nil {
		return row, err
	}
	traced, err := w.traces(row.Workers)
	if err != nil {
		return row, err
	}
	times := traced.times[nrs[0].ID]
	sent := within(times, before.at, after.at)
	seconds := after.at.Sub(before.at).Seconds()
	used := after.since(before)
	row.PerSecond = new(float64(sent) / seconds)
	row.Utilisation = new(float64(sent) / seconds / float64(row.Rate))
	row.WindowsOver = new(float64(windowsOver(times, row.Rate)))
	row.OurWindow = new(float64(largestWindow(times)))
	row.SimWindow = new(float64(seen.Windows[nrs[0].ID]))
	row.Throttled = new(float64(seen.Requests["130429"]))
	row.Dequeues = new(ratio(float64(within(traced.tasks, before.at, after.at)), float64(sent)))
	row.Trips = new(ratio(used.trips, float64(sent)) + intakeTrips)
	used.costs(&row, sent)
	return row, nil
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

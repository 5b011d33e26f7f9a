package bench

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/rig"
)

// urgentEvery is the time between two urgent messages.
const urgentEvery = 200 * time.Millisecond

// urgent sends authentication messages behind a backlog of marketing messages of the same
// number, and measures how long they take from the 202 to the simulator.
func urgent(ctx context.Context, o Options) ([]Row, error) {
	row := Row{Rate: cmp.Or(o.Rate, 80), Workers: cmp.Or(o.Workers, 10), Numbers: 1}
	o.Duration = cmp.Or(o.Duration, 30*time.Second)
	var rows []Row
	for _, row.Durability = range o.durabilities(Relaxed) {
		for _, one := range []struct {
			what    string
			backlog int
			run     func(context.Context, Options, Row) (Row, error)
		}{
			{"behind a marketing backlog", cmp.Or(o.Backlog, 100_000), urgentOnce},
			{"on an idle number", 0, urgentOnce},
			{"asynq: a queue of strict priority, with the rate limit recipe", cmp.Or(o.Backlog, 100_000), urgentAsynq},
		} {
			row.Case, row.Backlog = one.what, one.backlog
			o.say("urgent: %s (%s)", row.Case, row.about())
			measured, err := one.run(ctx, o, row)
			if err != nil {
				return rows, err
			}
			rows = append(rows, measured)
		}
	}
	return rows, nil
}

func urgentOnce(ctx context.Context, o Options, row Row) (Row, error) {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	nrs := rig.Numbers(1, row.Rate)
	if err := w.simulate(ctx, row.Rate, ""); err != nil {
		return row, err
	}
	if err := w.configure(nrs); err != nil {
		return row, err
	}
	producer, err := w.program(ctx, "producer")
	if err != nil {
		return row, err
	}
	if err := w.preload(ctx, nrs, row.Backlog); err != nil {
		return row, err
	}
	workers, err := w.workers(ctx, row.Workers, false)
	if err != nil {
		return row, err
	}
	if err := pause(ctx, settle); err != nil {
		return row, err
	}
	api := w.api(producer)
	answered, err := every(ctx, o.Duration, func(i int) (string, error) {
		object, _ := messageObject(10_000_000 + i)
		r, err := api.Send(ctx, client.Message{From: nrs[0].ID, Content: object, Class: client.ClassAuthentication})
		return r.ID, err
	})
	if err != nil {
		return row, err
	}
	seen, err := w.Stats(ctx)
	if err != nil {
		return row, err
	}
	row.Throttled = new(float64(seen.Requests["130429"]))
	row.SimWindow = new(float64(seen.Windows[nrs[0].ID]))
	err = w.latencies(ctx, &row, answered)
	stopAll(workers)
	return row, err
}

// every calls f each urgentEvery for d, and returns when
// each call returned, by the id that it returned.
func every(ctx context.Context, d time.Duration, f func(i int) (string, error)) (map[string]time.Time, error) {
	answered := map[string]time.Time{}
	tick := time.NewTicker(urgentEvery)
	defer tick.Stop()
	for i := range int(d / urgentEvery) {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
		id, err := f(i)
		if err != nil {
			return nil, fmt.Errorf("urgent message: %w", err)
		}
		answered[id] = time.Now()
	}
	return answered, nil
}

// latencies waits for the last urgent messages and returns how long each took. A message that
// did not arrive counts as if it arrived now.
func (w *world) latencies(ctx context.Context, row *Row, answered map[string]time.Time) error {
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	took := make(map[string]time.Duration, len(answered))
	for id, at := range answered {
		took[id] = time.Since(at)
	}
	err := w.Accepted(ctx, func(a graphsim.Accepted) {
		if id, ok := rig.MarkedID(a.Marker); ok {
			if at, ours := answered[id]; ours {
				took[id] = min(took[id], max(0, a.Start.Sub(at)))
			}
		}
	})
	if err != nil {
		return err
	}
	var all []time.Duration
	for _, d := range took {
		all = append(all, d)
	}
	row.UrgentP50, row.UrgentP99 = millis(percentile(all, 50)), millis(percentile(all, 99))
	return nil
}

func urgentAsynq(ctx context.Context, o Options, row Row) (Row, error) {
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
	if _, err := w.asynq(ctx, recipe(row)); err != nil {
		return row, err
	}
	if err := pause(ctx, settle); err != nil {
		return row, err
	}
	c := w.raw()
	defer c.Close()
	tasks := asynq.NewClientFromRedisClient(c)
	answered, err := every(ctx, o.Duration, func(i int) (string, error) {
		id := fmt.Sprintf("urgent-%d", i)
		object, to := messageObject(10_000_000 + i)
		body, err := Body(object, to, "sl1.bench."+id+".1.0")
		if err != nil {
			return "", err
		}
		return id, enqueue(ctx, tasks, "urgent", body)
	})
	if err != nil {
		return row, err
	}
	return row, w.latencies(ctx, &row, answered)
}

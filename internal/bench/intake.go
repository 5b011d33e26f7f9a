package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/ports"
	"sluice/internal/rig"
)

// batchLines is how many lines a batch has. The intake reads so many before its caller must read the answer.
const batchLines = 1000

// intake posts single messages to the producer, and to a bare net/http handler that gives
// the body to asynq's client. Then it posts batches, and compares with asynq's client alone.
func intake(ctx context.Context, o Options) ([]Row, error) {
	o.Duration = cmp.Or(o.Duration, 5*time.Second)
	var rows []Row
	for _, durability := range o.durabilities(Relaxed, Fsync) {
		bare := Row{Case: "net/http: a handler that calls asynq's client", Durability: durability}
		single := Row{Case: "single posts", Durability: durability, Numbers: 1}
		alone := Row{Case: "asynq: its client alone", Durability: durability}
		batches := Row{Case: "batches of 1,000", Durability: durability, Numbers: single.Numbers}
		o.say("intake: %s", durability)
		if err := intakeBare(ctx, o, &bare); err != nil {
			return rows, err
		}
		if err := intakeClient(ctx, o, &alone); err != nil {
			return rows, err
		}
		if err := intakeOurs(ctx, o, &single, &batches); err != nil {
			return rows, err
		}
		single.Baseline, single.Ratio = bare.PerSecond, new(ratio(*single.PerSecond, *bare.PerSecond))
		batches.Baseline, batches.Ratio = alone.PerSecond, new(ratio(*batches.PerSecond, *alone.PerSecond))
		rows = append(rows, bare, single, alone, batches)
	}
	return rows, nil
}

// order returns a body to post. Each request has its own ref.
func order(from string) ([]byte, error) {
	object, _ := messageObject(1)
	return json.Marshal(client.Message{From: from, Content: object, Class: client.ClassUtility, Ref: "order-" + serial})
}

func intakeOurs(ctx context.Context, o Options, single, batches *Row) error {
	w, err := newWorld(ctx, o, single.Durability)
	if err != nil {
		return err
	}
	defer w.close()
	nrs := rig.Numbers(single.Numbers, 80)
	if err := w.configure(nrs); err != nil {
		return err
	}
	producer, err := w.program(ctx, "producer")
	if err != nil {
		return err
	}
	body, err := order(nrs[0].ID)
	if err != nil {
		return err
	}
	header := map[string]string{"Authorization": "Bearer " + rig.APIKey}
	for _, m := range []struct {
		name string
		row  *Row
		r    request
	}{
		{"intake-", single, newRequest(producer.Addr, "/v1/messages", header, body, http.StatusAccepted)},
		{"batches-", batches, batchOf(batchLines, producer.Addr, "/v1/messages/batch", header, body)},
	} {
		err := w.profile(ctx, m.name+m.row.Durability, []*rig.Process{producer}, 3*o.Duration, func() error {
			n, err := w.loaded(ctx, m.row, producer, m.r, o.Duration)
			m.row.Case += fmt.Sprintf(", best with %d connections", n)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func intakeBare(ctx context.Context, o Options, row *Row) error {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return err
	}
	defer w.close()
	addr, err := ports.Free()
	if err != nil {
		return err
	}
	p, err := w.Served(ctx, "enqueue", addr, w.Redis.Addr)
	if err != nil {
		return err
	}
	body, err := order(rig.Numbers(1, 1)[0].ID)
	if err != nil {
		return err
	}
	n, err := w.loaded(ctx, row, p, newRequest(addr, "/v1/messages", map[string]string{"Authorization": "Bearer " + rig.APIKey}, body, http.StatusAccepted), o.Duration)
	row.Case += fmt.Sprintf(", best with %d connections", n)
	return err
}

// intakeClient enqueues by asynq's client in this process, with several calls at the same time.
func intakeClient(ctx context.Context, o Options, row *Row) error {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return err
	}
	defer w.close()
	body, err := order(rig.Numbers(1, 1)[0].ID)
	if err != nil {
		return err
	}
	c := w.raw()
	defer c.Close()
	tasks := asynq.NewClientFromRedisClient(c)
	best, most := 0.0, 0
	for _, n := range []int{16, 64, 256} {
		before, err := w.used(ctx, nil)
		if err != nil {
			return err
		}
		var done atomic.Int64
		g, together := errgroup.WithContext(ctx)
		for range n {
			g.Go(func() error {
				for time.Since(before.at) < o.Duration {
					if err := enqueue(together, tasks, "q", body); err != nil {
						return err
					}
					done.Add(1)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		after, err := w.used(ctx, nil)
		if err != nil {
			return err
		}
		if rate := ratio(float64(done.Load()), after.at.Sub(before.at).Seconds()); rate > best {
			best, most = rate, n
			row.PerSecond = new(rate)
			after.since(before).costs(row, int(done.Load()))
			row.GoCPU = nil // the client is not a process of its own
		}
	}
	row.Case += fmt.Sprintf(", best with %d at once", most)
	return nil
}

package chaos

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/events"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/rig"
)

// settle ends the faults and waits until everything has ended: all orders answered, every
// message final or parked, every report delivered, every event applied, no task left.
// Meanwhile a little traffic goes on, as in normal operation.
func (r *run) settle() {
	r.must(r.producer.wait(), "order")
	r.ordered = time.Now()
	r.step("every order is answered; the API was away for %s at most", r.producer.away.Round(time.Millisecond))
	r.until("nothing waits for its first attempt", func() bool {
		b, err := r.book.Backlog(r.ctx)
		return err == nil && b.Waiting == 0
	})
	if r.setup.faults != quick {
		r.misbehave(quick)
	}
	r.quiet()
}

// quiet waits until everything has ended, with some traffic at the same time.
func (r *run) quiet() {
	taken := r.producer.taken()
	trickle := time.Now().Add(time.Second)
	r.end(taken, func() {
		if time.Now().After(trickle) {
			r.producer.order(r.load, r.setup.numbers, 100)
			r.must(r.producer.wait(), "order")
			trickle = time.Now().Add(time.Second)
		}
	})
	r.end(r.producer.taken()[len(taken):], func() {})
	r.step("every message is final or parked")
	r.applied()
}

// applied waits until every report is delivered and applied, and no task is left.
func (r *run) applied() {
	r.until("every report is delivered", func() bool {
		s, err := r.Stats(r.ctx)
		return err == nil && s.Webhooks.Waiting == 0
	})
	var left map[string]int64
	defer func() {
		if left[unapplied]+left[tasks] > 0 {
			r.step("left over: %v", left)
		}
	}()
	r.until("every event is applied and no task is left", func() bool {
		var err error
		left, err = r.leftovers()
		return err == nil && left[unapplied] == 0 && left[tasks] == 0
	})
	r.step("everything has ended")
}

// end waits until all messages are final or parked, and calls also in the meantime.
func (r *run) end(orders []order, also func()) {
	left := map[string]bool{}
	for _, o := range orders {
		left[o.ID] = true
	}
	r.until("every message is final or parked", func() bool {
		for _, id := range r.ended(left) {
			delete(left, id)
		}
		also()
		return len(left) == 0
	})
}

// ended returns those of the messages that are final or parked.
func (r *run) ended(ids map[string]bool) []string {
	var mu sync.Mutex
	var done []string
	var g errgroup.Group
	g.SetLimit(8)
	for id := range ids {
		g.Go(func() error {
			rec, err := r.book.Get(r.ctx, id)
			if err == nil && over(rec.State, r.setup.relaxed) {
				mu.Lock()
				done = append(done, id)
				mu.Unlock()
			}
			return nil // a message that cannot be read has not ended
		})
	}
	g.Wait()
	return done
}

// What may be left over.
const (
	unapplied    = "shards whose events are not all applied"
	tasks        = "tasks of asynq"
	deadLettered = "events that could not be applied"
	open         = "open in the ledger's indexes"
)

// leftovers returns the counts that must be zero when everything has ended.
func (r *run) leftovers() (map[string]int64, error) {
	left := map[string]int64{}
	behind, err := r.stream.Behind(r.ctx)
	if err != nil {
		return nil, err
	}
	left[unapplied] = int64(behind)
	for _, s := range shards.All() {
		dead, err := r.db.XLen(r.ctx, events.DeadKey(s)).Result()
		if err != nil {
			return nil, err
		}
		left[deadLettered] += dead
	}
	n, err := r.countTasks()
	if err != nil {
		return nil, err
	}
	left[tasks] = n
	b, err := r.book.Backlog(r.ctx)
	left[open] = b.Waiting + b.InDoubt
	return left, err
}

// countTasks counts asynq's tasks on every master. The numbers of the rig begin with a 1. The task with which a
// worker probes asynq at its start does not, and a killed worker may leave it.
func (r *run) countTasks() (int64, error) {
	var n atomic.Int64
	count := func(ctx context.Context, c redis.Cmdable) error {
		each := c.Scan(ctx, 0, "asynq:{s??}:1*:t:*", 10_000).Iterator()
		for each.Next(ctx) {
			n.Add(1)
		}
		return each.Err()
	}
	err := r.masters(count)
	return n.Load(), err
}

// masters calls f with every master of Redis.
func (r *run) masters(f func(ctx context.Context, c redis.Cmdable) error) error {
	if c, ok := r.db.UniversalClient.(*redis.ClusterClient); ok {
		return c.ForEachMaster(r.ctx, func(ctx context.Context, c *redis.Client) error { return f(ctx, c) })
	}
	return f(r.ctx, r.db)
}

// findings collects what the run left. Everything must have ended.
func (r *run) findings() findings {
	e := findings{
		records: map[string]client.Record{}, taken: map[string][]graphsim.Accepted{}, tried: map[string]bool{},
		rate: r.setup.rate, until: r.ordered, relaxed: r.setup.relaxed, left: map[string]int64{}, grown: map[string]string{},
	}
	if r.producer == nil {
		return e
	}
	r.must(r.producer.wait(), "order")
	e.orders = r.producer.taken()
	for _, o := range r.producer.orders {
		e.tried[o.ID] = true
	}
	e.records = r.records(e.orders)
	received := func(a graphsim.Accepted) {
		if id, ok := rig.MarkedID(a.Marker); ok {
			e.taken[id] = append(e.taken[id], a)
		} else {
			e.strange = append(e.strange, a)
		}
	}
	r.must(r.Accepted(r.ctx, received), "read the simulator's messages")
	if r.far != nil {
		for _, a := range r.far.taken {
			received(a)
		}
	}
	seen, err := r.Stats(r.ctx)
	r.must(err, "ask the simulator")
	e.windows = seen.Windows
	if r.hooked != nil {
		e.relay = r.relayed()
	}
	e.left, err = r.leftovers()
	r.must(err, "count what is left over")
	e.left[deadLettered] -= r.poison
	for p, before := range r.goroutine {
		now, err := r.Metric(r.ctx, p, "go_goroutines")
		r.must(err, "count the goroutines of "+p.Name)
		if now > before+1200 { // up to 512 idle connections, with two goroutines each
			e.grown[fmt.Sprintf("%s %d", p.Name, p.PID())] = fmt.Sprintf("began with %.0f goroutines and has %.0f", before, now)
		}
	}
	e.leaks = r.leaked()
	return e
}

// records reads the records of all messages from the API.
func (r *run) records(orders []order) map[string]client.Record {
	var mu sync.Mutex
	all := map[string]client.Record{}
	api := r.API(r.apiAddr)
	var g errgroup.Group
	g.SetLimit(16)
	for _, o := range orders {
		g.Go(func() error {
			rec, err := api.Get(r.ctx, o.ID)
			if p, ok := err.(*client.Problem); ok && p.Status == 404 {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all[o.ID] = rec
			return nil
		})
	}
	r.must(g.Wait(), "read the records")
	return all
}

// happened returns every event of the streams, as a consumer would read them.
func (r *run) happened() []message.Event {
	var all []message.Event
	for _, s := range shards.All() {
		for _, key := range []string{events.MessageKey(s), events.MetaKey(s)} {
			entries, err := r.db.XRange(r.ctx, key, "-", "+").Result()
			r.must(err, "read the events")
			for _, x := range entries {
				readable, _ := events.Decode(x)
				all = append(all, readable...)
			}
		}
	}
	return all
}

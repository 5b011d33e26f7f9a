package chaos

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/internal/graphsim"
	"sluice/internal/queue"
	"sluice/internal/rig"
	"sluice/internal/store"
)

// unhurried is a Meta that answers slowly, so that faults come in the middle of requests.
var unhurried = graphsim.Faults{Latency: graphsim.Span{Min: 50 * time.Millisecond, Max: 150 * time.Millisecond}}

// tardy delays reports by up to 6 s, so that some messages are in doubt when their reports come.
var tardy = graphsim.Webhook{Delay: graphsim.Span{Min: 200 * time.Millisecond, Max: 6 * time.Second}}

// workerRows break workers.
var workerRows = []row{
	{
		id: "C1", fault: "worker killed in mid-POST, ten times", n: 2000, takes: 35 * time.Second,
		setup: setup{workers: 3, faults: unhurried, webhook: tardy},
		play: func(r *run) {
			r.order(r.n, r.pace())
			for _, at := range r.moments(10) {
				r.receives(at)
				r.killWorker(r.anyWorker())
				r.worker()
			}
			r.settle()
		},
	},
	{
		id: "C2", fault: "rolling SIGTERM while requests last 3 s", n: 500, takes: 30 * time.Second,
		setup: setup{workers: 3, faults: graphsim.Faults{Latency: graphsim.Span{Min: 3 * time.Second}}, webhook: graphsim.Webhook{Delay: graphsim.Span{Min: 4 * time.Second}}},
		play: func(r *run) {
			r.order(r.n, r.pace()/8)
			for _, at := range r.moments(4) {
				r.receives(at)
				took := r.stopWorker(r.workers[0])
				r.check(took < 30*time.Second, "a worker took %s to stop", took)
				r.worker()
			}
			r.settle()
			for id, rec := range r.records(r.producer.taken()) {
				r.check(!wasInDoubt(rec), "%s was in doubt, though every worker stopped by SIGTERM", id)
			}
		},
	},
	{
		id: "C3", fault: "worker frozen for 12 s, counted as dead, and woken", n: 400, takes: 15 * time.Second,
		setup: setup{faults: unhurried},
		play: func(r *run) {
			r.order(r.n, r.pace()/6)
			r.receives(r.moments(1)[0] / 2)
			r.freeze(r.anyWorker(), 12*time.Second)
			r.settle()
		},
	},
	{
		id: "C21", fault: "each task three times, three sweepers, a worker killed", n: 500, takes: 15 * time.Second,
		setup: setup{workers: 3, late: true},
		play: func(r *run) {
			r.order(r.n, 1000)
			r.must(r.producer.wait(), "order")
			r.doubleTasks(1, 2)
			r.startWorkers(r.setup.workers)
			r.receives(r.n / 3)
			r.killWorker(r.anyWorker())
			r.settle()
		},
	},
	{
		id: "C23", fault: "one worker's clock 90 s ahead, then 90 s behind", n: 500, takes: 10 * time.Second,
		setup: setup{faults: unhurried},
		play: func(r *run) {
			w := r.anyWorker()
			for _, d := range []time.Duration{90 * time.Second, -90 * time.Second} {
				r.order(r.n/2, r.pace()/4) // on a busy machine all others have left before the first clock is set
				r.receives(r.received() + r.n/4)
				r.step("set the clock of worker %d to %s from now", w.PID(), d)
				if err := rig.SetClock(w.PID(), d); errors.Is(err, rig.ErrNoClock) {
					r.note("%v", err)
				} else {
					r.must(err, "set a worker's clock")
				}
			}
			r.settle()
		},
	},
	{
		id: "C25", fault: "a message that always kills its worker", n: 200, takes: 20 * time.Second,
		setup: setup{workers: 2},
		play: func(r *run) {
			// The message has a number of its own, so that the worker of this number has the message. Meta never
			// answers it, so that there is time to kill the worker.
			number := r.producer.numbers[r.setup.numbers-1]
			r.producer.numbers = r.producer.numbers[:r.setup.numbers-1]
			poison := &producer{
				api: r.producer.api, numbers: []string{number}, class: r.producer.class, run: r.producer.run + "-poison",
				recipe: func(int) (map[string]any, string) { content, _ := text(0); return content, "+99999900006" },
			}
			poison.order(r.load, 1, 1)
			r.must(poison.wait(), "order the poison")
			r.order(r.n, r.pace()/4)
			deaths := 0
			id := poison.taken()[0].ID
			r.until("the poisoned message is final or parked", func() bool {
				for _, w := range slices.Clone(r.workers) {
					if n, err := r.Metric(r.ctx, w, fmt.Sprintf("sluice_number_inflight_requests{phone_number_id=%q}", number)); err == nil && n > 0 {
						deaths++
						r.killWorker(w)
						r.worker()
					}
				}
				return len(r.ended(map[string]bool{id: true})) == 1
			})
			rec, err := r.book.Get(r.ctx, id)
			r.must(err, "read the poisoned message")
			r.note("the poisoned message killed %d worker and is %s", deaths, rec.State)
			r.check(deaths >= 1 && deaths <= 2, "the message killed %d workers", deaths)
			r.settle()
			r.producer.adopt(poison)
		},
	},
	{
		id: "C26", fault: "everything stopped and started again in any order", n: 500, takes: 10 * time.Second,
		setup: setup{faults: unhurried},
		play: func(r *run) {
			r.order(r.n, r.pace()/4)
			r.receives(r.moments(1)[0] / 2)
			r.stopAll()
			r.step("stop Redis")
			r.Redis.Stop()
			r.startRedis()
			starts := []func(){r.startProducer, r.startWebhook, func() { r.worker() }, func() { r.worker() }}
			r.chance.Shuffle(len(starts), func(i, j int) { starts[i], starts[j] = starts[j], starts[i] })
			for _, start := range starts {
				start()
			}
			r.settle()
		},
	},
}

// adopt adds another producer's orders to p.
func (p *producer) adopt(other *producer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders = append(p.orders, other.orders...)
}

// doubleTasks makes more tasks for every accepted message, with other counters, as the repeat of a lost answer or
// a manual change in Redis could.
func (r *run) doubleTasks(counters ...int) {
	tasks, tx := queue.NewClient(r.db, shards), r.db.Transactions(true)
	for _, o := range r.producer.taken() {
		for _, k := range counters {
			task := queue.Task{ID: o.ID, K: k, Number: o.Number, Class: o.Class}
			err := tx.Do(r.ctx, 0, store.Change{
				Slot:   store.Key(shards.Of(o.Number), "work"),
				Decide: func(_ []string, w *store.Writes) error { return tasks.Enqueue(w, task) },
			})
			r.must(err, "make a task")
		}
	}
	r.step("made %d more tasks for each message", len(counters))
}

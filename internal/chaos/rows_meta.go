package chaos

import (
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/client"
	"sluice/internal/events"
	"sluice/internal/graphsim"
	"sluice/internal/message"
)

// metaRows break Meta's reports and their delivery.
var metaRows = []row{
	{
		id: "C15", fault: "reconciler killed six times", n: 1000, takes: 40 * time.Second,
		setup: setup{split: true},
		play: func(r *run) {
			r.reconciler()
			r.order(r.n, r.pace())
			for _, at := range r.moments(6) {
				r.receives(at)
				r.killOther("worker")
				r.reconciler()
			}
			r.settle()
			// A report that was applied twice has changed the record once.
			type effect struct {
				id string
				to message.State
			}
			seen := map[effect]int{}
			for _, e := range r.happened() {
				if e.Type == message.EventMessage && e.State != nil && e.State.To.Rank("") >= message.Sent.Rank("") {
					seen[effect{e.Message.ID, e.State.To}]++
				}
			}
			for x, n := range seen {
				r.check(n == 1, "%s became %s %d times", x.id, x.to, n)
			}
			r.note("%d changes by events", len(seen))
		},
	},
	{
		id: "C16", fault: "unreadable events, and a million events of other numbers before Sluice's", n: 1000, takes: 15 * time.Second,
		setup: setup{split: true, rate: 250},
		play: func(r *run) {
			const foreign, each, unreadable = 1_000_000, 100, 7
			shard := shards.Of(r.producer.numbers[0])
			strange := `{"v":2,"type":"status","at":1763820426031,"phone_number_id":"555","report":{"phone_number_id":"555","wamid":"wamid.strange","status":"delivered"}}`
			entry := strings.Repeat(strange+"\n", each-1) + strange
			for range foreign / each / 100 {
				r.must(r.db.Pipe(r.ctx, func(p redis.Pipeliner) {
					for range 100 {
						p.XAdd(r.ctx, &redis.XAddArgs{Stream: events.MetaKey(shard), Values: []any{events.Field, entry}})
					}
				}), "write events of other numbers")
			}
			r.order(r.n, r.pace())
			for i := range unreadable {
				r.receives(r.n * (i + 1) / (unreadable + 1))
				poison := []any{events.Field, `{"v":2,"type":`}
				if i%2 == 0 {
					poison = []any{"something", "else"}
				}
				r.must(r.db.XAdd(r.ctx, &redis.XAddArgs{Stream: events.MetaKey(shard), Values: poison}).Err(), "write an unreadable event")
			}
			r.poison = unreadable
			r.must(r.producer.wait(), "order")
			r.receives(r.n)
			r.step("start the reconciler")
			began := time.Now()
			reader := r.reconciler()
			r.end(r.producer.taken(), func() {})
			r.note("all applied %.1f s after the reconciler's start", time.Since(began).Seconds())
			r.settle()
			n, err := r.Metric(r.ctx, reader, "sluice_status_unconfigured_number_total")
			r.must(err, "ask the reconciler")
			r.check(n >= foreign, "of %d events of other numbers %.0f were read: the rest was trimmed unread", foreign, n)
		},
	},
	{
		id: "C17", fault: "webhook program killed, started 10 s later; reports doubled, shuffled, replayed", n: 2000, takes: 25 * time.Second,
		setup: setup{webhook: graphsim.Webhook{
			Delay: graphsim.Span{Min: 10 * time.Millisecond, Max: 500 * time.Millisecond}, Double: 0.3, Shuffle: 0.5, Read: 0.3, Fail: 0.02,
		}},
		play: func(r *run) {
			r.order(r.n, r.pace())
			r.receives(r.moments(1)[0])
			r.killOther("webhook")
			r.pause(10 * time.Second)
			r.startWebhook()
			r.settle()
			before := r.records(r.producer.taken())
			r.replay(time.Hour)
			r.quiet()
			for id, after := range r.records(r.producer.taken()) {
				if b, ok := before[id]; ok {
					r.check(b.State == after.State, "%s was %s and is %s after old reports came again", id, b.State, after.State)
				}
			}
		},
	},
	{
		id: "C18", fault: "reconciler starts 20 s late while in-doubt messages wait, policy resend", n: 2000, takes: 30 * time.Second,
		setup: lateReconciler,
		play: func(r *run) {
			r.lateReconciler(func() {})
			for id, taken := range r.findings().taken {
				r.check(len(taken) == 1, "%s was received %d times", id, len(taken))
			}
		},
	},
	{
		id: "C19", fault: "reports overtake the answers", n: 500, takes: 5 * time.Second,
		setup: setup{
			faults:  graphsim.Faults{Latency: graphsim.Span{Min: 300 * time.Millisecond, Max: 600 * time.Millisecond}},
			webhook: graphsim.Webhook{Delay: graphsim.Span{Max: time.Nanosecond}, Read: 0.5},
		},
		play: func(r *run) {
			r.order(r.n, r.pace()/2)
			r.settle()
			for id, rec := range r.records(r.producer.taken()) {
				r.check(rec.State == client.StateDelivered || rec.State == client.StateRead, "%s is %s", id, rec.State)
			}
		},
	},
}

// lateReconciler is the set-up of C18: of 100 messages Meta accepts 5 without an answer.
var lateReconciler = setup{split: true, resend: true, faults: graphsim.Faults{
	Latency: graphsim.Span{Min: 20 * time.Millisecond, Max: 60 * time.Millisecond}, Lost: 0.03, ErrorAfter: 0.02,
}}

// lateReconciler starts the reconciler 20 s after everything was ordered. Until then it calls meanwhile
// four times per second.
func (r *run) lateReconciler(meanwhile func()) {
	r.order(r.n, r.pace())
	r.receives(r.n / 2)
	r.killWorker(r.anyWorker())
	r.worker()
	r.must(r.producer.wait(), "order")
	for began := time.Now(); time.Since(began) < 20*time.Second; r.pause(250 * time.Millisecond) {
		meanwhile()
	}
	r.step("start the reconciler")
	r.reconciler()
	r.settle()
}

package chaos

import (
	"slices"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/queue"
	"sluice/internal/store"
)

// gateRows are about the steps between a queue and the connection.
var gateRows = []row{
	{
		id: "C50", fault: "Meta answers after 2 s, with more fetched messages than connections, and then at once", n: 4000, takes: 20 * time.Second,
		setup: setup{workers: 1, numbers: 32, rate: 50},
		play: func(r *run) {
			r.order(r.n, 2000)
			r.receives(r.n / 4)
			r.misbehave(graphsim.Faults{Latency: graphsim.Span{Min: 2 * time.Second}})
			most := int64(0)
			r.until("more messages are fetched than connections are allowed", func() bool {
				n, err := queue.CountActive(r.ctx, r.db)
				most = max(most, n)
				return err == nil && n > connections+50
			})
			r.pause(time.Second)
			r.misbehave(quick) // I6 counts what arrives from here on
			r.settle()
			r.note("%d fetched messages at %d connections", most, connections)
		},
	},
	{
		id: "C51", fault: "most messages go to one recipient", n: 3000, takes: 25 * time.Second,
		setup: setup{numbers: 1, rate: 80, settings: shortDeadline},
		play: func(r *run) {
			const share = 15 // one of so many goes to another recipient
			r.producer.recipe = func(i int) (map[string]any, string) {
				object, to := text(i)
				if i%share > 0 {
					_, to = text(0)
				}
				return object, to
			}
			r.order(r.n, 600)
			r.must(r.producer.wait(), "order")
			all := r.producer.taken()
			r.settle()
			records := r.records(all)
			var waits []time.Duration
			sent := 0
			for i, o := range all {
				rec := records[o.ID]
				switch {
				case i%share == 0:
					r.check(rec.State != client.StateExpired, "%s to another recipient expired", o.ID)
					for _, step := range rec.Timeline {
						if step.State == client.StateSubmitted {
							waits = append(waits, step.At.Sub(rec.Timeline[0].At))
						}
					}
				case rec.State != client.StateExpired:
					sent++
				}
			}
			slices.Sort(waits)
			if len(waits) > 0 {
				median := waits[len(waits)/2]
				r.check(median < time.Second, "half of the messages to other recipients waited for %s and more", median)
				r.note("half of the messages to other recipients waited for %d ms at most", median.Milliseconds())
			}
			most := 45 + int(time.Since(r.began)/(6*time.Second)) + 1
			r.check(sent >= 45 && sent <= most, "%d messages were sent to one recipient, and the pair limit allows %d", sent, most)
			r.until("nothing waits for a recipient", func() bool { return r.keys("sluice:*:waits:*") == 0 })
		},
	},
	{
		id: "C52", fault: "a number is removed from the workers' configuration while its messages wait", n: 400, takes: 30 * time.Second,
		setup: setup{late: true, settings: shortDeadline},
		play: func(r *run) {
			r.order(r.n, 800)
			r.must(r.producer.wait(), "order")
			removed := r.producer.numbers[0]
			r.step("remove %s from the configuration", removed)
			r.removed = 1
			r.configure(nil)
			r.startWorkers(r.setup.workers)
			r.until("a metric counts its waiting messages", func() bool {
				n, err := r.Metric(r.ctx, r.workers[0], "sluice_number_unconfigured_messages")
				return err == nil && n > 0
			})
			all := r.producer.taken()
			r.settle()
			for id, rec := range r.records(all) {
				r.check((rec.State == client.StateExpired) == (rec.PhoneNumberID == removed), "%s is %s", id, rec.State)
			}
			r.until("no task and no entry of the number is left", func() bool {
				return r.keys("asynq:{s??}:"+removed+":*:pending") == 0 && !r.db.SIsMember(r.ctx, store.Key(shards.Of(removed), "work"), removed).Val()
			})
		},
	},
}

// shortDeadline are settings with which messages that cannot be sent end soon.
var shortDeadline = map[string]any{"classes": map[string]any{"service": map[string]any{
	"deadline": "8s", "in_doubt_window": "4s", "server_error_window": "2s", "in_doubt_policy": "park",
}}}

// keys counts the keys of a pattern.
func (r *run) keys(pattern string) int {
	all, err := r.db.Keys(r.ctx, pattern).Result()
	r.must(err, "count keys")
	return len(all)
}

// connections is how many connections to Meta a worker opens at most.
const connections = 512

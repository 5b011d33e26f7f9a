package chaos

import (
	"net/http"
	"slices"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
)

// reportRows break the delivery of Meta's reports to the records.
var reportRows = []row{
	{
		id: "C71", fault: "webhooks missed for 3 s, then refused for 3 s; Meta repeats after 6 s, policy resend", n: 600, takes: 18 * time.Second,
		setup: setup{
			resend: true, window: 3 * time.Second, repeat: time.Hour,
			faults:  graphsim.Faults{Latency: quick.Latency, Lost: 0.04, ErrorAfter: 0.02},
			webhook: graphsim.Webhook{Retry: graphsim.Span{Min: 6 * time.Second, Max: 6 * time.Second}},
		},
		play: func(r *run) {
			link, err := newProxy(r.redisAddr)
			r.must(err, "start the link of the webhook program")
			defer link.close()
			start := func() { r.other("webhook", r.hook, "--redis-url", "redis://"+link.addr) }
			r.killOther("webhook")
			start()
			r.order(r.n/2, r.pace())
			r.receives(r.n / 4)
			r.killOther("webhook")
			r.pause(3 * time.Second)
			start()
			r.order(r.n/2, r.pace())
			r.receives(3 * r.n / 4)
			r.step("cut the webhook program's link to Redis")
			link.cut()
			r.pause(3 * time.Second)
			link.repair()
			r.settle()
			for id, rec := range r.records(r.producer.taken()) {
				r.check(resends(rec) == 0, "%s was sent again by policy, and Meta had accepted it", id)
			}
		},
	},
	{
		id: "C72", fault: "a reconciler that is configured with half of the numbers, as in a rolling restart, policy resend", n: 300, takes: 10 * time.Second,
		setup: setup{
			split: true, late: true, resend: true, window: 3 * time.Second,
			faults: graphsim.Faults{Latency: quick.Latency, Lost: 0.1},
		},
		play: func(r *run) {
			all := r.setup.numbers
			r.setup.numbers = all / 2
			r.configure(nil)
			r.reconciler()
			r.setup.numbers = all
			r.configure(nil)
			r.startWorkers(r.setup.workers)
			r.order(r.n, r.pace())
			r.settle()
			for id, rec := range r.records(r.producer.taken()) {
				r.check(rec.State == client.StateDelivered && resends(rec) == 0, "%s is %s, sent again %d times by policy", id, rec.State, resends(rec))
			}
		},
	},
	{
		id: "C75", fault: "the workers are restarted one by one, first with twice as many numbers, then with lower rates, policy resend", n: 800, takes: 20 * time.Second,
		setup: setup{late: true, resend: true, window: 3 * time.Second, faults: graphsim.Faults{Latency: quick.Latency, Lost: 0.05}},
		play: func(r *run) {
			all, rate := r.setup.numbers, r.setup.rate
			configure := func(numbers, rate int) {
				r.setup.numbers, r.setup.rate = numbers, rate
				r.configure(nil)
			}
			configure(all/2, rate)
			r.startWorkers(r.setup.workers)
			configure(all, rate)
			r.order(r.n, r.pace()/2)
			restart := func(at int) {
				for i, w := range slices.Clone(r.workers) {
					r.receives(at + i*r.n/10)
					r.stopWorker(w)
					r.worker()
				}
			}
			restart(r.n / 10)
			configure(all, rate*3/4)
			restart(r.n * 2 / 5)
			r.setup.rate = rate // that of the first configuration is allowed until the last worker has stopped
			r.settle()
			for id, rec := range r.records(r.producer.taken()) {
				r.check(rec.State == client.StateDelivered && resends(rec) == 0, "%s is %s, sent again %d times by policy", id, rec.State, resends(rec))
			}
		},
	},
	{
		id: "C73", fault: "30,000 inbound messages that are an hour old", n: 600, takes: 12 * time.Second,
		setup: setup{numbers: 1, webhook: graphsim.Webhook{Batch: 500}},
		play: func(r *run) {
			r.order(r.n, r.pace())
			r.receives(r.n / 4)
			r.inbound(r.producer.numbers[0], 30_000, time.Hour)
			r.settle()
			silent := stopped(r.findings())
			r.check(silent < 3*time.Second, "nothing was sent for %s", silent)
		},
	},
	{
		id: "C74", fault: "Meta answers other calls after 15 s, and reports five times that a number may send faster", n: 300, takes: 12 * time.Second,
		setup: setup{learn: true, numbers: 2, resend: true, window: 3 * time.Second, faults: graphsim.Faults{Latency: quick.Latency, Lost: 0.05}},
		play: func(r *run) {
			slow := r.setup.faults
			slow.Questions = graphsim.Span{Min: 15 * time.Second}
			r.misbehave(slow)
			r.order(r.n, 60)
			for i := range 6 {
				r.receives(r.n * (i + 1) / 6)
				for _, w := range r.workers {
					age, err := r.Metric(r.ctx, w, "sluice_reconcile_watermark_age_seconds")
					r.must(err, "ask a worker")
					r.check(age < 3, "what Meta reported %.1f s ago is not applied", age)
				}
				if i < 5 {
					r.upgrade()
				}
			}
			r.settle()
			for id, rec := range r.records(r.producer.taken()) {
				r.check(rec.State == client.StateDelivered && resends(rec) == 0, "%s is %s, sent again %d times by policy", id, rec.State, resends(rec))
			}
		},
	},
}

// upgrade posts Meta's webhook that a number may send faster.
func (r *run) upgrade() {
	type object = map[string]any
	r.step("Meta reports that a number may send faster")
	r.report(object{"object": "whatsapp_business_account", "entry": []object{{
		"id": "102290129340398", "changes": []object{{"field": "phone_number_quality_update", "value": object{
			"display_phone_number": "15550783881", "event": "THROUGHPUT_UPGRADE", "max_daily_conversations_per_business": "TIER_UNLIMITED",
		}}},
	}}})
}

// inbound sends n messages of a customer to a number, this long ago, which Meta reports now.
func (r *run) inbound(number string, n int, ago time.Duration) {
	r.step("%d inbound messages of %s ago", n, ago)
	r.simulate(http.MethodPost, "inbound", map[string]any{
		"from": "15551234567", "to": number, "text": "Hello", "count": n, "ago": ago.String(),
	}, http.StatusAccepted)
}

package chaos

import "time"

// killRows are for long runs.
var killRows = []row{
	{
		id: "K200", fault: "200 kills at random points: workers, Redis, webhook, producer", n: 12000, takes: 4 * time.Minute, extra: true,
		setup: setup{workers: 3, faults: unhurried, webhook: tardy},
		play: func(r *run) {
			r.order(r.n, r.pace()/4)
			kills := map[string]int{}
			for _, at := range r.moments(200) {
				r.receives(at)
				switch x := r.chance.IntN(10); {
				case x < 6:
					r.killWorker(r.anyWorker())
					r.worker()
					kills["workers"]++
				case x < 8:
					r.killRedis()
					r.startRedis()
					kills["Redis"]++
				case x < 9:
					r.killOther("webhook")
					r.startWebhook()
					kills["webhook"]++
				default:
					r.killOther("producer")
					r.startProducer()
					kills["producer"]++
				}
			}
			r.note("kills: %v", kills)
			r.settle()
		},
	},
}

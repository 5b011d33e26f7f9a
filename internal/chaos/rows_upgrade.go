package chaos

import (
	"slices"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
)

// upgradeRows run programs of two versions at the same time, on the same Redis: each program is replaced by the other
// version and back again while messages are sent.
var upgradeRows = []row{
	{
		id: "C91", fault: "an upgrade under load, workers first, and back", n: 1200, takes: 35 * time.Second, mixed: true,
		setup: mixedVersions,
		play:  func(r *run) { r.upgradeAndBack("worker", "webhook", "producer") },
	},
	{
		id: "C92", fault: "an upgrade under load, producer first, and back", n: 1200, takes: 35 * time.Second, mixed: true,
		setup: mixedVersions,
		play:  func(r *run) { r.upgradeAndBack("producer", "webhook", "worker") },
	},
}

// With lost answers, messages are in doubt, and one version settles what the other one sent.
var mixedVersions = setup{resend: true, window: 3 * time.Second, faults: graphsim.Faults{Latency: quick.Latency, Lost: 0.05}}

// upgradeAndBack replaces the programs, in this order, by those of this version, and in the opposite order by those of
// the earlier one, while messages are sent.
func (r *run) upgradeAndBack(order ...string) {
	at, steps := 0, 2*(r.setup.workers+2)+1
	next := func() {
		at++
		r.receives(r.n * at / steps)
	}
	r.order(r.n, r.pace()/3)
	for _, program := range []string{r.current, r.previous} {
		r.Use(program)
		for _, name := range order {
			if name != "worker" {
				next()
				r.stopOther(name)
				r.other(name, map[string]string{"producer": r.apiAddr, "webhook": r.hook}[name])
				continue
			}
			for _, w := range slices.Clone(r.workers) {
				next()
				r.stopWorker(w)
				r.worker()
			}
		}
		slices.Reverse(order)
	}
	r.settle()
	for id, rec := range r.records(r.producer.taken()) {
		r.check(rec.State == client.StateDelivered && resends(rec) == 0, "%s is %s, sent again %d times by policy", id, rec.State, resends(rec))
	}
}

package chaos

import (
	"log/slog"
	"strings"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/holds"
)

// portalRows are about other servers that answer in place of Meta, with a success.
var portalRows = []row{
	{
		id: "C60", fault: "a network's sign-in page answers every POST with 200 for 3 s", n: 600, takes: 15 * time.Second,
		setup: setup{numbers: 2},
		play: func(r *run) {
			r.order(r.n, r.pace())
			r.receives(r.n / 4)
			r.misbehave(graphsim.Faults{Latency: quick.Latency, Portal: 1})
			holds := holds.New(r.db, shards, slog.New(slog.DiscardHandler))
			r.until("both numbers are held, and the holds name the server that answered", func() bool {
				all, err := holds.List(r.ctx)
				said := 0
				for _, h := range all {
					if strings.Contains(h.Reason, "text/html") && strings.Contains(h.Reason, "nginx") {
						said++
					}
				}
				return err == nil && said == len(r.producer.numbers)
			})
			r.pause(3 * time.Second)
			r.misbehave(quick)
			s, err := r.Stats(r.ctx)
			r.must(err, "ask the simulator")
			asked := s.Requests["portal"]
			r.check(asked < r.n/6, "%d of %d messages were sent to the sign-in page", asked, r.n)
			r.note("%d POSTs were answered by the sign-in page", asked)
			r.settle()
			for id, rec := range r.records(r.producer.taken()) {
				r.check(rec.State == client.StateDelivered || rec.State == client.StateRead, "%s is %s %s", id, rec.State, rec.Reason)
			}
		},
	},
}

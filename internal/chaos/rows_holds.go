package chaos

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/holds"
	"sluice/internal/message"
)

// holdRows are about refusals that concern all messages of a number, a template or an app.
var holdRows = []row{
	{
		id: "C80", fault: "Meta accepts everything and reports it as failed, 2 s later: 131042; five holds later the account can pay", n: 1000, takes: 45 * time.Second,
		setup: setup{numbers: 1, webhook: graphsim.Webhook{Delay: graphsim.Span{Min: 1500 * time.Millisecond, Max: 2 * time.Second}}},
		play: func(r *run) {
			r.alter("account", map[string]any{"fail": 131042})
			r.order(r.n, 2*r.pace())
			r.must(r.producer.wait(), "order")
			r.until("the number is held", func() bool { return r.holds(131042) })
			sent := r.received()
			r.check(sent < r.n/2, "%d of %d messages were sent into the failure", sent, r.n)
			const more = 4
			r.nextHolds(131042, 1) // until then messages arrive that left before the first hold
			before := r.received()
			r.nextHolds(131042, more)
			probes := r.received() - before
			r.check(probes <= 5*more, "%d messages were sent into the failure during %d more holds", probes, more)
			r.alter("account", map[string]any{"fail": 0})
			r.settle()
			dead := 0
			for id, rec := range r.records(r.producer.taken()) {
				if rec.State == client.StateDead {
					dead++
					r.check(rec.Code == 131042 && rec.Reason == message.ReasonReported, "%s is dead: %d %s", id, rec.Code, rec.Reason)
				}
				r.check(rec.State != client.StateFailed, "%s is %s", id, rec.State)
			}
			r.note("%d sent before the hold, %d dead, %d of them in %d later holds", sent, dead, probes, more)
		},
	},
	{
		id: "C81", fault: "the app makes too many calls: Retry-After 3 s", n: 800, takes: 15 * time.Second,
		setup: setup{numbers: 2},
		play: func(r *run) {
			r.order(r.n, r.pace())
			r.receives(r.n / 4)
			r.alter("account", map[string]any{"refuse": 4, "retry_after": 3})
			r.pause(time.Second)
			before := r.refusals("4")
			r.pause(time.Second)
			r.check(r.refusals("4") == before, "%d more calls in the pause", r.refusals("4")-before)
			r.alter("account", map[string]any{"refuse": 0})
			r.settle()
			r.note("%d calls were refused", before)
		},
	},
	{
		id: "C82", fault: "Meta refuses every message with an unknown code", n: 400, takes: 15 * time.Second,
		setup: setup{numbers: 1},
		play: func(r *run) {
			r.alter("account", map[string]any{"refuse": 987654})
			r.order(r.n, r.pace())
			r.must(r.producer.wait(), "order")
			r.until("the number is held", func() bool { return r.holds(987654) })
			refused := r.refusals("987654")
			r.check(refused < r.n/2, "%d of %d messages were sent into the refusal", refused, r.n)
			r.alter("account", map[string]any{"refuse": 0})
			r.settle()
			dead := 0
			for id, rec := range r.records(r.producer.taken()) {
				if rec.State == client.StateDead {
					dead++
				}
				r.check(rec.State != client.StateRejected, "%s is %s", id, rec.State)
			}
			r.note("%d dead, to be replayed", dead)
		},
	},
	{
		id: "C83", fault: "a template is disabled while its campaign is sent, and approved again", n: 800, takes: 15 * time.Second,
		setup: setup{numbers: 1},
		play: func(r *run) {
			const name = "spring_sale"
			r.alter("templates/"+name+"/en_US", map[string]any{"category": "MARKETING"})
			r.producer.recipe = func(i int) (map[string]any, string) {
				if i%2 == 0 {
					return text(i)
				}
				_, to := text(i)
				return map[string]any{"type": "template", "template": map[string]any{"name": name, "language": map[string]any{"code": "en_US"}}}, to
			}
			r.order(r.n, 10*r.pace())
			r.must(r.producer.wait(), "order") // the API takes no messages of a disabled template
			r.receives(r.n / 4)
			r.alter("templates/"+name+"/en_US", map[string]any{"status": "DISABLED"})
			r.until("the texts have arrived", func() bool { return r.received() >= r.n*5/8 })
			refused := r.refusals("132016")
			r.check(refused < 50, "%d messages were sent into the refusal", refused)
			r.alter("templates/"+name+"/en_US", map[string]any{"status": "APPROVED"})
			r.settle()
			for id, rec := range r.records(r.producer.taken()) {
				r.check(rec.State == client.StateDelivered || rec.State == client.StateRead, "%s is %s %d", id, rec.State, rec.Code)
			}
			r.note("%d were refused", refused)
		},
	},
}

// alter changes the state of the simulator.
func (r *run) alter(what string, members map[string]any) {
	r.step("the simulator's %s: %v", what, members)
	r.simulate(http.MethodPatch, what, members, http.StatusOK)
}

// refusals returns how many calls the simulator answered with a code.
func (r *run) refusals(code string) int {
	s, err := r.Stats(r.ctx)
	r.must(err, "ask the simulator")
	return s.Requests[code]
}

// holds reports whether there is a hold with a code.
func (r *run) holds(code int) bool { return len(r.held(code)) > 0 }

// held returns the holds with a code.
func (r *run) held(code int) []message.Hold {
	all, err := holds.New(r.db, shards, slog.New(slog.DiscardHandler)).List(r.ctx)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(all, func(h message.Hold) bool { return h.Code != code })
}

// nextHolds waits until n more holds with a code have begun, one after the other.
func (r *run) nextHolds(code, n int) {
	seen := map[time.Time]bool{}
	for _, h := range r.held(code) {
		seen[h.Since] = true
	}
	most := len(seen) + n
	r.until(fmt.Sprintf("%d more holds have begun", n), func() bool {
		for _, h := range r.held(code) {
			seen[h.Since] = true
		}
		return len(seen) >= most
	})
}

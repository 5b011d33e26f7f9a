package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"sluice/internal/message"
)

// TestCorrected: a message counts with its estimate from its first attempt on. What becomes of it corrects this, once: it is not delivered, it
// is free, or Meta charges another price. A message that is sent again counts again.
func TestCorrected(t *testing.T) {
	t.Parallel()
	charged := func(id, status string, c message.Charge) message.MarkedReport {
		r := report(id, 1, "wamid", status)
		r.Charge = c
		return r
	}
	regular, free := message.Charge{Category: "marketing", Cost: 30}, message.Charge{Free: true}
	for name, c := range map[string]struct {
		then func(f fixture, a message.Attempt)
		want int64
	}{
		"nothing is known yet": {func(f fixture, a message.Attempt) {
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid"})
		}, 0},
		"Meta refuses it": {func(f fixture, a message.Attempt) {
			f.finished(a, message.Move{To: message.Rejected, Code: 100})
		}, -100},
		"a retry counts once": {func(f fixture, a message.Attempt) {
			f.finished(a, message.Move{To: message.Queued, Code: 130429, Counts: true})
			f.begun(a.ID, 0, "w/2")
		}, 0},
		"it costs less": {func(f fixture, a message.Attempt) {
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid"})
			f.apply(charged(a.ID, "delivered", regular), charged(a.ID, "read", regular))
			f.apply(charged(a.ID, "read", message.Charge{Category: "utility", Cost: 7}))
		}, -70},
		"the price is unknown": {func(f fixture, a message.Attempt) {
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid"})
			f.apply(charged(a.ID, "delivered", message.Charge{Category: "marketing"}))
		}, 0},
		"it is free": {func(f fixture, a message.Attempt) {
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid"})
			f.apply(charged(a.ID, "delivered", free), charged(a.ID, "read", free))
		}, -100},
		"it is delivered after it failed": {func(f fixture, a message.Attempt) {
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid"})
			f.apply(report(a.ID, 1, "wamid", "failed"))
			f.apply(report(a.ID, 1, "wamid", "delivered"))
		}, 0},
		"its category is known to cost nothing": {func(f fixture, a message.Attempt) {
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid"})
			f.apply(charged(a.ID, "delivered", message.Charge{Category: "service", Free: true}))
		}, -100},
		"it is reported as failed": {func(f fixture, a message.Attempt) {
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid"})
			f.apply(report(a.ID, 1, "wamid", "failed"))
		}, -100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on(t, func(t *testing.T, f fixture) {
				m := newMessage("k")
				m.Client, m.Campaign, m.Price = "acme", "spring", 100
				f.acceptedAs(m)
				c.then(f, f.begun(m.ID, 0, "w/1"))
				now := message.Periods(time.Now())
				got, err := f.Corrected(t.Context(), []message.Spending{
					{Client: "acme", Period: now[0]}, {Client: "acme", Period: now[1]}, {Client: "acme", Campaign: "spring"}, {Client: "other", Period: now[0]},
				})
				if want := fmt.Sprint([]int64{c.want, c.want, c.want, 0}); err != nil || fmt.Sprint(got) != want {
					t.Errorf("%v, %v, want %s", got, err, want)
				}
			})
		})
	}
}

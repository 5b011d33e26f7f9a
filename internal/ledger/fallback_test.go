package ledger_test

import (
	"slices"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
)

// TestFallbackAfterFailure: when Meta reports that a message failed for which a template may be sent, the message is queued with its fallback template
// and one task, in the transaction of the status. It has not ended, its estimate counts on, and the counters and lists are those of its record.
func TestFallbackAfterFailure(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f = chainedWith(f, ledger.Options{Replaces: func(m message.Context, code int) bool { return code == 131047 && m.Campaign != "over" }})
		accepted := func(key, campaign string) message.Attempt {
			t.Helper()
			m := newMessage(key)
			m.Client, m.Campaign, m.Price = "acme", campaign, 100
			m.Fallback = message.Fallback{Template: "sale/en", Payload: []byte(`{"type":"template"}`)}
			f.acceptedAs(m)
			a := f.begun(m.ID, 0, "w/1")
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid." + key})
			return a
		}
		failed := func(a message.Attempt, key string) message.MarkedReport {
			e := report(a.ID, a.N, "wamid."+key, "failed")
			e.Code = 131047
			return e
		}
		unmarked := func(e message.MarkedReport) message.MarkedReport {
			e.ID, e.Attempt = "", 0
			return e
		}

		one, two, other := accepted("one", "spring"), accepted("two", "spring"), accepted("other", "over")
		got := f.apply(failed(one, "one"), failed(one, "one"), unmarked(failed(two, "two")), failed(other, "other"))
		if want := []message.ApplyResult{message.Applied, message.Outdated, message.Applied, message.Applied}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		for _, id := range []string{one.ID, two.ID} {
			r := f.read(id)
			if r.State != message.Queued || r.Template != "sale/en" || r.Instead != "text" || r.Payload != `{"type":"template"}` || f.tasksOf(id) != 2 || len(f.finals(id)) > 0 {
				t.Errorf("%+v with %d tasks, final events %v", r, f.tasksOf(id), f.finals(id))
			}
		}
		if r := f.read(other.ID); r.State != message.Failed || f.tasksOf(other.ID) != 1 || len(f.finals(other.ID)) != 1 {
			t.Errorf("of a campaign that is over: %+v", r)
		}
		f.wantConsistent("queued")

		next := f.begun(one.ID, 1, "w/2")
		if next.Verdict != message.Go || next.Message.Template != "sale/en" || string(next.Payload) != `{"type":"template"}` {
			t.Fatalf("%+v", next)
		}
		f.wantResult(message.Outdated, failed(one, "one"))
		f.finished(next, message.Move{To: message.Submitted, WAMID: "wamid.next"})
		f.wantResult(message.Outdated, failed(one, "one"))
		f.wantResult(message.Outdated, unmarked(failed(one, "one")))
		f.wantResult(message.Applied, unmarked(report(one.ID, 2, "wamid.next", "delivered")))
		f.wantChanges(one.ID, "queued 0  0 ", "submitted 1 wamid.one 0 ", "queued 1 wamid.one 131047 fallback_template", "submitted 2 wamid.next 0 ", "delivered 2 wamid.next 0 ")
		if got := f.finals(one.ID); !slices.Equal(got, []string{"delivered delivered"}) || f.get(one.ID).Duplicates > 0 {
			t.Errorf("final events %q of %+v", got, f.get(one.ID))
		}
		f.wantConsistent("delivered")
		spent, err := f.Corrected(t.Context(), []message.Spending{{Client: "acme", Campaign: "spring"}, {Client: "acme", Campaign: "over"}, {Client: "acme", Period: message.Periods(time.Now())[0]}})
		if err != nil || !slices.Equal(spent, []int64{0, -100, -100}) {
			t.Errorf("corrected by %v, %v", spent, err)
		}
	})
}

// TestChargeOfAFallback: what Meta charges for the fallback template counts, also if a status of the failed attempt comes late and says that it was free.
func TestChargeOfAFallback(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f = chainedWith(f, ledger.Options{Replaces: func(message.Context, int) bool { return true }})
		m := newMessage("one")
		m.Client, m.Campaign, m.Price = "acme", "spring", 100
		m.Fallback = message.Fallback{Template: "sale/en", Payload: []byte(`{"type":"template"}`)}
		f.acceptedAs(m)
		f.finished(f.begun(m.ID, 0, "w/1"), message.Move{To: message.Submitted, WAMID: "wamid.one"})
		charged := func(attempt int, wamid, status string, c message.Charge) message.MarkedReport {
			e := report(m.ID, attempt, wamid, status)
			e.Charge = c
			return e
		}
		free := message.Charge{Category: "service", Free: true}
		f.apply(charged(1, "wamid.one", "failed", free), charged(1, "wamid.one", "sent", free))
		f.finished(f.begun(m.ID, 1, "w/2"), message.Move{To: message.Submitted, WAMID: "wamid.two"})
		f.apply(charged(2, "wamid.two", "delivered", message.Charge{Category: "marketing", Cost: 70}))
		if r := f.read(m.ID); r.Billed != "marketing" || r.Spent != 70 {
			t.Errorf("billed as %s for %d", r.Billed, r.Spent)
		}
		spent, err := f.Corrected(t.Context(), []message.Spending{{Client: "acme", Campaign: "spring"}})
		if err != nil || spent[0] != -30 {
			t.Errorf("corrected by %v, %v", spent, err)
		}
	})
}

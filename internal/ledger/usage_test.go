package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"sluice/internal/message"
)

// TestUsage: a message of a client counts once as taken, by its class, and once as billed, by the category of the first report that says
// so, in any order of reports, also if a report came before the message was known. Messages without a client do not count.
func TestUsage(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		usage := func() (text string) {
			t.Helper()
			now := time.Now()
			all, err := f.Usage(t.Context(), "", now.Add(-24*time.Hour), now.Add(24*time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range all {
				text += fmt.Sprintf("%s %s %d/%d;", u.Client, u.Category, u.Taken, u.Billed)
			}
			return text
		}
		billed := func(id, wamid, status, category string) message.MarkedReport {
			r := report(id, 1, wamid, status)
			if id == "" {
				r.Attempt = 0
			}
			r.Charge.Category = category
			return r
		}
		for i, client := range []string{"acme", "acme", ""} {
			m := newMessage(fmt.Sprint("k", i))
			m.Client, m.Class = client, message.Utility
			f.acceptedAs(m)
			wamid := fmt.Sprint("wamid.", i)
			attempt := f.begun(m.ID, 0, "w/1")
			if i == 1 { // before the outcome is recorded, and without a marker
				f.wantResult(message.Unmatched, billed("", wamid, "delivered", "marketing"))
			}
			f.finished(attempt, message.Move{To: message.Submitted, WAMID: wamid})
			if i == 1 {
				if n := f.appliedUnmatched(); n != 1 {
					t.Fatalf("%d statuses were applied", n)
				}
				continue
			}
			f.apply(billed(m.ID, wamid, "read", "utility"), billed(m.ID, wamid, "delivered", "marketing"))
			f.apply(billed(m.ID, wamid, "read", "utility"))
		}
		if got := usage(); got != "acme marketing 0/1;acme utility 2/1;" {
			t.Errorf("usage: %s", got)
		}
	})
}

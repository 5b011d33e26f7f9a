package ledger_test

import (
	"slices"
	"testing"

	"sluice/internal/message"
)

// TestFinalEvents: the final event of a message is in the entry of the stream that has the change which ends it, once.
// A message of which Meta reports no end has ended when its record is deleted.
func TestFinalEvents(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f.purges(0)
		taken := func(key string) string {
			a := f.attempting(key)
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid." + a.ID})
			return a.ID
		}
		want := func(id string, want ...string) {
			t.Helper()
			if got := f.finals(id); !slices.Equal(got, want) {
				t.Errorf("final events %q, want %q", got, want)
			}
		}
		read, never, sent := taken("read"), taken("never reported"), taken("sent")
		want(read)
		f.apply(report(read, 1, "wamid."+read, "sent"), report(read, 1, "wamid."+read, "delivered"), report(read, 1, "wamid."+read, "read"))
		f.apply(report(read, 1, "wamid."+read, "played"))
		want(read, "delivered delivered")
		var order []string // of the events of one transaction
		for _, e := range f.events() {
			if e.Message.ID == read {
				order = append(order, e.Type)
			}
		}
		if !slices.Equal(order, []string{"message", "message", "message", "message", "final", "message", "message"}) {
			t.Errorf("the events are %q", order)
		}
		f.apply(report(sent, 1, "wamid."+sent, "sent"))
		cancelled := f.accepted("cancelled")
		f.Cancel(t.Context(), cancelled)
		f.Cancel(t.Context(), cancelled)
		want(cancelled, "not_delivered cancelled")

		f.ages(30)
		if _, err := f.Purge(t.Context(), f.shard); err != nil {
			t.Fatal(err)
		}
		want(never)
		f.ages(2)
		if _, err := f.Purge(t.Context(), f.shard); err != nil {
			t.Fatal(err)
		}
		if f.exists(never) || f.exists(sent) {
			t.Fatal("a record is still there")
		}
		want(never, "unknown submitted")
		want(sent, "unknown sent")
		f.apply(report(never, 1, "wamid."+never, "delivered"))
		want(never, "unknown submitted")
		want(read, "delivered delivered")
		want(cancelled, "not_delivered cancelled")
	})
}

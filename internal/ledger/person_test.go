package ledger_test

import (
	"strings"
	"testing"

	"sluice/internal/message"
	"sluice/internal/secrets"
)

// TestForget: the record of a message that has ended is deleted with all personal data, and its key stays used. A message that
// waits is not forgotten.
func TestForget(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		hash := secrets.Hasher("a key of the tests", "recipient index")(full[1:])
		find := func() (ids string) {
			t.Helper()
			found, err := f.OfRecipients(t.Context(), []string{hash, "another!"})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range found {
				ids += string(r.State) + " "
			}
			return ids
		}
		m, waits := newMessage("ended"), newMessage("waits")
		for _, m := range []message.Message{m, waits} {
			if _, err := f.tryAccept(m); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.Cancel(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]bool{m.ID: true, waits.ID: false} {
			for _, want := range []bool{want, false} {
				if done, err := f.Forget(t.Context(), id); done != want || err != nil {
					t.Errorf("forgotten: %t, %v; want %t", done, err, want)
				}
			}
		}
		if got := find(); strings.TrimSpace(got) != string(message.Queued) {
			t.Errorf("found %q, want the one that waits", got)
		}
		r, err := f.Read(t.Context(), m.ID)
		if err != nil || !r.Tombstone() || r.State != message.Cancelled || r.To != "" || r.Ref != "" || r.RecipientHash != "" || r.Payload != "" {
			t.Errorf("left is %+v, %v; want a tombstone without a recipient", r, err)
		}
		if found, err := f.ByRef(t.Context(), []string{number}, m.Ref); err != nil || len(found) != 1 {
			t.Errorf("by reference: %d messages, %v; want the one that waits", len(found), err)
		}
		if a, err := f.tryAccept(m); err != nil || !a.Duplicate {
			t.Errorf("the same request again: %+v, %v; want a duplicate", a, err)
		}
	})
}

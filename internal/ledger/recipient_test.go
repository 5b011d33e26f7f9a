package ledger_test

import (
	"strings"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
)

// TestPair: messages from one number to one recipient have the same hash, which does not reveal the recipient and is
// deleted with the message.
func TestPair(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		recipientOf := func(id, from string) string {
			t.Helper()
			shard := message.DefaultShards.Of(from)
			r, err := record.Decode(id, f.db.Get(t.Context(), ledger.RecordPrefix(shard)+id).Val())
			if err != nil || !r.Exists() {
				t.Fatalf("no record: %v", err)
			}
			return r.Recipient
		}
		pair := func(key string, change func(m *message.Message)) string {
			m := newMessage(key)
			change(&m)
			m.ID = message.NewID(m.From, key)
			if _, err := f.tryAccept(m); err != nil {
				t.Fatal(err)
			}
			return recipientOf(m.ID, m.From)
		}
		first := pair("1", func(*message.Message) {})
		if first == "" {
			t.Fatal("no name")
		}
		if again := pair("2", func(m *message.Message) { m.Class, m.Payload = message.Marketing, []byte("{}") }); again != first {
			t.Errorf("another message to the same recipient: %s, not %s", again, first)
		}
		seen := map[string]string{"first": first}
		for name, change := range map[string]func(m *message.Message){
			"another recipient": func(m *message.Message) { m.Content.To = full + "0" },
			"a user id":         func(m *message.Message) { m.Content.To, m.Content.UserID = "", "US.1234567890" },
			"another number":    func(m *message.Message) { m.From = number + "0" },
			"the same digits":   func(m *message.Message) { m.From, m.Content.To = number+"4", full[2:] },
		} {
			got := pair(name, change)
			for other, p := range seen {
				if got == p || got == "" {
					t.Errorf("%s and %s have the name %q", name, other, got)
				}
			}
			seen[name] = got
		}
		for name, p := range seen {
			for _, secret := range []string{number, full, "US.1234567890"} {
				for i := range len(secret) - 4 {
					if part := secret[i : i+5]; len(p) != 8 || strings.Contains(p, part) {
						t.Errorf("%s: %s tells %s", name, p, part)
					}
				}
			}
		}
		if got := pair("group", func(m *message.Message) { m.Content.Group = true }); got != "" {
			t.Errorf("a group has the name %q", got)
		}

		for name, end := range map[string]message.Move{
			"failed":   {To: message.Failed},
			"rejected": {To: message.Rejected},
		} {
			a := f.attempting(name)
			f.finished(a, end)
			if got := f.read(a.ID).Recipient; got != "" {
				t.Errorf("%s: the name %s outlives the message", name, got)
			}
		}
		late := newMessage("late")
		late.ExpiresAt = time.Now().Add(-time.Second)
		f.acceptedAs(late)
		// An operator may send it again, as long as its content is kept.
		if got := f.begun(late.ID, 0, "w/1"); got.Verdict != message.Done || f.read(late.ID).Recipient == "" {
			t.Errorf("expired: %s, the name is gone", got.Verdict)
		}
	})
}

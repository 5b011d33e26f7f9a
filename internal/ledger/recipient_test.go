package ledger_test

import (
	"slices"
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

// TestByRecipient: messages are found by their recipient as long as their records live, at any number, and nothing in
// Redis names the recipient.
func TestByRecipient(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		want := func(numbers []string, recipient string, ids ...string) {
			t.Helper()
			all, err := f.ByRecipient(ctx, numbers, recipient)
			var got []string
			for _, r := range all {
				got = append(got, r.ID)
			}
			if err != nil || !slices.Equal(got, ids) {
				t.Errorf("%s of %q: found %q, %v; want %q", recipient, numbers, got, err, ids)
			}
		}
		at := time.Now()
		f.db.UseClock(func() time.Time { return at })
		accept := func(from, key, to string) string {
			t.Helper()
			at = at.Add(time.Millisecond) // they are found in the order of their acceptance
			m := newMessage(key)
			m.From, m.ID, m.Content.To = from, message.NewID(from, key), to
			f.acceptedAs(m)
			return m.ID
		}
		const other, stranger = "200000000000007", "+4915199999999"
		first := accept(number, "1", full)
		second := accept(other, "2", full[1:]) // as on Meta's own path
		third := accept(number, "3", stranger)
		accept(number, "1", full) // a repeat
		want(nil, full, second, first)
		want(nil, full[1:], second, first)
		want([]string{number}, full, first)
		want([]string{other}, full, second)
		want(nil, stranger, third)
		want(nil, full+"0")

		if _, err := f.Cancel(ctx, first); err != nil {
			t.Fatal(err)
		}
		want(nil, full, second, first)
		for _, key := range f.db.Keys(ctx, "*").Val() {
			if text := f.db.Dump(ctx, key).Val(); strings.Contains(key+text, full[1:]) {
				t.Errorf("%s names the recipient", key)
			}
		}
		without := ledger.New(f.db, ledger.Options{})
		if all, err := without.ByRecipient(ctx, nil, full); err != message.ErrNoIndex {
			t.Errorf("without an index: %v, %v", all, err)
		}
	})
}

// TestByWAMID: a message is found by each id that Meta gave it, until Meta can report nothing more.
func TestByWAMID(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		want := func(numbers []string, wamid string, ids ...string) {
			t.Helper()
			all, err := f.ByWAMID(t.Context(), numbers, wamid)
			var got []string
			for _, r := range all {
				got = append(got, r.ID)
			}
			if err != nil || !slices.Equal(got, ids) {
				t.Errorf("%s of %q: found %q, %v; want %q", wamid, numbers, got, err, ids)
			}
		}
		id := f.accepted("1")
		f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.Submitted, WAMID: "wamid.1"})
		want(nil, "wamid.1", id)
		want([]string{number}, "wamid.1", id)
		want([]string{"200000000000007"}, "wamid.1")
		want(nil, "wamid.2")
		f.wantResult(message.Applied, report(id, 1, "wamid.1", "delivered"))
		want(nil, "wamid.1", id)
		f.wantResult(message.Applied, report(id, 1, "wamid.1", "read"))
		want(nil, "wamid.1")
	})
}

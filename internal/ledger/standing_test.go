package ledger_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
)

// TestStanding: what a queue's script is told of a task agrees with the record.
func TestStanding(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		ask := f.db.Script(ledger.StandingLua + `
			local verdict, ms, pair, template = standing(KEYS[1], ARGV[1], tonumber(ARGV[2]))
			return {verdict, ms and string.format('%.0f', ms) or '', pair or '', template or ''}`)
		const later = time.Hour
		now := time.Now()
		resume := func(id string) string { return fmt.Sprint(f.get(id).NextAt.UnixMilli()) }
		for name, tt := range map[string]struct {
			make func(m message.Message) string // brings the message where it is to be, and returns the task
			at   time.Time
			want string
		}{
			"queued": {func(m message.Message) string { f.acceptedAs(m); return m.ID + ".0" }, now, "go"},
			"to a group": {func(m message.Message) string {
				m.Content.Group = true
				f.acceptedAs(m)
				return m.ID + ".0"
			}, now, "go without pair"},
			"of a template": {func(m message.Message) string {
				m.Content.Template, m.Content.Language = "sale", "en_US"
				f.acceptedAs(m)
				return m.ID + ".0"
			}, now, "go, sale/en_US"},
			"the task of another counter": {func(m message.Message) string { f.acceptedAs(m); return m.ID + ".1" }, now, "none"},
			"no message":                  {func(m message.Message) string { return m.ID + ".0" }, now, "none"},
			"no task of ours":             {func(message.Message) string { return "9b2c-77" }, now, "none"},
			"at its deadline":             {func(m message.Message) string { f.acceptedAs(m); return m.ID + ".0" }, now.Add(2 * later), "none"},
			"to be sent later": {func(m message.Message) string {
				m.SendAt = now.Add(later)
				f.acceptedAs(m)
				return m.ID + ".0"
			}, now, "later"},
			"its time has come": {func(m message.Message) string {
				m.SendAt = now.Add(later)
				f.acceptedAs(m)
				return m.ID + ".0"
			}, now.Add(later), "go"},
			"under way": {func(m message.Message) string {
				f.acceptedAs(m)
				return f.begun(m.ID, 0, "w/1").ID + ".0"
			}, now, "in 5 s"}, // its attempt may end in a retry
			"to be tried again": {f.after(message.Move{To: message.Queued, In: later}), now, "later"},
			"to be tried now":   {f.after(message.Move{To: message.Queued}), now, "go"},
			"in doubt":          {f.after(message.Move{To: message.InDoubt, In: later}), now, "none"},
			"taken by Meta":     {f.after(message.Move{To: message.Submitted, WAMID: "wamid.1"}), now, "none"},
			"rejected":          {f.after(message.Move{To: message.Rejected}), now, "none"},
			"dead":              {f.after(message.Move{To: message.Dead, Keep: true}), now, "none"},
		} {
			m := newMessage(name)
			m.ExpiresAt = now.Add(2 * later)
			task := tt.make(m)
			r, err := f.db.Run(t.Context(), ask, []string{ledger.RecordPrefix(f.shard)}, task, tt.at.UnixMilli()).StringSlice()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := []string{tt.want, "", "", ""}
			switch tt.want {
			case "go":
				want[2] = f.pairOf(m.ID)
			case "go without pair":
				want[0] = "go"
			case "go, sale/en_US":
				want = []string{"go", "", f.pairOf(m.ID), "sale/en_US"}
			case "in 5 s":
				want[0], want[1] = "later", fmt.Sprint(tt.at.UnixMilli()+5000)
			case "later":
				want[1] = resume(m.ID)
			}
			if fmt.Sprint(r) != fmt.Sprint(want) || tt.want == "go" && r[2] == "" {
				t.Errorf("%s: %q, want %q", name, r, want)
			}
		}
	})
}

// after returns how to bring a message through one attempt with that outcome.
func (f fixture) after(m message.Move) func(message.Message) string {
	return func(of message.Message) string {
		f.acceptedAs(of)
		f.finished(f.begun(of.ID, 0, "w/1"), m)
		return of.ID + ".0"
	}
}

// pairOf is what names a message's number and recipient in its record; empty: nothing does.
func (f fixture) pairOf(id string) string {
	f.t.Helper()
	v, err := f.db.HMGet(f.t.Context(), ledger.RecordPrefix(f.shard)+id, "pair").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	pair, _ := v[0].(string)
	return pair
}

// TestPair: messages from one number to one recipient have the same name, which tells nobody
// who that is, and which ends with the message.
func TestPair(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		pair := func(key string, change func(m *message.Message)) string {
			m := newMessage(key)
			change(&m)
			if _, err := f.tryAccept(m, "n"); err != nil {
				t.Fatal(err)
			}
			return f.pairOf(m.ID)
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
			"the same digits":   func(m *message.Message) { m.From, m.Content.To = number+"+", full[1:] },
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
					if part := secret[i : i+5]; len(p) != 16 || strings.Contains(p, part) {
						t.Errorf("%s: %s tells %s", name, p, part)
					}
				}
			}
		}
		if got := pair("group", func(m *message.Message) { m.Content.Group = true }); got != "" {
			t.Errorf("a group has the name %q", got)
		}

		for name, end := range map[string]message.Move{
			"submitted": {To: message.Submitted, WAMID: "wamid.1"},
			"rejected":  {To: message.Rejected},
		} {
			f.after(end)(newMessage(name))
			if got := f.pairOf(newMessage(name).ID); got != "" {
				t.Errorf("%s: the name %s outlives the message", name, got)
			}
		}
		late := newMessage("late")
		late.ExpiresAt = time.Now().Add(-time.Second)
		f.acceptedAs(late)
		if got := f.begun(late.ID, 0, "w/1"); got.Verdict != message.Done || f.pairOf(late.ID) != "" {
			t.Errorf("expired: %s, the name %q outlives the message", got.Verdict, f.pairOf(late.ID))
		}
	})
}

package repository

import (
	"log/slog"
	"testing"
	"time"

	"sluice/internal/conversations"
	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/ratelimit"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestElsewhere: service messages in conversations of another app are put off, of numbers that wait for those; templates, Direct Send
// messages and groups are not. The pause grows with the age of the message, and ends when the conversation does.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	const number, eager, phone = "106540352242922", "106540352242923", "16505551234"
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	log, now := slog.New(slog.DiscardHandler), time.Now().Truncate(time.Second)
	owners := conversations.New(db, 2, people.New(db, people.Options{Shards: 2, Owners: noAccounts{}}), log)
	taken := func(number, phone string, ago time.Duration) message.OwnerReport {
		return message.OwnerReport{Number: number, Phone: phone, Owner: message.OwnedByOther, At: now.Add(-ago)}
	}
	err = owners.Note(t.Context(), []message.OwnerReport{taken(number, phone, time.Hour), taken(eager, phone, time.Hour), taken(number, "1", conversations.Idle-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	c := &Candidates{owners: owners, waits: func(n string) bool { return n == number }, log: log}
	const text = `{"messaging_product":"whatsapp","type":"text"}`
	for name, tt := range map[string]struct {
		number, to, payload string
		age                 time.Duration
		want                time.Duration // how long it is put off; 0: it is not
	}{
		"young":                  {number, "+" + phone, text, 0, time.Second},
		"older":                  {number, "+" + phone, text, time.Minute, 15 * time.Second},
		"old":                    {number, "+" + phone, text, 10 * time.Hour, 10 * time.Minute},
		"a conversation ends":    {number, "+1", text, 10 * time.Hour, time.Minute},
		"our conversation":       {number, "+2", text, 0, 0},
		"a number does not wait": {eager, "+" + phone, text, 0, 0},
		"template":               {number, "+" + phone, `{"type":"template"}`, 0, 0},
		"Direct Send":            {number, "+" + phone, `{"type":"text","category":"utility"}`, 0, 0},
		"Direct Send, service":   {number, "+" + phone, `{"type":"text","category":"service"}`, 0, time.Second},
		"group":                  {number, "", text, 0, 0},
	} {
		r := record.Record{Payload: tt.payload}
		r.From = tt.number
		out := []dispatch.Candidate{{Accepted: now.Add(-tt.age)}}
		if tt.to != "" {
			out[0].Recipient = ratelimit.Recipient([]byte(message.Pair(tt.number, tt.to)))
		}
		if err := c.elsewhere(t.Context(), []record.Record{r}, out, now); err != nil {
			t.Fatal(err)
		}
		want := dispatch.Candidate{Verdict: dispatch.Sendable}
		if tt.want > 0 {
			want = dispatch.Candidate{Verdict: dispatch.Elsewhere, At: now.Add(tt.want)}
		}
		if out[0].Verdict != want.Verdict || !out[0].At.Equal(want.At) {
			t.Errorf("%s: verdict %d until %s, want %d until %s", name, out[0].Verdict, out[0].At, want.Verdict, want.At)
		}
	}
}

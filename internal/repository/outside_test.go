package repository

import (
	"context"
	"testing"
	"time"

	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/poll"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/servicewindow"
	"sluice/internal/store"
)

// TestOutside: a free-form message to a person whose customer service window is closed gets its fallback template, if no attempt may have been
// delivered, and is rejected otherwise. Templates, Direct Send messages, groups and numbers that do not track windows are sent.
func TestOutside(t *testing.T) {
	t.Parallel()
	const number, eager, phone, open = "106540352242922", "106540352242923", "+16505551234", "+16505551235"
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	windows := servicewindow.New(db, servicewindow.Options{
		Shards: 2, People: people.New(db, people.Options{Hash: secrets.Hasher("a key", "recipient index"), Shards: 2, Owners: noAccounts{}}),
		Numbers: func() []string { return []string{number, eager} }, Tracked: func(n string) bool { return n == number },
		Channel: func(context.Context, string) (message.Channel, error) {
			return message.Channel{Programs: 1, Open: now, LastStatus: now}, nil
		},
		Repeats:   func(string) time.Duration { return time.Minute },
		Watermark: func(context.Context, message.Shard) (time.Time, error) { return now, nil },
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- windows.Run(ctx) }()
	const since = "sluice:windows:since"
	poll.Until(t, "the number is tracked", func() bool {
		fields := db.HKeys(t.Context(), since).Val()
		return len(fields) == 1 && db.HSet(t.Context(), since, fields[0], now.Add(-25*time.Hour).UnixMilli()).Err() == nil
	})
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := windows.Note(t.Context(), []message.WindowReport{{Number: number, Phone: open, At: now}}); err != nil {
		t.Fatal(err)
	}
	c := &Candidates{windows: windows}
	text := func(to string) string { return `MAC{"to":"` + to + `","type":"text","text":{"body":"hi"}}` }
	for name, tt := range map[string]struct {
		number, payload string
		known           dispatch.Verdict
		want            dispatch.Verdict
	}{
		"closed":                {number, text(phone), dispatch.Sendable, dispatch.Outside},
		"open":                  {number, text(open), dispatch.Sendable, dispatch.Sendable},
		"not tracked":           {eager, text(phone), dispatch.Sendable, dispatch.Sendable},
		"template":              {number, `MAC{"to":"` + phone + `","type":"template"}`, dispatch.Sendable, dispatch.Sendable},
		"Direct Send":           {number, `MAC{"to":"` + phone + `","type":"text","category":"utility"}`, dispatch.Sendable, dispatch.Sendable},
		"group":                 {number, `MAC{"to":"group","recipient_type":"group","type":"text"}`, dispatch.Sendable, dispatch.Sendable},
		"not sendable yet":      {number, text(phone), dispatch.NotYet, dispatch.NotYet},
		"opted out of services": {number, text(phone), dispatch.Suppressed, dispatch.Suppressed},
	} {
		r := record.Record{Payload: tt.payload}
		r.From = tt.number
		out := []dispatch.Candidate{{Verdict: tt.known}}
		if err := c.outside(t.Context(), []record.Record{r}, out); err != nil || out[0].Verdict != tt.want {
			t.Errorf("%s: verdict %d, want %d, %v", name, out[0].Verdict, tt.want, err)
		}
	}

	r := &record.Record{}
	r.State, r.Fallback, r.Attempt, r.Proven = message.Queued, "sale/en", 1, 1
	if m := ending(r, message.ReasonWindow); m.To != message.Queued || !m.Fallback {
		t.Errorf("with a fallback template: %+v", m)
	}
	if m := ending(r, message.ReasonSuppressed); m.To != message.Cancelled || m.Fallback {
		t.Errorf("opted out: %+v", m)
	}
	r.Proven = 0 // the attempt may have been delivered
	if m := ending(r, message.ReasonWindow); m.To != message.Rejected || m.Reason != message.ReasonWindow || !m.Keep || m.Fallback {
		t.Errorf("after an attempt in doubt: %+v", m)
	}
}

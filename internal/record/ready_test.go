package record_test

import (
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// TestReady: since when a message can be sent. Retries and an in-doubt window do not change it; a send time, the end of the
// wait for another message, and an operator do.
func TestReady(t *testing.T) {
	t.Parallel()
	after := func(d time.Duration) time.Time { return t0.Add(d) }
	queued := func(r record.Record, at time.Duration, m message.Move) record.Record {
		m.To = message.Queued
		r, d := r.Decide(record.Input{Kind: record.Seen, At: after(at), From: r.State, Attempt: r.Attempt, Task: r.Task, Move: m})
		if !d.Applied {
			t.Errorf("not applied: %+v", m)
		}
		return r
	}
	retried := func(r record.Record, at time.Duration, to message.State) record.Record {
		r, _ = r.Begin(r.Task, "w/1", after(at))
		r, d := r.Decide(record.Input{Kind: record.Outcome, At: after(at), Attempt: r.Attempt, Token: "w/1", Move: message.Move{To: to, In: time.Second, Keep: true}})
		if !d.Applied {
			t.Errorf("not applied: the outcome %s", to)
		}
		return r
	}
	scheduled := order()
	scheduled.SendAt, scheduled.ExpiresAt = after(time.Minute), after(time.Hour)
	plain := order()
	plain.ExpiresAt = after(time.Hour)
	waiting := plain
	waiting.After, waiting.AfterBy = message.After{ID: messageID, State: message.Delivered}, after(time.Hour)
	now := record.New(plain, "", t0)
	dead := retried(now, 0, message.Dead)
	if !dead.ReadyAt.IsZero() {
		t.Errorf("a message that is not sent stores %s", dead.ReadyAt)
	}
	for name, tt := range map[string]struct {
		r    record.Record
		want time.Duration
	}{
		"accepted":                {now, 0},
		"retried":                 {retried(retried(now, time.Second, message.Queued), 5*time.Second, message.Queued), 0},
		"scheduled":               {record.New(scheduled, "", t0), time.Minute},
		"scheduled and retried":   {retried(record.New(scheduled, "", t0), 2*time.Minute, message.Queued), time.Minute},
		"in doubt and sent again": {queued(retried(now, time.Second, message.InDoubt), time.Minute, message.Move{Resend: true}), 0},
		"its task was lost":       {queued(now, time.Minute, message.Move{Reason: message.ReasonTaskLost}), 0},
		"waited for another":      {queued(record.New(waiting, "", t0), time.Minute, message.Move{Released: true}), time.Minute},
		"waits still":             {queued(record.New(waiting, "", t0), time.Minute, message.Move{Reason: message.ReasonTaskLost}), 0},
		"sent again by operator":  {queued(dead, time.Minute, message.Move{Reason: message.ReasonReplayed}), time.Minute},
		"and later":               {queued(dead, time.Minute, message.Move{Reason: message.ReasonReplayed, In: time.Second}), time.Minute + time.Second},
		"parked and sent again":   {queued(in(message.Parked), time.Minute, message.Move{}), time.Minute},
	} {
		r := stored(t, tt.r)
		if got := r.Ready(); !got.Equal(after(tt.want)) {
			t.Errorf("%s: %s, want %s", name, got.Sub(t0), tt.want)
		}
	}
}

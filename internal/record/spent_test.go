package record_test

import (
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// What a message costs counts since its first attempt: a retry on the next day moves it to no other day. Sent again after its end it counts anew.
func TestSpent(t *testing.T) {
	t.Parallel()
	m := order()
	m.Client, m.Price, m.ExpiresAt = "acme", 100, t0.Add(90*24*time.Hour)
	r := record.New(m, "", t0)
	outcome := func(at time.Time, token string, move message.Move) {
		t.Helper()
		var d record.Decision
		if r, d = r.Decide(record.Input{Kind: record.Outcome, At: at, Attempt: r.Attempt, Token: token, Move: move}); !d.Applied {
			t.Fatalf("the move to %s is not applied", move.To)
		}
	}
	begin := func(at time.Time, token string) {
		t.Helper()
		var b record.Begin
		if r, b = r.Begin(r.Task, token, at); b.Verdict != message.Go {
			t.Fatalf("begin: %v", b.Verdict)
		}
	}
	want := func(when string, spent int, at time.Time) {
		t.Helper()
		if r.Spent != spent || !r.SpentAt.Equal(at) {
			t.Errorf("%s: %d since %v, want %d since %v", when, r.Spent, r.SpentAt, spent, at)
		}
	}
	first, next := t0.Add(time.Minute), t0.Add(24*time.Hour)
	want("accepted", 0, time.Time{})
	begin(first, "w/1")
	want("begun", 100, first)
	outcome(first, "w/1", message.Move{To: message.Queued, Code: 130429, Counts: true})
	begin(next, "w/2")
	want("a retry", 100, first)
	outcome(next, "w/2", message.Move{To: message.Dead, Code: 131042, Keep: true})
	want("dead", 0, first)
	r, _ = r.Decide(record.Input{Kind: record.Seen, At: next, Move: message.Move{To: message.Queued}, From: r.State, Attempt: r.Attempt, Task: r.Task})
	begin(next.Add(time.Hour), "w/3")
	want("sent again", 100, next.Add(time.Hour))
}

package ledger_test

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
)

func TestBegin(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		m := newMessage("k1")
		f.acceptedAs(m)
		before := f.read(m.ID)
		want := message.Attempt{
			Verdict: message.Go, ID: m.ID, N: 1, Token: "w/1",
			Accepted: before.Incarnation(), Message: m.Context(), Payload: m.Payload, ExpiresAt: m.ExpiresAt,
		}
		if got := f.begun(m.ID, 1, "w/0"); got.Verdict != message.Done {
			t.Errorf("the task of another k: %s", got.Verdict)
		}
		for range 2 { // the second as after a lost answer
			got := f.begun(m.ID, 0, "w/1")
			if most := time.Until(m.ExpiresAt) + time.Second; got.Left > most || got.Left < most-time.Minute {
				t.Errorf("%s left of an hour", got.Left)
			}
			if got.Waited < 0 || got.Waited > time.Minute {
				t.Errorf("it waited for %s", got.Waited)
			}
			if got.Left, got.Age, got.Waited = 0, 0, 0; !reflect.DeepEqual(got, want) {
				t.Errorf("%+v\nwant %+v", got, want)
			}
		}
		if got := f.begun(m.ID, 0, "w/2"); got.Verdict != message.Busy {
			t.Errorf("another owner: %s", got.Verdict)
		}
		f.wantChanges(m.ID, "queued 0  0 ") // an attempt is no change that others need to know of
		r := f.get(m.ID)
		if r.State != message.Attempting || r.Attempt != 1 || len(r.Timeline) != 2 || r.Timeline[1].State != message.Attempting {
			t.Errorf("%+v", r)
		}
		if got := f.backlog(); got != (ledger.Backlog{Waiting: 1}) {
			t.Errorf("%+v", got)
		}
		f.finished(want, message.Move{To: message.Submitted})
		for _, token := range []string{"w/1", "w/2"} {
			if got := f.begun(m.ID, 0, token); got.Verdict != message.Done {
				t.Errorf("%s after the end: %s", token, got.Verdict)
			}
		}
		for _, id := range []string{message.NewID(number, "gone"), "no id"} {
			if got := f.begun(id, 0, "w/1"); got.Verdict != message.Done {
				t.Errorf("%s: %s", id, got.Verdict)
			}
		}
	})
}

// edit changes a stored record behind the ledger's back.
func (f fixture) edit(id string, change func(r *record.Record)) {
	f.t.Helper()
	r := f.read(id)
	change(&r)
	if err := f.db.Set(f.t.Context(), ledger.RecordPrefix(f.shard)+id, r.Encode(), 0).Err(); err != nil {
		f.t.Fatal(err)
	}
}

func TestBeginAfterTheDeadline(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		m := newMessage("k1")
		f.acceptedAs(m)
		f.finished(f.begun(m.ID, 0, "w/1"), message.Move{To: message.Queued, Code: 130429, Reason: "code 130429", In: time.Hour, Counts: true})
		f.edit(m.ID, func(r *record.Record) { r.ExpiresAt = time.Now().Add(-time.Second) })
		for range 2 {
			if got := f.begun(m.ID, 0, "w/2"); got.Verdict != message.Done {
				t.Errorf("%s", got.Verdict)
			}
		}
		r := f.get(m.ID)
		if r.State != message.Expired || r.Reason != message.ReasonLateRetry || r.Attempt != 1 || r.Code != 130429 || !r.NextAt.IsZero() {
			t.Errorf("%+v", r)
		}
		f.wantChanges(m.ID, "queued 0  0 ", "queued 1  130429 code 130429", "expired 1  130429 deadline_in_retry")
		f.wantLife(m.ID, week)
		if !f.hasPayload(m.ID) || f.backlog() != (ledger.Backlog{}) { // an operator may send it again
			t.Errorf("payload kept %t, backlog %+v", f.hasPayload(m.ID), f.backlog())
		}
	})
}

func TestFinish(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		move    message.Move
		life    time.Duration
		payload bool
		backlog ledger.Backlog
		event   string
	}{
		{"accepted", message.Move{To: message.Submitted, WAMID: "wamid.a"}, month, true, ledger.Backlog{}, "submitted 1 wamid.a 0 "},
		{"accepted, answer unreadable", message.Move{To: message.Submitted}, month, true, ledger.Backlog{}, "submitted 1  0 "},
		{"throttled", message.Move{To: message.Queued, Code: 130429, Reason: "code 130429", In: time.Minute}, 0, true, ledger.Backlog{Waiting: 1}, "queued 1  130429 code 130429"},
		{"transient", message.Move{To: message.Queued, Reason: "dial", In: time.Minute, Counts: true}, 0, true, ledger.Backlog{Waiting: 1}, "queued 1  0 dial"},
		{"taken back", message.Move{To: message.Queued}, 0, true, ledger.Backlog{Waiting: 1}, "queued 1  0 "},
		{"server error", message.Move{To: message.InDoubt, Code: 131000, Reason: message.ReasonServerError, In: time.Minute}, 0, true, ledger.Backlog{InDoubt: 1}, "in_doubt 1  131000 server_error"},
		{"no answer", message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: time.Minute}, 0, true, ledger.Backlog{InDoubt: 1}, "in_doubt 1  0 no_answer"},
		{"refused", message.Move{To: message.Rejected, Code: 131026, Reason: "code 131026"}, week, false, ledger.Backlog{}, "rejected 1  131026 code 131026"},
		{"used up", message.Move{To: message.Dead, Reason: message.ReasonAttempts, Keep: true}, week, true, ledger.Backlog{Dead: 1}, "dead 1  0 attempts_used_up"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			on(t, func(t *testing.T, f fixture) {
				a := f.attempting("k1")
				for range 2 { // the second as after a lost answer
					if st := f.finished(a, tt.move); st != tt.move.To {
						t.Errorf("state %s", st)
					}
				}
				r := f.get(a.ID)
				if r.State != tt.move.To || r.Code != tt.move.Code || r.Reason != tt.move.Reason || r.WAMID != tt.move.WAMID || r.Attempt != 1 {
					t.Errorf("record %+v", r)
				}
				if in := time.Until(r.NextAt); tt.move.In == 0 && !r.NextAt.IsZero() || tt.move.In > 0 && (in > tt.move.In || in < tt.move.In-30*time.Second) {
					t.Errorf("next at %s", r.NextAt)
				}
				if len(r.Timeline) != 3 {
					t.Errorf("timeline %+v", r.Timeline)
				}
				f.wantLife(a.ID, tt.life)
				if got := f.hasPayload(a.ID); got != tt.payload {
					t.Errorf("payload kept: %t", got)
				}
				if got := f.backlog(); got != tt.backlog {
					t.Errorf("backlog %+v, want %+v", got, tt.backlog)
				}
				f.wantChanges(a.ID, "queued 0  0 ", tt.event)
			})
		})
	}
}

// TestBudget: only what counts is counted, and once.
func TestBudget(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		id := f.accepted("k1")
		for i, counts := range []bool{true, false, true, false} {
			a := f.begun(id, 0, fmt.Sprintf("w/%d", i))
			if want := []int{0, 1, 1, 2}[i]; a.Failures != want || a.N != i+1 {
				t.Errorf("attempt %d (want %d): %d failures, want %d", a.N, i+1, a.Failures, want)
			}
			for range 2 {
				f.finished(a, message.Move{To: message.Queued, Counts: counts})
			}
		}
	})
}

// TestAttemptWithFallback: a worker knows of a free-form message whether its fallback template may take its place, which is so while no attempt may
// have been delivered. When Meta demands a template, it does.
func TestAttemptWithFallback(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		m := newMessage("k1")
		m.Content = message.Content{Type: "text", To: "+16505551234"}
		m.Fallback = message.Fallback{Template: "sale/en", Payload: []byte(`{"type":"template"}`)}
		f.acceptedAs(m)
		a := f.begun(m.ID, 0, "w/1")
		f.finished(a, message.Move{To: message.Queued})
		again := f.begun(m.ID, 0, "w/2")
		f.finished(again, message.Move{To: message.Queued, Fallback: true, Reason: message.ReasonFallback})
		last := f.begun(m.ID, 0, "w/3")
		if !a.Fallback || !again.Fallback || last.Fallback || last.Message.Template != "sale/en" || last.Message.Instead != "text" || string(last.Payload) != `{"type":"template"}` {
			t.Errorf("%+v, %+v, %+v", a, again, last)
		}

		m = newMessage("k2")
		m.Content = message.Content{Type: "text", To: "+16505551234"}
		m.Fallback = message.Fallback{Template: "sale/en", Payload: []byte(`{"type":"template"}`)}
		f.acceptedAs(m)
		f.finished(f.begun(m.ID, 0, "w/1"), message.Move{To: message.InDoubt, Reason: message.ReasonServerError})
		if done, err := f.Sweep(t.Context(), f.look(m.ID), message.Move{To: message.Queued, Reason: message.ReasonServerError}); !done || err != nil {
			t.Fatal(done, err)
		}
		if a := f.begun(m.ID, 1, "w/2"); a.Fallback {
			t.Errorf("after an attempt in doubt: %+v", a)
		}
	})
}

func TestWaitAfterThrottle(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.finished(a, message.Move{To: message.Queued, In: time.Minute})
		got := f.begun(a.ID, 0, "w/2")
		if got.Verdict != message.Early || got.Wait > time.Minute || got.Wait < 30*time.Second {
			t.Errorf("%s, wait %s", got.Verdict, got.Wait)
		}
	})
}

// TestFinishByAFormerOwner: a more certain result of another program stays, except that Meta took the message.
func TestFinishByAFormerOwner(t *testing.T) {
	t.Parallel()
	for _, move := range []message.Move{
		{To: message.Queued, In: time.Minute, Counts: true},
		{To: message.InDoubt, In: time.Minute},
		{To: message.Rejected, Code: 131026},
		{To: message.Dead, Keep: true},
	} {
		t.Run(string(move.To), func(t *testing.T) {
			t.Parallel()
			on(t, func(t *testing.T, f fixture) {
				first := f.attempting("k1")
				f.swept(message.Open{ID: first.ID, State: message.Attempting, N: 1}, message.Move{To: message.InDoubt})
				f.requeued(message.Open{ID: first.ID, State: message.InDoubt, N: 1}, message.Move{To: message.Queued})
				second := f.begun(first.ID, 1, "w/2")
				before := f.get(first.ID)
				for _, a := range []message.Attempt{
					first,
					{ID: first.ID, N: 2, Token: "w/1"}, // right attempt, wrong owner
					{ID: first.ID, N: 3, Token: "w/2"},
				} {
					if st := f.finished(a, move); st != message.Attempting {
						t.Errorf("attempt %d of %s: %s", a.N, a.Token, st)
					}
				}
				if after := f.get(first.ID); !reflect.DeepEqual(after, before) {
					t.Errorf("changed: %+v\nbefore: %+v", after, before)
				}
				if st := f.finished(first, message.Move{To: message.Submitted, WAMID: "wamid.1"}); st != message.Submitted {
					t.Errorf("that Meta took attempt 1: %s", st)
				}
				if st := f.finished(second, move); st != message.Submitted {
					t.Errorf("then the owner of attempt 2: %s", st)
				}
				if got := f.backlog(); got != (ledger.Backlog{}) {
					t.Errorf("backlog %+v", got)
				}
			})
		})
	}
}

// TestFinishOfAGoneRecord: an outcome after the end of the record changes nothing.
func TestFinishOfAGoneRecord(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := message.Attempt{ID: message.NewID(number, "gone"), N: 1, Token: "w/1"}
		before := f.db.DBSize(t.Context()).Val()
		if st := f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"}); st != "" {
			t.Errorf("state %q", st)
		}
		if n := f.db.DBSize(t.Context()).Val(); n != before {
			t.Errorf("left behind: %d keys of %v", n-before, f.db.Keys(t.Context(), "*").Val())
		}
	})
}

// TestOneOfManyBegins: however many workers come with the same task, one sends.
func TestOneOfManyBegins(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		id := f.accepted("k1")
		var goes, busy atomic.Int32
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				a, err := f.Begin(t.Context(), id, 0, fmt.Sprintf("w%d/1", i), nil)
				switch {
				case err != nil:
					t.Error(err)
				case a.Verdict == message.Go:
					goes.Add(1)
				case a.Verdict == message.Busy:
					busy.Add(1)
				}
			})
		}
		all.Wait()
		if goes.Load() != 1 || busy.Load() != 15 {
			t.Errorf("%d may send, %d wait", goes.Load(), busy.Load())
		}
	})
}

package record_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

func TestBegin(t *testing.T) {
	t.Parallel()
	deadline := t0.Add(time.Hour)
	due := in(message.Queued)
	due.NextAt = time.Time{}
	untried := fresh()
	for name, c := range map[string]struct {
		r     record.Record
		task  int
		token string
		at    time.Time
		want  record.Begin
	}{
		"its turn":                  {due, 1, "w/3", t0, record.Begin{Verdict: message.Go}},
		"an earlier task":           {due, 0, "w/3", t0, record.Begin{Verdict: message.Done}},
		"a later task":              {due, 2, "w/3", t0, record.Begin{Verdict: message.Done}},
		"before its time":           {in(message.Queued), 1, "w/3", t0, record.Begin{Verdict: message.Early, Wait: time.Minute}},
		"just before its time":      {in(message.Queued), 1, "w/3", t0.Add(time.Minute - time.Millisecond), record.Begin{Verdict: message.Early, Wait: time.Millisecond}},
		"at its time":               {in(message.Queued), 1, "w/3", t0.Add(time.Minute), record.Begin{Verdict: message.Go}},
		"the last moment":           {due, 1, "w/3", deadline.Add(-time.Millisecond), record.Begin{Verdict: message.Go}},
		"the deadline":              {due, 1, "w/3", deadline, record.Begin{Verdict: message.Done, Expired: message.ReasonLateRetry}},
		"the deadline, never tried": {untried, 0, "w/3", deadline, record.Begin{Verdict: message.Done, Expired: message.ReasonDeadline}},
		"under way":                 {in(message.Attempting), 1, "w/3", t0, record.Begin{Verdict: message.Busy}},
		"under way, another task":   {in(message.Attempting), 0, "w/3", t0, record.Begin{Verdict: message.Busy}},
		"its own":                   {in(message.Attempting), 1, "w/2", t0, record.Begin{Verdict: message.Go}},
		"its own, past the deadline": {
			in(message.Attempting), 1, "w/2", deadline.Add(time.Hour), record.Begin{Verdict: message.Go},
		},
	} {
		after, begin := c.r.Begin(c.task, c.token, c.at)
		if begin != c.want {
			t.Errorf("%s: %+v, want %+v", name, begin, c.want)
		}
		if begin.Verdict != message.Go || c.r.State == message.Attempting {
			if !reflect.DeepEqual(after, c.r) {
				t.Errorf("%s: the record changed to %+v", name, after)
			}
			continue
		}
		want := c.r
		want.State, want.Token, want.Attempt = message.Attempting, c.token, c.r.Attempt+1
		want.Reason, want.Code, want.Detail, want.NextAt, want.SendAt = "", 0, message.ErrorDetail{}, time.Time{}, time.Time{}
		want.Timeline = append(slices.Clone(c.r.Timeline), message.Step{At: c.at, State: message.Attempting, Attempt: want.Attempt})
		if !record.Same(after, want) {
			t.Errorf("%s: the record is\n %+v, want\n %+v", name, after, want)
		}
		if after.ListEntry() != c.r.ListEntry() {
			t.Errorf("%s: moved from %+v to %+v, which an APPEND cannot do", name, c.r.ListEntry(), after.ListEntry())
		}
	}
	for _, s := range message.States() {
		if _, begin := in(s).Begin(1, "w/3", t0.Add(time.Minute)); begin.Verdict == message.Go && s != message.Queued {
			t.Errorf("an attempt of a message that is %s", s)
		}
	}
}

// TestRestore holds what becomes of what a worker remembers: that the attempt began, and its outcome.
func TestRestore(t *testing.T) {
	t.Parallel()
	at := t0.Add(time.Minute)
	move := func(to message.State) *message.Move { return &message.Move{To: to, WAMID: wamid, In: time.Minute} }
	reopened := strings.Fields("queued attempting in_doubt parked dead submitted") // what a later attempt may have followed
	for name, r := range all() {
		for _, m := range []message.RememberedAttempt{
			{N: 3, K: 2, Token: "w/3"},
			{N: 3, K: 2, Token: "w/3", Move: move(message.Submitted)},
			{N: 3, K: 2, Token: "w/3", Move: move(message.InDoubt)},
			{N: 3, K: 2, Token: "w/3", Move: move(message.Queued)},
			{N: 5, K: 2, Token: "w/3", Move: move(message.Rejected)},
		} {
			after, loss, d := r.Restore(m, at)
			if loss != record.IntentLost {
				t.Errorf("%s, attempt %d: loss %d", name, m.N, loss)
			}
			open := slices.Contains(reopened, name)
			switch {
			case m.Move == nil && open:
				if after.State != message.Attempting || after.Attempt != m.N || after.Task != 2 || after.Token != "w/3" || after.Code != 0 || after.Reason != "" || d.Applied {
					t.Errorf("%s: restored as %+v", name, after)
				}
				if step := after.Timeline[len(after.Timeline)-1]; step.Reason != "remembered" || step.Attempt != m.N {
					t.Errorf("%s: the timeline says %+v", name, step)
				}
			case m.Move != nil && open:
				if after.State != m.Move.To || after.Attempt != m.N || after.Task != 2 || !d.Applied || len(d.Changes) != 1 || d.Changes[0].Attempt != m.N {
					t.Errorf("%s, outcome %s: restored as %+v, %+v", name, m.Move.To, after, d)
				}
			default:
				rises := m.Move != nil && m.Move.To == message.Submitted && r.State.Rank(r.Reason) < message.Submitted.Rank("")
				if after.Attempt != 2 || after.Task != 1 || d.Applied != rises || !rises && after.State != r.State {
					t.Errorf("%s: restored as %+v, %+v", name, after, d)
				}
			}
			again, loss, d := after.Restore(m, at)
			if open && (loss != record.NothingLost || d.Applied || !record.Same(again, after)) {
				t.Errorf("%s, attempt %d, once more: loss %d, %+v", name, m.N, loss, again)
			}
		}
		// An attempt that the record has.
		for _, m := range []message.RememberedAttempt{
			{N: 2, K: 1, Token: "w/2", Move: move(message.Submitted)},
			{N: 2, K: 1, Token: "w/2", Move: move(message.Queued)},
			{N: 2, K: 1, Token: "w/other", Move: move(message.Queued)},
			{N: 1, K: 1, Token: "w/2", Move: move(message.InDoubt)},
			{N: 2, K: 1, Token: "w/2"},
		} {
			after, loss, d := r.Restore(m, at)
			want := m.Move != nil && (name == "attempting" && m.N == 2 && m.Token == "w/2" ||
				m.Move.To == message.Submitted && r.State.Rank(r.Reason) < message.Submitted.Rank(""))
			if d.Applied != want || (loss == record.OutcomeLost) != want || !want && loss != record.NothingLost {
				t.Errorf("%s, remembered %+v: loss %d, %+v", name, m, loss, d)
			}
			if after.Attempt != 2 || after.Task != 1 {
				t.Errorf("%s, remembered %+v: %+v", name, m, after)
			}
		}
	}
}

// TestRestoreAfterTheOutcome: after a rewind an outcome may be applied before its intent is restored.
func TestRestoreAfterTheOutcome(t *testing.T) {
	t.Parallel()
	taken := message.Move{To: message.Submitted, WAMID: wamid}
	r, d := fresh().Decide(record.Input{Kind: record.Outcome, At: t0.Add(time.Second), Move: taken, Attempt: 1, Token: "w/1"})
	if !d.Applied || r.State != message.Submitted {
		t.Fatalf("%+v, %+v", r, d)
	}
	for _, m := range []message.RememberedAttempt{{N: 1, Token: "w/1"}, {N: 1, Token: "w/1", Move: &taken}} {
		if after, loss, d := r.Restore(m, t0.Add(time.Minute)); loss != record.IntentLost || d.Applied || !record.Same(after, r) {
			t.Errorf("loss %d, %+v, restored as %+v", loss, d, after)
		}
	}
}

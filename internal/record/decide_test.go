package record_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// in returns a record in a state, at attempt 2 of task 1, as the rules see one.
func in(s message.State) record.Record {
	r := fresh()
	r.State, r.Attempt, r.Task, r.Failures, r.Resends = s, 2, 1, 1, 1
	r.Reason, r.Code, r.Detail = "before", 7, message.ErrorDetail{Message: "words"}
	switch s {
	case message.Attempting:
		r.Token, r.Reason, r.Code, r.Detail = "w/2", "", 0, message.ErrorDetail{}
	case message.Queued, message.InDoubt:
		r.NextAt = t0.Add(time.Minute)
	}
	if !s.Kept() && s != message.Dead {
		r.Payload, r.Recipient = "", ""
	}
	if !s.Sendable() && s != message.Dead {
		r.Failures = 0
	}
	r.Timeline = append(r.Timeline, message.Step{At: t0.Add(time.Second), State: s, Attempt: 2})
	return r
}

// undetermined is a record that was in doubt and closed.
func undetermined() record.Record {
	r := in(message.Failed)
	r.Reason = message.ReasonUndetermined
	return r
}

// all returns a record in each state, by its name; one that was in doubt and closed is "undetermined".
func all() map[string]record.Record {
	m := map[string]record.Record{"undetermined": undetermined()}
	for _, s := range message.States() {
		m[string(s)] = in(s)
	}
	return m
}

// decide checks what holds of every decision, and returns it.
func decide(t *testing.T, r record.Record, in record.Input) (record.Record, record.Decision) {
	t.Helper()
	before := fmt.Sprintf("%+v", r)
	after, d := r.Decide(in)
	if now := fmt.Sprintf("%+v", r); now != before {
		t.Fatalf("the record that was asked has changed:\nbefore %s\n after %s", before, now)
	}
	changes := len(d.Changes)
	if d.Duplicate {
		changes--
	}
	if d.Applied != (changes == 1) || d.Applied && d.Repeated {
		t.Fatalf("%+v", d)
	}
	if d.Changed == record.Same(after, r) {
		t.Fatalf("changed is %t", d.Changed)
	}
	if !d.Applied && (after.State != r.State || len(after.Timeline) != len(r.Timeline)) {
		t.Fatalf("not applied, and %s became %s", r.State, after.State)
	}
	if d.Applied {
		step := after.Timeline[len(after.Timeline)-1]
		c := d.Changes[len(d.Changes)-1]
		code, detail := in.Move.Code, in.Move.Detail
		if in.Kind == record.Seen && code == 0 && detail == (message.ErrorDetail{}) && keepsError(in.Move.To) {
			code, detail = r.Code, r.Detail
		}
		if after.Code != code || after.Detail != detail || c.Detail != detail ||
			after.State != in.Move.To || step.State != after.State || !step.At.Equal(in.At) || step.Code != code ||
			c.To != step.State || c.Attempt != step.Attempt || c.Code != step.Code || after.Token != "" && after.State != message.InDoubt {
			t.Fatalf("%+v led to %+v, step %+v, event %+v", in, after, step, c)
		}
	}
	return after, d
}

// keepsError reports whether Meta's last error stays when a message comes into a state without an answer of Meta.
func keepsError(s message.State) bool {
	return slices.Contains([]message.State{message.Queued, message.Parked, message.Expired, message.Failed}, s)
}

// TestStatus checks which status raises which state: docs/message-life.md.
func TestStatus(t *testing.T) {
	t.Parallel()
	reports := []message.State{message.Sent, message.Failed, message.Delivered, message.Read, message.Played}
	from := map[string]string{
		"queued": "sent failed delivered read played", "attempting": "sent failed delivered read played",
		"in_doubt": "sent failed delivered read played", "parked": "sent failed delivered read played",
		"rejected": "sent failed delivered read played", "expired": "sent failed delivered read played",
		"cancelled": "sent failed delivered read played", "dead": "sent failed delivered read played",
		"undetermined": "sent failed delivered read played", "submitted": "sent failed delivered read played",
		"sent": "failed delivered read played", "failed": "delivered read played", "delivered": "read played",
		"read": "played", "played": "",
	}
	records := all()
	if len(from) != len(records) {
		t.Errorf("the table has %d states of %d", len(from), len(records))
	}
	for name, r := range records {
		for _, to := range reports {
			for attempt := range 4 { // 0: the report names none; 1: an earlier one; 3: one that the record does not know
				input := record.Input{
					Kind: record.Status, At: t0.Add(time.Minute), Attempt: attempt,
					Move: message.Move{To: to, WAMID: wamid, Code: 5}, Incarnation: r.Incarnation(),
				}
				after, d := decide(t, r, input)
				want := slices.Contains(strings.Fields(from[name]), string(to))
				if to == message.Failed && (attempt == 1 || attempt == 0 && r.State.Sendable()) {
					want = false // it is about an earlier attempt
				}
				if d.Applied != want {
					t.Errorf("%s, reported %s of attempt %d: applied is %t", name, to, attempt, d.Applied)
				}
				if d.Repeated != (!want && r.State == to) {
					t.Errorf("%s, reported %s: repeated is %t", name, to, d.Repeated)
				}
				if after.WAMID != wamid {
					t.Errorf("%s, reported %s: Meta's id was not noted", name, to)
				}
				if want && (after.Code != 5 || after.Payload != "" || after.Recipient != "" || after.Failures != 0 || !after.NextAt.IsZero() || after.Reason != "" || after.Detail != (message.ErrorDetail{})) {
					t.Errorf("%s, reported %s: %+v", name, to, after)
				}
				if at := cmpOr(attempt, 2); want && d.Changes[0].Attempt != at {
					t.Errorf("%s, reported %s of attempt %d: the event is of attempt %d", name, to, attempt, d.Changes[0].Attempt)
				}
				if want && after.Attempt != max(2, attempt) {
					t.Errorf("%s, reported %s of attempt %d: the record is at attempt %d", name, to, attempt, after.Attempt)
				}
				input.Incarnation++
				if after, d = decide(t, r, input); d.Applied || d.Repeated || after.WAMID != "" || len(d.Changes) > 0 {
					t.Errorf("%s, reported %s of another record: %+v", name, to, d)
				}
			}
		}
	}
}

func cmpOr(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

// TestOutcome holds when an outcome counts: while its attempt is under way; afterwards only that
// Meta took the message, unless more is known.
func TestOutcome(t *testing.T) {
	t.Parallel()
	late := strings.Fields("queued attempting in_doubt parked rejected expired cancelled dead undetermined")
	for name, r := range all() {
		for _, to := range []message.State{message.Queued, message.InDoubt, message.Submitted, message.Rejected, message.Dead} {
			for _, owner := range []struct {
				attempt int
				token   string
				own     bool
			}{{2, "w/2", true}, {2, "w/1", false}, {1, "w/2", false}, {3, "w/2", false}, {2, "", false}} {
				after, d := decide(t, r, record.Input{
					Kind: record.Outcome, At: t0.Add(time.Minute), Attempt: owner.attempt, Token: owner.token, Move: message.Move{To: to, WAMID: wamid},
				})
				want := name == "attempting" && owner.own || to == message.Submitted && slices.Contains(late, name)
				if d.Applied != want || d.Repeated {
					t.Errorf("%s, outcome %s of attempt %d by %q: %+v", name, to, owner.attempt, owner.token, d)
				}
				if after.WAMID != wamid {
					t.Errorf("%s, outcome %s: Meta's id was not noted", name, to)
				}
				if after.Task != r.Task {
					t.Errorf("%s, outcome %s: task %d became %d", name, to, r.Task, after.Task)
				}
			}
		}
	}
}

// TestOutcomeOfAnOwnerTakenForDead: a certain outcome counts, also when another worker has taken the owner for dead,
// for example because a clock was set; an outcome that is in doubt adds nothing.
func TestOutcomeOfAnOwnerTakenForDead(t *testing.T) {
	t.Parallel()
	inDoubt, _ := decide(t, all()["attempting"], record.Input{
		Kind: record.Seen, At: t0.Add(time.Minute), From: message.Attempting, Attempt: 2, Task: 1,
		Move: message.Move{To: message.InDoubt, Reason: message.ReasonWorkerDied, In: time.Minute},
	})
	if inDoubt.State != message.InDoubt || inDoubt.Worker() != "" {
		t.Fatalf("%+v", inDoubt)
	}
	for to, counts := range map[message.State]bool{message.Queued: true, message.Submitted: true, message.Rejected: true, message.Dead: true, message.InDoubt: false} {
		for token, own := range map[string]bool{"w/2": true, "w/1": false, "": false} {
			after, d := decide(t, inDoubt, record.Input{Kind: record.Outcome, At: t0.Add(2 * time.Minute), Attempt: 2, Token: token, Move: message.Move{To: to}})
			if want := counts && own || to == message.Submitted; d.Applied != want || want && (after.State != to || after.Token != "") {
				t.Errorf("outcome %s by %q: %+v, the record is %s", to, token, d, after.State)
			}
		}
	}
}

// TestSeen holds that a decision on what was seen counts only while nothing has happened since.
func TestSeen(t *testing.T) {
	t.Parallel()
	for name, r := range all() {
		for seen, other := range all() {
			for _, to := range message.States() {
				for _, at := range []struct{ attempt, task int }{{2, 1}, {1, 1}, {3, 1}, {2, 0}, {2, 2}} {
					if r.State != other.State && at.attempt != 2 {
						continue // the state alone refuses it, also at the right attempt
					}
					after, d := decide(t, r, record.Input{
						Kind: record.Seen, At: t0.Add(time.Minute), From: other.State, Attempt: at.attempt, Task: at.task, Move: message.Move{To: to, In: time.Second},
					})
					if want := r.State == other.State && at.attempt == 2 && at.task == 1; d.Applied != want {
						t.Fatalf("%s, seen as %s at attempt %d, task %d, to %s: applied is %t", name, seen, at.attempt, at.task, to, d.Applied)
					}
					task := r.Task
					if d.Applied && to == message.Queued {
						task++ // the task that was there finds nothing to do
					}
					if after.Task != task {
						t.Errorf("%s to %s: task %d, want %d", name, to, after.Task, task)
					}
				}
			}
		}
	}
}

// TestWhatFollows holds what a change does to the other members of a record.
func TestWhatFollows(t *testing.T) {
	t.Parallel()
	at := t0.Add(10 * time.Minute)
	move := func(from message.State, m message.Move) record.Record {
		t.Helper()
		r := in(from)
		after, d := decide(t, r, record.Input{Kind: record.Seen, At: at, From: from, Attempt: 2, Task: 1, Move: m})
		if !d.Applied {
			t.Fatalf("%s to %s: %+v", from, m.To, d)
		}
		return after
	}
	for _, to := range message.States() {
		r := move(message.InDoubt, message.Move{To: to, In: time.Minute, Reason: "why", Code: 9, Detail: message.ErrorDetail{Message: "said"}, Counts: true, Resend: true})
		if r.Reason != "why" || r.Code != 9 || r.Detail.Message != "said" || r.Since() != at {
			t.Errorf("%s: %+v", to, r)
		}
		if kept := to.Kept(); (r.Payload != "") != kept || (r.Recipient != "") != kept || (r.Failures != 0) != to.Sendable() {
			t.Errorf("%s: payload %q, recipient %q, failures %d", to, r.Payload, r.Recipient, r.Failures)
		}
		next, failures, resends := time.Time{}, 0, 1
		if to.Sendable() {
			failures = 2
		}
		switch to {
		case message.Queued:
			next, resends = at.Add(time.Minute), 2
		case message.InDoubt:
			next = at.Add(time.Minute)
		}
		if !r.NextAt.Equal(next) || r.Failures != failures || r.Resends != resends {
			t.Errorf("%s: next at %s, %d failures, %d resends; want %s, %d, %d", to, r.NextAt, r.Failures, r.Resends, next, failures, resends)
		}
		// When the next change brings no error, this one is kept for as long as the message is not accepted.
		for _, next := range message.States() {
			code, detail := 0, message.ErrorDetail{}
			if keepsError(next) {
				code, detail = 9, message.ErrorDetail{Message: "said"}
			}
			n, d := decide(t, r, record.Input{Kind: record.Seen, At: at, From: to, Attempt: 2, Task: r.Task, Move: message.Move{To: next}})
			if c := d.Changes[0]; n.Reason != "" || n.Code != code || n.Detail != detail || c.Code != code || c.Detail != detail {
				t.Errorf("%s, then %s: %+v, published %+v", to, next, n, c)
			}
			if next != message.InDoubt && !n.NextAt.IsZero() {
				t.Errorf("%s, then %s: next at %s", to, next, n.NextAt)
			}
		}
		other, _ := decide(t, r, record.Input{Kind: record.Seen, At: at, From: to, Attempt: 2, Task: r.Task, Move: message.Move{To: message.Parked, Code: 10}})
		if other.Code != 10 || other.Detail != (message.ErrorDetail{}) {
			t.Errorf("%s, then parked with another code: %+v", to, other)
		}
	}
	if r := move(message.InDoubt, message.Move{To: message.Queued}); r.Failures != 1 || r.Resends != 1 || !r.NextAt.IsZero() {
		t.Errorf("queued at once: %d failures, %d resends, next at %s", r.Failures, r.Resends, r.NextAt)
	}
	if r := move(message.InDoubt, message.Move{To: message.InDoubt}); !r.NextAt.Equal(at) {
		t.Errorf("in doubt without a window ends at %s", r.NextAt)
	}
	if r := move(message.Queued, message.Move{To: message.Dead, Keep: true}); r.Payload == "" || r.Recipient == "" || r.Failures != 0 {
		t.Errorf("kept: payload %q, recipient %q, failures %d", r.Payload, r.Recipient, r.Failures)
	}
	later := t0.Add(48 * time.Hour)
	if r := move(message.Dead, message.Move{To: message.Queued, ExpiresAt: later}); !r.ExpiresAt.Equal(later) || r.Payload == "" || r.ListEntry().Score != later.UnixMilli() {
		t.Errorf("replayed with a new deadline: %+v", r)
	}
	if r := move(message.Dead, message.Move{To: message.Queued}); !r.ExpiresAt.Equal(t0.Add(time.Hour)) {
		t.Errorf("replayed: the deadline is %s", r.ExpiresAt)
	}
	after, _ := decide(t, in(message.Parked), record.Input{
		Kind: record.Seen, At: at, From: message.Parked, Attempt: 2, Task: 1, Note: "resolved by jo: asked them",
		Move: message.Move{To: message.Cancelled, Reason: message.ReasonResolved},
	})
	if step := after.Timeline[len(after.Timeline)-1]; step.Reason != "resolved by jo: asked them" || after.Reason != message.ReasonResolved {
		t.Errorf("the timeline says %q, the record %q", step.Reason, after.Reason)
	}
}

// TestDecisionsShareNothing: two decisions on the same record do not disturb each other.
func TestDecisionsShareNothing(t *testing.T) {
	t.Parallel()
	r := in(message.Submitted)
	r.WAMID, r.Others = "a", append(make([]string, 0, 8), "b")
	r.Timeline = append(make([]message.Step, 0, 8), r.Timeline...)
	report := func(to message.State, w string) record.Record {
		after, _ := decide(t, r, record.Input{Kind: record.Status, At: t0.Add(time.Minute), Move: message.Move{To: to, WAMID: w}})
		return after
	}
	one, other := report(message.Sent, "c"), report(message.Delivered, "d")
	if one.Others[1] != "c" || other.Others[1] != "d" || one.Timeline[2].State != message.Sent || other.Timeline[2].State != message.Delivered {
		t.Errorf("%q, %v and %q, %v", one.Others, one.Timeline, other.Others, other.Timeline)
	}
}

func TestTimelineKeepsTheLast(t *testing.T) {
	t.Parallel()
	r := fresh()
	for i := 1; i <= 30; i++ {
		at := t0.Add(time.Duration(i) * time.Second)
		r, _ = r.Begin(0, "w/1", at)
		if len(r.Timeline) > record.MaxSteps {
			t.Fatalf("%d steps", len(r.Timeline))
		}
		before := r
		r, _ = decide(t, r, record.Input{Kind: record.Outcome, At: at, Attempt: i, Token: "w/1", Move: message.Move{To: message.Queued}})
		if last := before.Timeline[len(before.Timeline)-1]; last.State != message.Attempting || last.Attempt != i {
			t.Fatalf("the record before has changed: %+v", last)
		}
	}
	if n := len(r.Timeline); n != record.MaxSteps || r.Timeline[0].Attempt != 21 || r.Timeline[n-1].Attempt != 30 || r.Attempt != 30 {
		t.Errorf("%d steps from attempt %d", n, r.Timeline[0].Attempt)
	}
}

// TestNoRecord: nothing can happen to a message that there is no record of.
func TestNoRecord(t *testing.T) {
	t.Parallel()
	var none record.Record
	for _, kind := range []record.Kind{record.Outcome, record.Seen, record.Status} {
		for _, to := range message.States() {
			after, d := decide(t, none, record.Input{Kind: kind, At: t0, Move: message.Move{To: to, WAMID: wamid}})
			if after.Exists() || d.Applied || d.Repeated || after.WAMID != "" {
				t.Errorf("kind %d to %s: %+v", kind, to, d)
			}
		}
	}
	if after, begin := none.Begin(0, "", t0); begin.Verdict != message.Done || after.Exists() {
		t.Errorf("begin: %+v", begin)
	}
	for _, move := range []*message.Move{nil, {To: message.Submitted}} {
		if after, _, d := none.Restore(message.RememberedAttempt{ID: messageID, N: 1, Token: "w/1", Move: move}, t0); after.Exists() || d.Applied {
			t.Errorf("restore: %+v", after)
		}
	}
}

// TestAnotherIncarnation: nothing that is known to be about an earlier record of the same id
// changes this one.
func TestAnotherIncarnation(t *testing.T) {
	t.Parallel()
	for name, r := range all() {
		for _, input := range []record.Input{
			{Kind: record.Outcome, Attempt: 2, Token: "w/2", Move: message.Move{To: message.Submitted, WAMID: wamid}},
			{Kind: record.Seen, Attempt: 2, Task: 1, From: r.State, Move: message.Move{To: message.Cancelled}},
			{Kind: record.Status, Attempt: 2, Move: message.Move{To: message.Played, WAMID: wamid}},
		} {
			input.At, input.Incarnation = t0.Add(time.Minute), r.Incarnation()-1
			if after, d := decide(t, r, input); d.Applied || after.WAMID != "" {
				t.Errorf("%s, kind %d: %+v", name, input.Kind, d)
			}
			input.Incarnation = r.Incarnation()
			if _, d := decide(t, r, input); !d.Applied && input.Kind == record.Seen {
				t.Errorf("%s, kind %d: not applied to its own record", name, input.Kind)
			}
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	r := in(message.Attempting)
	r.NextAt = t0.Add(time.Minute)
	want := message.Open{
		ID: messageID, Message: r.Context, State: message.Attempting, N: 2, K: 1, Accepted: r.Incarnation(), Worker: "w", Began: t0.Add(time.Second), Since: t0.Add(time.Second),
		ExpiresAt: r.ExpiresAt, NextAt: r.NextAt, Resent: 1, Failures: 1,
	}
	if got := r.Open(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if r = in(message.Parked); r.Worker() != "" || r.Open().Reason != "before" {
		t.Errorf("%+v", r.Open())
	}
}

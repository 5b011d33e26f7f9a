package record_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// TestSecondIDs: what Meta calls a message is noted whatever else happens, and a second id proves
// a duplicate.
func TestSecondIDs(t *testing.T) {
	t.Parallel()
	r := in(message.Submitted)
	report := func(w string, to message.State) record.Decision {
		t.Helper()
		var d record.Decision
		r, d = decide(t, r, record.Input{Kind: record.Status, At: t0.Add(time.Minute), Attempt: 1, Move: message.Move{To: to, WAMID: w}})
		return d
	}
	if d := report("", message.Sent); d.Duplicate || r.WAMID != "" || d.Changes[0].WAMID != "" {
		t.Errorf("no id: %+v", d)
	}
	if d := report("a", message.Sent); d.Duplicate || d.Applied || r.WAMID != "a" || len(d.Changes) > 0 {
		t.Errorf("the first id: %+v", d)
	}
	if d := report("b", message.Sent); !d.Duplicate || d.Applied || !d.Repeated || r.WAMID != "a" || !slices.Equal(r.Others, []string{"b"}) || r.Duplicates != 1 ||
		!reflect.DeepEqual(d.Changes, []record.Change{{Change: message.Change{To: message.Sent, Attempt: 1, WAMID: "b", Reason: message.ReasonDuplicate}}}) {
		t.Errorf("a second id: %+v", d)
	}
	if d := report("c", message.Delivered); !d.Duplicate || !d.Applied || r.Duplicates != 2 || !reflect.DeepEqual(d.Changes, []record.Change{
		{Change: message.Change{To: message.Sent, Attempt: 1, WAMID: "c", Reason: message.ReasonDuplicate}},
		{Change: message.Change{To: message.Delivered, Attempt: 1, WAMID: "c"}, Final: d.Changes[1].Final},
	}) {
		t.Errorf("a third id with news: %+v", d)
	}
	for _, w := range []string{"a", "b", "c"} {
		if d := report(w, message.Delivered); d.Duplicate || r.Duplicates != 2 {
			t.Errorf("%s again: %+v", w, d)
		}
	}
	if d := report("", message.Read); !d.Applied || d.Changes[0].WAMID != "a" {
		t.Errorf("news without an id: %+v", d)
	}
	for i := range 2 * record.MaxOthers {
		report(fmt.Sprint("more ", i), message.Read)
	}
	if len(r.Others) != record.MaxOthers || r.Duplicates != 2+2*record.MaxOthers || len(r.WAMIDs()) != record.MaxOthers+1 {
		t.Errorf("%d others, %d duplicates", len(r.Others), r.Duplicates)
	}
}

// TestRefusedLater: after a failure that requires a correction first, the message is dead and keeps its content. Later
// statuses of that attempt do not concern later attempts.
func TestRefusedLater(t *testing.T) {
	t.Parallel()
	report := func(r record.Record, to message.State, wamid string, attempt int) (record.Record, record.Decision) {
		t.Helper()
		m := message.Move{To: to, WAMID: wamid, Code: 131042}
		if to == message.Failed {
			m = r.Failure(m, attempt, true)
		}
		return decide(t, r, record.Input{Kind: record.Status, At: t0.Add(time.Minute), Attempt: attempt, Move: m})
	}
	for name, r := range all() {
		after, d := report(r, message.Failed, "a", 2)
		want := message.Failed
		if r.Payload != "" {
			want = message.Dead
		}
		if d.Applied && (after.State != want || (after.Payload != "") != (want == message.Dead)) {
			t.Errorf("%s: %s with the content %q", name, after.State, after.Payload)
		}
	}
	r := in(message.Submitted)
	r.WAMID = "a"
	r, d := report(r, message.Failed, "a", 2)
	if r.State != message.Dead || r.Reason != message.ReasonReported || r.Code != 131042 || r.Payload == "" || r.Recipient == "" || r.ListEntry().List != message.ListDead {
		t.Fatalf("%+v", r)
	}
	if _, d = report(r, message.Sent, "a", 2); d.Applied {
		t.Error("dead, and reported sent")
	}
	if after, d := report(r, message.Delivered, "a", 2); !d.Applied || after.Payload != "" {
		t.Errorf("delivered after all: %+v", after)
	}
	r, _ = decide(t, r, record.Input{Kind: record.Seen, At: t0.Add(time.Minute), From: message.Dead, Attempt: 2, Task: 1, Move: message.Move{To: message.Queued}})
	for _, to := range []message.State{message.Sent, message.Failed} {
		for _, attempt := range []int{0, 2} {
			if _, d := report(r, to, "a", attempt); d.Applied {
				t.Errorf("queued again, and reported %s of attempt %d", to, attempt)
			}
		}
	}
	r, b := r.Begin(2, "w/3", t0.Add(2*time.Minute))
	if b.Verdict != message.Go {
		t.Fatalf("%+v", b)
	}
	r, d = decide(t, r, record.Input{Kind: record.Outcome, At: t0.Add(2 * time.Minute), Attempt: 3, Token: "w/3", Move: message.Move{To: message.Submitted, WAMID: "b"}})
	if d.Duplicate || r.WAMID != "b" || r.Duplicates != 0 || !slices.Equal(r.WAMIDs(), []string{"a", "b"}) {
		t.Errorf("sent again: %+v", r)
	}
	if r, d = report(r, message.Failed, "a", 2); d.Applied || r.WAMID != "b" || r.Duplicates != 0 {
		t.Errorf("the first failure once more: %+v", r)
	}
	again, err := record.Decode(r.ID, string(r.Encode()))
	if err != nil || !slices.Equal(again.Refused, []string{"a"}) {
		t.Errorf("stored: %+v, %v", again, err)
	}
	if r, d = report(r, message.Sent, "b", 3); !d.Applied || r.Payload != "" {
		t.Errorf("sent: %+v", r)
	}
}

// TestFailedKeepsContent: a message that failed can be sent again only if no other attempt may have been delivered.
func TestFailedKeepsContent(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		record  record.Record
		attempt int
		kept    bool
	}{
		"the only attempt":              {with(message.Submitted, 1, wamid), 1, true},
		"an attempt it does not name":   {with(message.Submitted, 1, wamid), 0, true},
		"one of two it does not name":   {with(message.Submitted, 2, wamid), 0, false},
		"the second of two":             {with(message.Submitted, 2, wamid), 2, true},
		"one of two that Meta accepted": {with(message.Submitted, 2, "another"), 2, false},
		"after a status of success":     {with(message.Sent, 1, wamid), 1, false},
	} {
		for _, correct := range []bool{false, true} {
			m := tt.record.Failure(message.Move{WAMID: wamid, Code: 131042}, tt.attempt, correct)
			after, d := decide(t, tt.record, record.Input{Kind: record.Status, At: t0.Add(time.Minute), Attempt: tt.attempt, Move: m})
			want := message.Failed
			if correct && tt.kept {
				want = message.Dead
			}
			if !d.Applied || after.State != want || (after.Payload != "") != tt.kept || slices.Contains(after.Refused, wamid) != tt.kept {
				t.Errorf("%s, to correct: %t: %s, payload %q, refused %q", name, correct, after.State, after.Payload, after.Refused)
			}
		}
	}
}

// with is a record in a state, at an attempt, that has an id of Meta's.
func with(s message.State, attempt int, wamid string) record.Record {
	r := in(s)
	r.Attempt, r.WAMID = attempt, wamid
	return r
}

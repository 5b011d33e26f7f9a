package ledger_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/redistest"
)

// metaTime is when Meta says that something happened.
var metaTime = time.UnixMilli(1750030073000).UTC()

// evidence is a receipt with a genuine marker of attempt n of message id, or without one
// when id is empty.
func evidence(id string, n int, wamid, status string) message.Evidence {
	return message.Evidence{ID: id, Attempt: n, Receipt: message.Receipt{Number: number, WAMID: wamid, Status: status, At: metaTime}}
}

func (f fixture) fold(all ...message.Evidence) []message.Folded {
	f.t.Helper()
	folded, err := f.Fold(f.t.Context(), f.shard, all, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if len(folded) != len(all) {
		f.t.Fatalf("%d answers to %d pieces of evidence", len(folded), len(all))
	}
	return folded
}

func (f fixture) wantFolded(want message.Folded, e message.Evidence) {
	f.t.Helper()
	if got := f.fold(e)[0]; got != want {
		f.t.Errorf("%s (attempt %d, %s): %s, want %s", e.Status, e.Attempt, e.WAMID, got, want)
	}
}

// returned takes the receipts that went through the stream once more, and their removal from
// it makes the next call return only newer ones.
func (f fixture) returned() []message.Evidence {
	f.t.Helper()
	var all []message.Evidence
	for _, e := range f.events() {
		if e.Type == message.EventStatus {
			all = append(all, message.Evidence{Receipt: *e.Receipt})
		}
	}
	if err := f.db.Del(f.t.Context(), f.shard.MetaEventsKey()).Err(); err != nil {
		f.t.Fatal(err)
	}
	return all
}

// orders returns every order of every non-empty selection of all.
func orders[T any](all []T) (found [][]T) {
	for i, first := range all {
		rest := slices.Delete(slices.Clone(all), i, i+1)
		found = append(found, []T{first})
		for _, o := range orders(rest) {
			found = append(found, append([]T{first}, o...))
		}
	}
	return found
}

// TestFoldInAnyOrder folds every order of every selection of statuses, before begin, between
// begin and finish, and after, with our marker and without, each twice: a message ends in
// the highest state that anybody told of. Only after delivered does it take our marker.
func TestFoldInAnyOrder(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for _, marked := range []bool{true, false} {
			for _, moment := range []string{"before begin", "before finish", "after finish"} {
				for _, order := range orders([]string{"sent", "delivered", "read", "failed"}) {
					name := fmt.Sprintf("%s, marked %t, %v", moment, marked, order)
					f.foldOrder(t, name, moment, marked, order)
				}
			}
		}
		if got := f.backlog(); got != (ledger.Backlog{}) {
			t.Errorf("left in the indexes: %+v", got)
		}
	})
}

func (f fixture) foldOrder(t *testing.T, name, moment string, marked bool, order []string) {
	id, wamid := f.accepted(name), "wamid."+name
	want := message.Submitted
	var all []message.Evidence
	for _, status := range order {
		e := evidence(id, 1, wamid, status)
		if !marked {
			e.ID, e.Attempt = "", 0
		}
		all = append(all, e)
		known := marked || moment != "after finish" || want.Rank("") < message.Delivered.Rank("")
		if st, _ := e.State(); known && st.Rank("") > want.Rank("") {
			want = st
		}
	}
	tell := func(now string) {
		if now != moment {
			return
		}
		for _, e := range all {
			f.fold(e)
		}
		again := slices.Clone(all)
		slices.Reverse(again)
		f.fold(slices.Concat(all, again)...)
	}
	tell("before begin")
	a := f.begun(id, 0, "w/1")
	tell("before finish")
	if a.Verdict == message.Go {
		f.finished(a, message.Move{To: message.Submitted, WAMID: wamid})
	}
	tell("after finish")
	back := f.returned()
	f.fold(back...)
	if again := f.returned(); len(again) > 0 {
		t.Errorf("%s: receipts went round twice: %v", name, again)
	}
	if !marked && moment != "after finish" && len(back) != len(order) {
		t.Errorf("%s: %d of %d receipts came back", name, len(back), len(order))
	}

	r := f.get(id)
	if r.State != want || r.WAMID != wamid || r.Duplicates != 0 {
		t.Errorf("%s: state %s, wamid %q, duplicates %d; want %s", name, r.State, r.WAMID, r.Duplicates, want)
	}
	for i, s := range r.Timeline[1:] {
		if s.State.Rank("") <= r.Timeline[i].State.Rank("") {
			t.Errorf("%s: %s after %s", name, s.State, r.Timeline[i].State)
		}
	}
	if f.hasPayload(id) {
		t.Errorf("%s: payload kept", name)
	}
}

func TestFoldAnswers(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.wantFolded(message.Applied, evidence(a.ID, 1, "wamid.1", "delivered"))
		f.wantFolded(message.Repeated, evidence(a.ID, 1, "wamid.1", "delivered"))
		f.wantFolded(message.Lower, evidence(a.ID, 1, "wamid.1", "sent"))
		f.wantFolded(message.Orphan, evidence("", 0, "wamid.1", "failed"))
		f.wantFolded(message.UnknownStatus, evidence(a.ID, 1, "wamid.1", "teleported"))
		f.wantFolded(message.UnknownStatus, evidence("", 0, "wamid.2", "deleted"))
		f.wantFolded(message.NoRecord, evidence(message.NewID(number, "gone"), 1, "wamid.3", "sent"))
		f.wantFolded(message.NoRecord, evidence("no id", 1, "wamid.3", "sent"))
		f.wantFolded(message.Orphan, evidence("", 0, "wamid.3", "sent"))
		if got := f.fold(); len(got) != 0 {
			t.Errorf("no evidence: %v", got)
		}
		mixed := f.fold(
			evidence(a.ID, 1, "wamid.1", "read"), evidence(a.ID, 1, "wamid.1", "teleported"),
			evidence("", 0, "wamid.4", "sent"), evidence(a.ID, 1, "wamid.1", "read"),
		)
		if want := []message.Folded{message.Applied, message.UnknownStatus, message.Orphan, message.Repeated}; !slices.Equal(mixed, want) {
			t.Errorf("in one batch: %v, want %v", mixed, want)
		}
		f.wantChanges(a.ID, "queued 0  0 ", "delivered 1 wamid.1 0 ", "read 1 wamid.1 0 ")
		f.wantLife("m:"+a.ID, 24*time.Hour)
	})
}

// TestEvidenceLifts: Meta knows better than whatever we had concluded.
func TestEvidenceLifts(t *testing.T) {
	t.Parallel()
	ends := map[string]func(f fixture, id string) message.State{
		"queued": func(f fixture, id string) message.State { return message.Queued },
		"expired": func(f fixture, id string) message.State {
			return f.swept(message.Open{ID: id, State: message.Queued}, message.Move{To: message.Expired})
		},
		"cancelled": func(f fixture, id string) message.State {
			return f.swept(message.Open{ID: id, State: message.Queued}, message.Move{To: message.Cancelled})
		},
		"rejected": func(f fixture, id string) message.State {
			return f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.Rejected, Code: 131026})
		},
		"dead": func(f fixture, id string) message.State {
			return f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.Dead, Keep: true})
		},
		"in doubt": func(f fixture, id string) message.State {
			return f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.InDoubt, In: time.Minute})
		},
		"parked": func(f fixture, id string) message.State {
			f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.InDoubt})
			return f.swept(message.Open{ID: id, State: message.InDoubt, N: 1}, message.Move{To: message.Parked})
		},
		"closed": func(f fixture, id string) message.State {
			f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.InDoubt})
			return f.swept(message.Open{ID: id, State: message.InDoubt, N: 1}, message.Move{To: message.Failed, Reason: message.ReasonUndetermined})
		},
	}
	on(t, func(t *testing.T, f fixture) {
		for name, end := range ends {
			for _, status := range []string{"sent", "delivered", "failed"} {
				id := f.accepted(name + status)
				f.wantState(id, end(f, id))
				e := evidence(id, 1, "wamid."+id, status)
				e.Code = 131049
				if got := f.fold(e)[0]; got != message.Applied {
					t.Errorf("%s, then %s: %s", name, status, got)
				}
				to, _ := e.State()
				if r := f.get(id); r.State != to || r.Code != 131049 || r.Reason != "" || !r.NextAt.IsZero() || f.hasPayload(id) {
					t.Errorf("%s, then %s: %+v", name, status, r)
				}
			}
		}
		if got := f.backlog(); got != (ledger.Backlog{}) {
			t.Errorf("left in the indexes: %+v", got)
		}
	})
}

// TestAcceptedAfterTheEnd: an answer that comes late is as good as evidence.
func TestAcceptedAfterTheEnd(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.swept(message.Open{ID: a.ID, State: message.Attempting, N: 1}, message.Move{To: message.InDoubt})
		f.swept(message.Open{ID: a.ID, State: message.InDoubt, N: 1}, message.Move{To: message.Failed, Reason: message.ReasonUndetermined})
		if st := f.finished(a, message.Move{To: message.Rejected}); st != message.Failed {
			t.Errorf("a late refusal: %s", st)
		}
		if st := f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"}); st != message.Submitted {
			t.Errorf("a late acceptance: %s", st)
		}
	})
}

func TestFailedOfAnOlderAttempt(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.finished(a, message.Move{To: message.Queued, Counts: true})
		second := f.begun(a.ID, 0, "w/2")
		if second.N != 2 {
			t.Fatalf("attempt %d", second.N)
		}
		f.wantFolded(message.Lower, evidence(a.ID, 1, "wamid.1", "failed"))
		f.wantState(a.ID, message.Attempting)
		f.finished(second, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		f.wantFolded(message.Lower, evidence(a.ID, 1, "wamid.1", "failed"))
		f.wantState(a.ID, message.Submitted)
		f.wantFolded(message.Applied, evidence(a.ID, 2, "wamid.1", "failed"))
		f.wantState(a.ID, message.Failed)
	})
}

// TestDeliveredOfAnOlderAttempt: it has arrived, whichever attempt it was.
func TestDeliveredOfAnOlderAttempt(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.finished(a, message.Move{To: message.Queued})
		f.wantFolded(message.Applied, evidence(a.ID, 1, "wamid.1", "delivered"))
		if got := f.begun(a.ID, 0, "w/2").Verdict; got != message.Done {
			t.Errorf("begin: %s", got)
		}
	})
}

// TestDuplicate: each further name that Meta gives a message is one proven duplicate, told
// once.
func TestDuplicate(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		f.wantFolded(message.Applied, evidence(a.ID, 1, "wamid.1", "sent"))
		f.wantFolded(message.Duplicate, evidence(a.ID, 2, "wamid.234", "delivered"))
		f.wantState(a.ID, message.Delivered) // told of a duplicate, and folded too
		f.wantFolded(message.Repeated, evidence(a.ID, 2, "wamid.234", "delivered"))
		f.wantFolded(message.Lower, evidence(a.ID, 2, "wamid.234", "sent"))
		f.wantFolded(message.Repeated, evidence(a.ID, 1, "wamid.1", "delivered"))
		f.wantFolded(message.Duplicate, evidence(a.ID, 3, "wamid.23", "sent")) // not the same as 234
		f.wantFolded(message.Duplicate, evidence(a.ID, 3, "wamid.34", "sent"))
		f.wantFolded(message.Lower, evidence(a.ID, 3, "wamid.23", "sent"))
		if r := f.get(a.ID); r.Duplicates != 3 || r.WAMID != "wamid.1" {
			t.Errorf("%d duplicates, wamid %s", r.Duplicates, r.WAMID)
		}
		var told []string
		for _, e := range f.events() {
			if e.State != nil && e.State.Reason == message.ReasonDuplicate {
				told = append(told, e.State.WAMID)
			}
		}
		if want := []string{"wamid.234", "wamid.23", "wamid.34"}; !slices.Equal(told, want) {
			t.Errorf("events tell of %v, want %v", told, want)
		}
	})
}

func TestDuplicateSeenByFinish(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.fold(evidence(a.ID, 1, "wamid.1", "sent"))
		for i, want := range []bool{true, false} {
			st, duplicate, err := f.Finish(t.Context(), a, message.Move{To: message.Submitted, WAMID: "wamid.2"})
			if err != nil || st != message.Sent || duplicate != want {
				t.Errorf("finish %d: %s, %t, %v", i, st, duplicate, err)
			}
		}
	})
}

// TestOrphans: a receipt without a marker, before anybody knew its wamid, comes back through
// the stream as soon as somebody does.
func TestOrphans(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		e := evidence("", 0, "wamid.1", "failed")
		e.Code, e.Marker = 131049, "of another system"
		timeless := evidence("", 0, "wamid.1", "sent")
		timeless.At = time.Time{}
		f.wantFolded(message.Orphan, e)
		f.wantFolded(message.Orphan, e)
		f.wantFolded(message.Orphan, timeless)
		f.wantLife("o:wamid.1", 24*time.Hour)
		if got := f.events(); len(got) != 1 {
			t.Fatalf("%d events before anybody knows the wamid", len(got))
		}

		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		var back []message.Event
		for _, got := range f.events() {
			if got.Type == message.EventStatus {
				back = append(back, got)
			}
		}
		want := []message.Event{
			{Version: 1, Type: message.EventStatus, At: metaTime.UnixMilli(), Number: number, Receipt: &e.Receipt},
			{Version: 1, Type: message.EventStatus, Number: number, Receipt: &timeless.Receipt},
		}
		if !reflect.DeepEqual(back, want) {
			t.Errorf("came back: %+v\nwant %+v", back, want)
		}
		if n := f.db.Exists(t.Context(), f.shard.Key("o:wamid.1")).Val(); n != 0 {
			t.Error("the orphans are still there")
		}
		f.wantFolded(message.Applied, e)
		f.wantState(a.ID, message.Failed)
	})
}

// TestOrphanInTheBatchThatNamesIt: the marked receipt behind it tells whose it is.
func TestOrphanInTheBatchThatNamesIt(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		got := f.fold(evidence("", 0, "wamid.1", "read"), evidence(a.ID, 1, "wamid.1", "sent"))
		if want := []message.Folded{message.Orphan, message.Applied}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		f.fold(f.returned()...)
		f.wantState(a.ID, message.Read)
	})
}

// TestWamidUntilDelivered: a receipt by wamid finds its record until that says delivered, and
// the index holds nothing longer.
func TestWamidUntilDelivered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	a := f.attempting("k1")
	f.finished(a, message.Move{To: message.Queued})
	second := f.begun(a.ID, 0, "w/2")
	f.finished(second, message.Move{To: message.Submitted, WAMID: "wamid.1"})
	f.wantLife("w:wamid.1", 31*24*time.Hour)
	f.wantFolded(message.Lower, evidence(a.ID, 1, "wamid.1", "failed"))
	f.wantLife("m:"+a.ID, 31*24*time.Hour)
	f.wantLife("w:wamid.1", 31*24*time.Hour)
	f.wantFolded(message.Applied, evidence(a.ID, 2, "wamid.1", "delivered"))
	f.wantFolded(message.Lower, evidence(a.ID, 2, "wamid.1", "sent"))
	f.wantLife("m:"+a.ID, 24*time.Hour)
	if n := f.db.Exists(t.Context(), f.shard.Key("w:wamid.1")).Val(); n != 0 {
		t.Error("the index of a delivered message is kept")
	}
}

package ledger_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/store"
)

// metaTime is when Meta says that something happened.
var metaTime = time.UnixMilli(1750030073000).UTC()

// report is a status with a valid marker of attempt n of message id, or without a marker when id is empty.
func report(id string, n int, wamid, status string) message.MarkedReport {
	return message.MarkedReport{ID: id, Attempt: n, StatusReport: message.StatusReport{Number: number, WAMID: wamid, Status: status, At: metaTime}}
}

func (f fixture) apply(all ...message.MarkedReport) []message.ApplyResult {
	f.t.Helper()
	results, err := f.Apply(f.t.Context(), f.shard, all, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if len(results) != len(all) {
		f.t.Fatalf("%d results for %d statuses", len(results), len(all))
	}
	return results
}

func (f fixture) wantResult(want message.ApplyResult, e message.MarkedReport) {
	f.t.Helper()
	if got := f.apply(e)[0]; got != want {
		f.t.Errorf("%s (attempt %d, %s): %s, want %s", e.Status, e.Attempt, e.WAMID, got, want)
	}
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

// TestStatusesInAnyOrder applies every order of every selection of statuses, before begin, between begin and finish,
// and after, with our marker and without, each twice: the message ends in the highest reported state. Only after its end
// is a marker needed.
func TestStatusesInAnyOrder(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for _, marked := range []bool{true, false} {
			for _, moment := range []string{"before begin", "before finish", "after finish"} {
				for _, order := range orders([]string{"sent", "delivered", "read", "failed"}) {
					name := fmt.Sprintf("%s, marked %t, %v", moment, marked, order)
					f.applyOrder(t, name, moment, marked, order)
				}
			}
		}
		if got := f.backlog(); got != (ledger.Backlog{}) {
			t.Errorf("left in the indexes: %+v", got)
		}
	})
}

func (f fixture) applyOrder(t *testing.T, name, moment string, marked bool, order []string) {
	id, wamid := f.accepted(name), "wamid."+name
	want := message.Submitted
	var all []message.MarkedReport
	for _, status := range order {
		e := report(id, 1, wamid, status)
		if !marked {
			e.ID, e.Attempt = "", 0
		}
		all = append(all, e)
		if st, _ := e.State(); st.Rank("") > want.Rank("") {
			want = st
		}
	}
	tell := func(now string) {
		if now != moment {
			return
		}
		for _, e := range all {
			f.apply(e)
		}
		again := slices.Clone(all)
		slices.Reverse(again)
		f.apply(slices.Concat(all, again)...)
	}
	tell("before begin")
	a := f.begun(id, 0, "w/1")
	tell("before finish")
	if a.Verdict == message.Go {
		f.finished(a, message.Move{To: message.Submitted, WAMID: wamid})
	}
	tell("after finish")
	if waiting, want := f.waiting(), int64(len(order)); !marked && moment != "after finish" && waiting != want {
		t.Errorf("%s: %d reports wait, want %d", name, waiting, want)
	}
	f.appliedUnmatched()
	if again := f.appliedUnmatched(); again > 0 {
		t.Errorf("%s: %d reports were applied twice", name, again)
	}
	f.db.Del(t.Context(), store.Key(f.shard, "orphans"), store.Key(f.shard, "orphans:since")) // those of ended messages

	r := f.get(id)
	if r.State != want || r.WAMID != wamid || r.Duplicates != 0 {
		t.Errorf("%s: state %s, wamid %q, duplicates %d; want %s", name, r.State, r.WAMID, r.Duplicates, want)
	}
	for i, s := range r.Timeline[1:] {
		if s.State.Rank("") <= r.Timeline[i].State.Rank("") {
			t.Errorf("%s: %s after %s", name, s.State, r.Timeline[i].State)
		}
	}
	// A message that failed, and that Meta reported no success of before, may be sent again.
	if kept, failed := f.hasPayload(id), r.State == message.Failed; kept && !failed || !kept && failed && order[0] == "failed" {
		t.Errorf("%s: payload kept: %t", name, kept)
	}
}

func TestApplyResults(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.wantResult(message.Applied, report(a.ID, 1, "wamid.1", "delivered"))
		f.wantResult(message.Repeated, report(a.ID, 1, "wamid.1", "delivered"))
		f.wantResult(message.Outdated, report(a.ID, 1, "wamid.1", "sent"))
		f.wantResult(message.Outdated, report("", 0, "wamid.1", "failed"))
		f.wantResult(message.UnknownStatus, report(a.ID, 1, "wamid.1", "teleported"))
		f.wantResult(message.UnknownStatus, report("", 0, "wamid.2", "deleted"))
		f.wantResult(message.NoRecord, report(message.NewID(number, "gone"), 1, "wamid.3", "sent"))
		f.wantResult(message.NoRecord, report("no id", 1, "wamid.3", "sent"))
		f.wantResult(message.Unmatched, report("", 0, "wamid.3", "sent"))
		if got := f.apply(); len(got) != 0 {
			t.Errorf("no statuses: %v", got)
		}
		mixed := f.apply(
			report(a.ID, 1, "wamid.1", "read"), report(a.ID, 1, "wamid.1", "teleported"),
			report("", 0, "wamid.4", "sent"), report(a.ID, 1, "wamid.1", "read"),
		)
		if want := []message.ApplyResult{message.Applied, message.UnknownStatus, message.Unmatched, message.Repeated}; !slices.Equal(mixed, want) {
			t.Errorf("in one batch: %v, want %v", mixed, want)
		}
		f.wantChanges(a.ID, "queued 0  0 ", "delivered 1 wamid.1 0 ", "read 1 wamid.1 0 ")
		f.wantLife(a.ID, day)

		said := message.ErrorDetail{Message: "(#131026) Undeliverable", Details: "said Meta", Subcode: 7, Trace: "Az8"}
		failed := report(f.attempting("k2").ID, 1, "wamid.5", "failed")
		failed.Code, failed.Detail = 131026, said
		f.wantResult(message.Applied, failed)
		if r := f.get(failed.ID); r.Code != 131026 || r.Detail != said {
			t.Errorf("a failure, of which Meta said %+v: the record has %d, %+v", said, r.Code, r.Detail)
		}
	})
}

// TestStatusRaisesTheState: a status from Meta overrides every earlier conclusion.
func TestStatusRaisesTheState(t *testing.T) {
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
				kept := status == "failed" && f.hasPayload(id) // so that it can be sent again
				e := report(id, 1, "wamid."+id, status)
				e.Code = 131049
				if got := f.apply(e)[0]; got != message.Applied {
					t.Errorf("%s, then %s: %s", name, status, got)
				}
				to, _ := e.State()
				if r := f.get(id); r.State != to || r.Code != 131049 || r.Reason != "" || !r.NextAt.IsZero() || f.hasPayload(id) != kept {
					t.Errorf("%s, then %s: %+v", name, status, r)
				}
			}
		}
		if got := f.backlog(); got != (ledger.Backlog{}) {
			t.Errorf("left in the indexes: %+v", got)
		}
	})
}

// TestAcceptedAfterTheEnd: a late answer proves as much as a status.
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
		f.wantResult(message.Outdated, report(a.ID, 1, "wamid.1", "failed"))
		f.wantState(a.ID, message.Attempting)
		f.finished(second, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		f.wantResult(message.Outdated, report(a.ID, 1, "wamid.1", "failed"))
		f.wantState(a.ID, message.Submitted)
		f.wantResult(message.Applied, report(a.ID, 2, "wamid.1", "failed"))
		f.wantState(a.ID, message.Failed)
	})
}

// TestDeliveredOfAnOlderAttempt: it has arrived, whichever attempt it was.
func TestDeliveredOfAnOlderAttempt(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.finished(a, message.Move{To: message.Queued})
		f.wantResult(message.Applied, report(a.ID, 1, "wamid.1", "delivered"))
		if got := f.begun(a.ID, 0, "w/2").Verdict; got != message.Done {
			t.Errorf("begin: %s", got)
		}
	})
}

// TestDuplicate: each further id that Meta gives a message is one proven duplicate, reported once.
func TestDuplicate(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		f.wantResult(message.Applied, report(a.ID, 1, "wamid.1", "sent"))
		f.wantResult(message.Duplicate, report(a.ID, 2, "wamid.234", "delivered"))
		f.wantState(a.ID, message.Delivered) // both the duplicate and the state are applied
		f.wantResult(message.Repeated, report(a.ID, 2, "wamid.234", "delivered"))
		f.wantResult(message.Outdated, report(a.ID, 2, "wamid.234", "sent"))
		f.wantResult(message.Repeated, report(a.ID, 1, "wamid.1", "delivered"))
		f.wantResult(message.Duplicate, report(a.ID, 3, "wamid.23", "sent")) // not the same as 234
		f.wantResult(message.Duplicate, report(a.ID, 3, "wamid.34", "sent"))
		f.wantResult(message.Outdated, report(a.ID, 3, "wamid.23", "sent"))
		if r := f.get(a.ID); r.Duplicates != 3 || r.WAMID != "wamid.1" {
			t.Errorf("%d duplicates, wamid %s", r.Duplicates, r.WAMID)
		}
		var reported []string
		for _, e := range f.events() {
			if e.State != nil && e.State.Reason == message.ReasonDuplicate {
				reported = append(reported, e.State.WAMID)
			}
		}
		if want := []string{"wamid.234", "wamid.23", "wamid.34"}; !slices.Equal(reported, want) {
			t.Errorf("events report %v, want %v", reported, want)
		}
	})
}

func TestDuplicateSeenByFinish(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.apply(report(a.ID, 1, "wamid.1", "sent"))
		for i, want := range []bool{true, false} {
			st, duplicate, err := f.Finish(t.Context(), a, message.Move{To: message.Submitted, WAMID: "wamid.2"})
			if err != nil || st != message.Sent || duplicate != want {
				t.Errorf("finish %d: %s, %t, %v", i, st, duplicate, err)
			}
		}
	})
}

// TestWamidUntilRead: a report by wamid finds its record until that says read, and the index holds
// nothing longer.
func TestWamidUntilRead(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.finished(a, message.Move{To: message.Queued})
		second := f.begun(a.ID, 0, "w/2")
		f.finished(second, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		f.wantLife(a.ID, month)
		f.wantResult(message.Outdated, report(a.ID, 1, "wamid.1", "failed"))
		f.wantLife(a.ID, month)
		f.wantResult(message.Applied, report("", 0, "wamid.1", "sent"))
		f.wantResult(message.Duplicate, report(a.ID, 1, "wamid.2", "sent"))
		f.wantResult(message.Repeated, report("", 0, "wamid.2", "sent"))
		f.wantLife(a.ID, month)
		f.wantResult(message.Applied, report("", 0, "wamid.2", "delivered"))
		f.wantResult(message.Outdated, report(a.ID, 2, "wamid.1", "sent"))
		f.wantLife(a.ID, day)
		f.wantResult(message.Applied, report("", 0, "wamid.2", "read"))
		f.wantLife(a.ID, day)
		if keys := f.db.Keys(t.Context(), store.Key(f.shard, "wamids:*")).Val(); len(keys) != 0 {
			t.Errorf("the index of a message that was read is kept: %q", keys)
		}
	})
}

// TestAnotherMessageDoesNotTakeTheID: a report that carries the marker of one message and Meta's id of
// another does not lead the other's reports astray.
func TestAnotherMessageDoesNotTakeTheID(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f.purges(0) // an installation's first
		first, second := f.attempting("first"), f.attempting("second")
		f.finished(first, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		f.wantResult(message.Applied, report(second.ID, 1, "wamid.1", "sent"))
		f.wantResult(message.Applied, report("", 0, "wamid.1", "delivered"))
		f.wantState(first.ID, message.Delivered)
		f.wantState(second.ID, message.Sent)

		// Neither the end of the other message nor of its record takes the id away.
		for _, status := range []string{"read", ""} {
			own := f.attempting("own" + status)
			f.finished(own, message.Move{To: message.Submitted, WAMID: "wamid.own" + status})
			other := f.attempting("other" + status)
			f.wantResult(message.Applied, report(other.ID, 1, "wamid.own"+status, "delivered"))
			if status == "" {
				f.ages(2)
				if _, err := f.Purge(t.Context(), f.shard); err != nil || f.exists(other.ID) {
					t.Fatalf("the record of the other message is still there: %v", err)
				}
			} else {
				f.wantResult(message.Applied, report(other.ID, 1, "wamid.own"+status, status))
			}
			f.wantResult(message.Applied, report("", 0, "wamid.own"+status, "sent"))
			f.wantState(own.ID, message.Sent)
			f.wantResult(message.Applied, report("", 0, "wamid.own"+status, "read"))
			f.wantResult(message.Unmatched, report("", 0, "wamid.own"+status, "played"))
		}

		// An index that leads to a message that does not have the id is not believed.
		third := f.attempting("third")
		sum := sha256.Sum256([]byte("wamid.3"))
		f.db.HSet(t.Context(), store.Key(f.shard, "wamids:"+f.get(third.ID).AcceptedAt.Format(time.DateOnly)), hex.EncodeToString(sum[:8]), third.ID)
		f.wantResult(message.NoRecord, report("", 0, "wamid.3", "read"))
		f.wantState(third.ID, message.Attempting)
	})
}

// A recipient may read a message long after its record was deleted. If its key was used again by then, the status
// must not mark the new message as read: that message would never be sent.
func TestAStatusOfAnEarlierRecord(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		first := f.attempting("key")
		f.finished(first, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		read := report(first.ID, 1, "wamid.1", "read")
		read.Accepted = first.Accepted
		f.db.Del(t.Context(), ledger.RecordPrefix(f.shard)+first.ID)
		time.Sleep(2 * time.Millisecond)
		f.accepted("key")
		f.wantResult(message.NoRecord, read)
		if r := f.get(first.ID); r.State != message.Queued || r.WAMID != "" {
			t.Errorf("the later message is %s, %q", r.State, r.WAMID)
		}
		read.Accepted = 0 // in the marker of an older version
		f.wantResult(message.Applied, read)
	})
}

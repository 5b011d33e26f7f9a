package ledger_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/store"
)

// swept moves an open message on and returns its new state.
func (f fixture) swept(o message.Open, m message.Move) message.State {
	f.t.Helper()
	moved, err := f.Sweep(f.t.Context(), o, m)
	if err != nil || !moved {
		f.t.Fatalf("sweep %s -> %s: %t, %v", o.State, m.To, moved, err)
	}
	return m.To
}

func (f fixture) requeued(o message.Open, m message.Move) {
	f.t.Helper()
	f.moved(o, m)
}

func ids(all []message.Open, err error) []string {
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, o := range all {
		found = append(found, o.ID)
	}
	return found
}

// TestWaiting: what waits for an attempt or its outcome is listed by its deadline.
func TestWaiting(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		var want []string
		for i, key := range []string{"a", "b", "c", "d"} {
			m := newMessage(key)
			m.ExpiresAt = m.ExpiresAt.Add(-time.Duration(i) * time.Minute)
			f.acceptedAs(m)
			want = append([]string{m.ID}, want...)
		}
		f.begun(want[0], 0, "w/1")
		f.finished(f.begun(want[3], 0, "w/2"), message.Move{To: message.InDoubt})
		all, err := f.Waiting(t.Context(), f.shard, 0, 9)
		if got := ids(all, err); !slices.Equal(got, want[:3]) {
			t.Fatalf("%v, want %v", got, want[:3])
		}
		if got := ids(f.Waiting(t.Context(), f.shard, 1, 1)); !slices.Equal(got, want[1:2]) {
			t.Errorf("the second: %v, want %v", got, want[1:2])
		}
		o := all[0]
		if age := time.Since(o.Since); age < -time.Second || age > time.Minute {
			t.Errorf("since %s", o.Since)
		}
		if o.State != message.Attempting || o.N != 1 || o.K != 0 || o.Worker != "w" || o.Message.Class != message.Utility ||
			o.ExpiresAt.Sub(newMessage("d").ExpiresAt).Abs() > 5*time.Minute || o.Resent != 0 || o.Accepted == 0 {
			t.Errorf("%+v", o)
		}
		if o := all[1]; o.State != message.Queued || o.N != 0 || o.Worker != "" {
			t.Errorf("%+v", o)
		}
		other := message.DefaultShards.All()[(int(f.shard)+1)%16]
		if got := ids(f.Waiting(t.Context(), other, 0, 9)); len(got) != 0 {
			t.Errorf("in another shard: %v", got)
		}
		f.db.Del(t.Context(), store.Key(f.shard, "m:"+want[1]))
		if got := ids(f.Waiting(t.Context(), f.shard, 0, 9)); !slices.Equal(got, []string{want[0], "", want[2]}) {
			t.Errorf("with a record that is gone: %v", got)
		}
	})
}

func TestWindowEnded(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		soon, late := f.attempting("soon"), f.attempting("late")
		f.finished(soon, message.Move{To: message.InDoubt, Reason: message.ReasonServerError, In: time.Minute})
		f.finished(late, message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: time.Hour})
		now := time.Now()
		for _, tt := range []struct {
			mark time.Time
			want []string
		}{
			{time.Time{}, nil},
			{now, nil},
			{now.Add(2 * time.Minute), []string{soon.ID}},
			{now.Add(2 * time.Hour), []string{soon.ID, late.ID}},
		} {
			if got := ids(f.WindowEnded(t.Context(), f.shard, tt.mark, 9)); !slices.Equal(got, tt.want) {
				t.Errorf("up to %s: %v, want %v", tt.mark, got, tt.want)
			}
		}
		all, _ := f.WindowEnded(t.Context(), f.shard, now.Add(2*time.Hour), 9)
		if o := all[0]; o.State != message.InDoubt || o.Reason != message.ReasonServerError || o.N != 1 || o.Worker != "" || now.Sub(o.Since).Abs() > time.Minute {
			t.Errorf("%+v", o)
		}
	})
}

func TestOverdue(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		id := f.accepted("k1")
		if got := ids(f.Overdue(t.Context(), f.shard, time.Now(), 9)); len(got) != 0 {
			t.Errorf("before its deadline: %v", got)
		}
		all, err := f.Overdue(t.Context(), f.shard, time.Now().Add(2*time.Hour), 9)
		if got := ids(all, err); !slices.Equal(got, []string{id}) {
			t.Fatalf("after its deadline: %v", got)
		}
		f.swept(all[0], message.Move{To: message.Expired, Reason: message.ReasonDeadline})
		f.wantChanges(id, "queued 0  0 ", "expired 0  0 deadline")
		f.wantLife(id, week)
		if f.hasPayload(id) || f.backlog() != (ledger.Backlog{}) {
			t.Errorf("payload kept %t, backlog %+v", f.hasPayload(id), f.backlog())
		}
	})
}

// TestSweepGuards: nothing is moved on when something happened to it since it was read.
func TestSweepGuards(t *testing.T) {
	t.Parallel()
	inDoubt := func(f fixture, id string) {
		f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.InDoubt})
	}
	asDoubt := func(id string) message.Open { return message.Open{ID: id, State: message.InDoubt, N: 1} }
	tests := map[string]struct {
		meanwhile func(f fixture, id string)
		read      func(id string) message.Open
	}{
		"settled by a status": {func(f fixture, id string) {
			inDoubt(f, id)
			f.apply(report(id, 1, "wamid."+id, "sent"))
		}, asDoubt},
		"settled by the answer": {func(f fixture, id string) {
			a := f.begun(id, 0, "w/1")
			f.swept(message.Open{ID: id, State: message.Attempting, N: 1}, message.Move{To: message.InDoubt})
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid." + id})
		}, asDoubt},
		"settled by another sweeper": {func(f fixture, id string) {
			inDoubt(f, id)
			f.swept(asDoubt(id), message.Move{To: message.Parked})
		}, asDoubt},
		"requeued": {func(f fixture, id string) {
			inDoubt(f, id)
			f.requeued(asDoubt(id), message.Move{To: message.Queued})
		}, asDoubt},
		"in doubt again": {func(f fixture, id string) {
			inDoubt(f, id)
			f.requeued(asDoubt(id), message.Move{To: message.Queued})
			f.finished(f.begun(id, 1, "w/2"), message.Move{To: message.InDoubt})
		}, asDoubt},
		"a later attempt": {func(f fixture, id string) {
			f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.Queued})
			f.begun(id, 0, "w/2")
		}, func(id string) message.Open { return message.Open{ID: id, State: message.Attempting, N: 1} }},
		"begun before its deadline": {func(f fixture, id string) {
			f.begun(id, 0, "w/1")
		}, func(id string) message.Open { return message.Open{ID: id, State: message.Queued} }},
		"gone": {func(f fixture, id string) {
			f.db.Del(context.Background(), store.Key(f.shard, "m:"+id))
		}, asDoubt},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on(t, func(t *testing.T, f fixture) {
				id := f.accepted("k1")
				tt.meanwhile(f, id)
				before, backlog, events := f.db.Get(t.Context(), store.Key(f.shard, "m:"+id)).Val(), f.backlog(), len(f.events())
				for _, m := range []message.Move{
					{To: message.InDoubt, In: time.Minute},
					{To: message.Parked},
					{To: message.Expired},
					{To: message.Failed, Reason: message.ReasonUndetermined},
				} {
					if moved, err := f.Sweep(t.Context(), tt.read(id), m); moved || err != nil {
						t.Errorf("moved to %s: %t, %v", m.To, moved, err)
					}
				}
				f.requeued(tt.read(id), message.Move{To: message.Queued, Resend: true})
				if after := f.db.Get(t.Context(), store.Key(f.shard, "m:"+id)).Val(); after != before {
					t.Errorf("%q, was %q", after, before)
				}
				if f.backlog() != backlog || len(f.events()) != events {
					t.Errorf("backlog %+v, was %+v; %d events, were %d", f.backlog(), backlog, len(f.events()), events)
				}
			})
		})
	}
}

func TestRequeue(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.finished(a, message.Move{To: message.InDoubt, In: time.Millisecond})
		read := func() message.Open {
			t.Helper()
			all, err := f.WindowEnded(t.Context(), f.shard, time.Now().Add(time.Minute), 9)
			if err != nil || len(all) != 1 {
				t.Fatalf("%v, %v", all, err)
			}
			return all[0]
		}
		o := read()
		for range 2 { // the second by another worker's sweeper
			f.requeued(o, message.Move{To: message.Queued, Reason: message.ReasonPolicy, Resend: true})
		}
		f.wantChanges(a.ID, "queued 0  0 ", "in_doubt 1  0 ", "queued 1  0 resent_by_policy")
		if got := f.backlog(); got != (ledger.Backlog{Waiting: 1}) {
			t.Errorf("%+v", got)
		}
		if got := f.begun(a.ID, 0, "w/2").Verdict; got != message.Done {
			t.Errorf("the old task: %s", got)
		}
		second := f.begun(a.ID, 1, "w/2")
		if second.Verdict != message.Go || second.N != 2 || len(second.Payload) == 0 {
			t.Errorf("the new task: %+v", second)
		}
		f.finished(second, message.Move{To: message.InDoubt})
		if o := read(); o.K != 1 || o.N != 2 || o.Resent != 1 {
			t.Errorf("the second time in doubt: %+v", o)
		}
		f.swept(read(), message.Move{To: message.Parked})
		if !f.hasPayload(a.ID) {
			t.Error("a person cannot resend: the payload is gone")
		}
		f.requeued(message.Open{ID: a.ID, State: message.Parked, N: 2, K: 1}, message.Move{To: message.Queued})
		if got := f.begun(a.ID, 2, "w/3"); got.Verdict != message.Go || got.N != 3 {
			t.Errorf("resent by a person: %+v", got)
		}
	})
}

// TestRequeueOfALostTask: two sweepers that miss the same task make one new task of it.
func TestRequeueOfALostTask(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		id := f.accepted("k1")
		for range 2 {
			f.requeued(message.Open{ID: id, State: message.Queued}, message.Move{To: message.Queued})
		}
		for k, want := range map[int]message.Verdict{0: message.Done, 2: message.Done} {
			if got := f.begun(id, k, "w/1").Verdict; got != want {
				t.Errorf("task %d: %s", k, got)
			}
		}
		if got := f.begun(id, 1, "w/1").Verdict; got != message.Go {
			t.Errorf("task 1: %s", got)
		}
	})
}

// everywhere is the same time for every shard.
func everywhere(now time.Time) map[message.Shard]time.Time {
	all := map[message.Shard]time.Time{}
	for _, s := range message.DefaultShards.All() {
		all[s] = now
	}
	return all
}

// TestSweepSkipsUnreadableRecords: one record that cannot be read, and one list, keep nothing else from the
// sweeper.
func TestSweepSkipsUnreadableRecords(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		ctx, far := t.Context(), time.Now().Add(30*day)
		bad, good := f.accepted("bad"), f.accepted("good")
		f.db.Set(ctx, store.Key(f.shard, "m:"+bad), "\xff\xffno record", 0)
		for name, read := range map[string]func() ([]message.Open, error){
			"overdue": func() ([]message.Open, error) { return f.Overdue(ctx, f.shard, far, 9) },
			"waiting": func() ([]message.Open, error) { return f.Waiting(ctx, f.shard, 0, 9) },
			"opens":   func() ([]message.Open, error) { return f.ReadOpenAll(ctx, f.shard, []string{bad, good}) },
		} {
			all, err := read()
			if err == nil {
				t.Errorf("%s: no error for the record that cannot be read", name)
			}
			if !slices.ContainsFunc(all, func(o message.Open) bool { return o.ID == good }) || slices.ContainsFunc(all, func(o message.Open) bool { return o.ID == bad }) {
				t.Errorf("%s: %+v", name, all)
			}
		}
		other := message.DefaultShards.All()[(int(f.shard)+1)%16]
		f.db.Set(ctx, store.Key(other, "doubts"), "no list", 0)
		got, err := f.Unsettled(ctx, everywhere(far))
		if err == nil || !slices.Equal(got, []message.Unsettled{{Shard: f.shard, Overdue: true}}) {
			t.Errorf("unsettled: %+v, %v", got, err)
		}
	})
}

func TestUnsettled(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		look := func(now time.Time, want ...message.Unsettled) {
			t.Helper()
			if got, err := f.Unsettled(t.Context(), everywhere(now)); err != nil || !slices.Equal(got, want) {
				t.Errorf("unsettled: %v, %v; want %v", got, err, want)
			}
		}
		look(time.Now())
		f.accepted("waits")
		look(time.Now())
		far := time.Now().Add(30 * day)
		look(far, message.Unsettled{Shard: f.shard, Overdue: true}) // its deadline has passed
		a := f.attempting("in doubt")
		parkable := a.ID
		f.finished(a, inDoubt)
		look(time.Now(), message.Unsettled{Shard: f.shard, InDoubt: true})
		look(far, message.Unsettled{Shard: f.shard, InDoubt: true, Overdue: true})
		f.swept(message.Open{ID: parkable, State: message.InDoubt, N: 1}, message.Move{To: message.Parked, Reason: message.ReasonNoAnswer})
		look(time.Now())
		look(time.Now().Add(31*day), message.Unsettled{Shard: f.shard, Overdue: true, ParkedTooLong: true})
		all, err := f.Parked(t.Context(), f.shard, time.Now().Add(day), 9)
		if len(all) != 1 || err != nil || all[0].ID != parkable {
			t.Errorf("parked: %+v, %v", all, err)
		}
		f.swept(all[0], message.Move{To: message.Failed, Reason: message.ReasonUndetermined})
		other := message.DefaultShards.Of("1")
		if f.shard == other {
			t.Fatal("choose another number")
		}
		m := newMessage("other")
		m.From, m.ID = "1", message.NewID("1", "other")
		f.acceptedAs(m)
		if got, err := f.Unsettled(t.Context(), everywhere(far)); err != nil || len(got) != 2 || got[0].Shard == got[1].Shard {
			t.Errorf("in two shards: %v, %v", got, err)
		}
	})
}

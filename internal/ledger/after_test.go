package ledger_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// chained returns a fixture whose ledger adds the tasks of released messages.
func chained(f fixture) fixture { return chainedWith(f, ledger.Options{}) }

// chainedWith is chained with further options.
func chainedWith(f fixture, o ledger.Options) fixture {
	o.Due = func(w *store.Writes, o message.Open) error {
		w.RPush(store.Key(message.DefaultShards.Of(o.Message.From), tasks), o.ID)
		return nil
	}
	f.Ledger = ledger.New(f.db, o)
	run, err := f.CurrentEpoch(f.t.Context(), f.shard)
	if err == nil {
		err = f.BeginEpoch(f.t.Context(), f.shard, run.ID)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return f
}

// following returns a message that waits for another one.
func following(key, leader string, s message.State) message.Message {
	m := newMessage(key)
	m.After, m.AfterBy = message.After{ID: leader, State: s}, time.Now().Add(30*time.Minute)
	return m
}

// waitingFor accepts a message that waits for another one.
func (f fixture) waitingFor(key, leader string, s message.State) string {
	f.t.Helper()
	m := following(key, leader, s)
	f.acceptedAs(m)
	return m.ID
}

// TestAfter: a message waits until another one has reached a state. It is decided in the same transaction.
func TestAfter(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f = chained(f)
		submit := func(id string) {
			f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.Submitted, WAMID: "wamid." + id})
		}
		report := func(status string) func(id string) {
			return func(id string) { submit(id); f.apply(report(id, 1, "wamid."+id, status)) }
		}
		none := func(string) {}
		for name, tt := range map[string]struct {
			state  message.State
			leader func(id string) // what becomes of the leader
			want   message.State   // of the follower
			reason string
		}{
			"nothing yet":         {message.Delivered, none, message.Queued, ""},
			"an attempt":          {message.Submitted, func(id string) { f.begun(id, 0, "w/1") }, message.Queued, ""},
			"not far enough":      {message.Delivered, report("sent"), message.Queued, ""},
			"not read yet":        {message.Read, report("delivered"), message.Queued, ""},
			"submitted":           {message.Submitted, submit, message.Queued, message.ReasonAfter},
			"sent":                {message.Sent, report("sent"), message.Queued, message.ReasonAfter},
			"more than submitted": {message.Submitted, report("read"), message.Queued, message.ReasonAfter},
			"delivered":           {message.Delivered, report("delivered"), message.Queued, message.ReasonAfter},
			"played":              {message.Read, report("played"), message.Queued, message.ReasonAfter},
			"failed":              {message.Delivered, report("failed"), message.Cancelled, message.ReasonAfterEnded},
			"cancelled":           {message.Sent, func(id string) { f.Cancel(t.Context(), id) }, message.Cancelled, message.ReasonAfterEnded},
			"dead":                {message.Submitted, func(id string) { f.finished(f.begun(id, 0, "w/1"), used) }, message.Cancelled, message.ReasonAfterEnded},
			"closed": {message.Delivered, func(id string) {
				f.finished(f.begun(id, 0, "w/1"), inDoubt)
				f.swept(f.look(id), message.Move{To: message.Failed, Reason: message.ReasonUndetermined})
			}, message.Cancelled, message.ReasonAfterEnded},
		} {
			check := func(id, when string, tasks int) {
				t.Helper()
				r := f.read(id)
				waits := tt.reason == ""
				if r.State != tt.want || r.Reason != tt.reason && !(when == "after it" && tt.want == message.Queued) || r.Waits() != waits {
					t.Errorf("%s, accepted %s: it is %s %q, waits: %t", name, when, r.State, r.Reason, r.Waits())
				}
				if n := f.tasksOf(id); n != tasks {
					t.Errorf("%s, accepted %s: %d tasks, want %d", name, when, n, tasks)
				}
				if finals := f.finals(id); (len(finals) == 1) != (tt.want == message.Cancelled) || len(finals) == 1 && finals[0] != "not_delivered cancelled" {
					t.Errorf("%s, accepted %s: final events %q", name, when, finals)
				}
				if begins := f.begun(id, r.Task, "w/9").Verdict == message.Go; begins != (tt.want == message.Queued && !waits) {
					t.Errorf("%s, accepted %s: an attempt begins: %t", name, when, begins)
				}
			}
			leader := f.accepted(name)
			before := f.waitingFor(name+" before", leader, tt.state)
			tt.leader(leader)
			tasks := map[string]int{"": 1, message.ReasonAfter: 2, message.ReasonAfterEnded: 1}[tt.reason]
			check(before, "before it", tasks) // the first is the one at the end of the wait
			after := f.waitingFor(name+" after", leader, tt.state)
			check(after, "after it", map[bool]int{true: 0, false: 1}[tt.want == message.Cancelled])
			if tt.reason != "" && len(f.read(leader).Followers) > 0 {
				t.Errorf("%s: the leader still has followers", name)
			}
		}
		f.wantConsistent("at the end")
	})
}

// TestAfterNot: a message that waits for another one not to be delivered is sent when its time has come, or when the other one ends. It is
// cancelled when the other one is delivered, also if its time has come and it is not sent yet.
func TestAfterNot(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f = chained(f)
		report := func(status string) func(id string) {
			return func(id string) {
				f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.Submitted, WAMID: "wamid." + id})
				f.apply(report(id, 1, "wamid."+id, status))
			}
		}
		for name, tt := range map[string]struct {
			within time.Duration
			leader func(id string) // what becomes of the leader
			want   message.State
			reason string
			begins message.Verdict
		}{
			"nothing yet":          {time.Hour, func(string) {}, message.Queued, "", message.Early},
			"not far enough":       {time.Hour, report("sent"), message.Queued, "", message.Early},
			"its time has come":    {-time.Second, report("sent"), message.Queued, "", message.Go},
			"delivered":            {time.Hour, report("delivered"), message.Cancelled, message.ReasonAfter, message.Done},
			"delivered after that": {-time.Second, report("read"), message.Cancelled, message.ReasonAfter, message.Done},
			"failed":               {time.Hour, report("failed"), message.Queued, message.ReasonAfterEnded, message.Go},
			"cancelled":            {time.Hour, func(id string) { f.Cancel(t.Context(), id) }, message.Queued, message.ReasonAfterEnded, message.Go},
		} {
			leader := f.accepted(name)
			m := following(name+" not", leader, message.Delivered)
			m.After.Not, m.AfterBy = true, time.Now().Add(tt.within)
			f.acceptedAs(m)
			tt.leader(leader)
			if late, err := f.Overdue(t.Context(), f.shard, time.Now(), 100); err != nil || len(late) > 0 {
				t.Errorf("%s: overdue: %v, %v", name, late, err)
			}
			r := f.read(m.ID)
			if r.State != tt.want || r.Reason != tt.reason {
				t.Errorf("%s: it is %s %q", name, r.State, r.Reason)
			}
			a := f.begun(m.ID, r.Task, "w/9")
			if r = f.read(m.ID); a.Verdict != tt.begins || a.Verdict == message.Go && r.Waits() {
				t.Errorf("%s: an attempt: %v, waits: %t", name, a.Verdict, r.Waits())
			}
		}
		f.wantConsistent("at the end")
	})
}

// TestAfterRefused: a message cannot wait for one without a record, nor for one with many followers, and then nothing is stored.
func TestAfterRefused(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f = chained(f)
		theirs := newMessage("of another client")
		theirs.Client = "globex"
		f.acceptedAs(theirs)
		if _, err := f.tryAccept(following("of mine", theirs.ID, message.Sent)); err != message.ErrNoLeader {
			t.Errorf("after a message of another client: %v", err)
		}
		if _, err := f.tryAccept(following("k", message.NewID(number, "nobody"), message.Sent)); err != message.ErrNoLeader {
			t.Errorf("no leader: %v", err)
		}
		leader := f.accepted("leader")
		for i := range 20 {
			f.waitingFor(fmt.Sprint(i), leader, message.Sent)
		}
		f.waitingFor("1", leader, message.Sent) // again
		full := following("one more", leader, message.Sent)
		if _, err := f.tryAccept(full); err != message.ErrFollowers {
			t.Errorf("one more: %v", err)
		}
		if _, err := f.Read(t.Context(), full.ID); !errors.Is(err, message.ErrNotFound) {
			t.Errorf("it is stored: %v", err)
		}
		f.Cancel(t.Context(), leader)
		for i := range 20 {
			f.wantState(message.NewID(number, fmt.Sprint(i)), message.Cancelled)
		}
		f.wantConsistent("at the end")
	})
}

// TestAfterEnds: the wait ends at its time; a waiting message can be cancelled; a chain ends as a whole; an operator can
// send a follower again alone.
func TestAfterEnds(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f = chained(f)
		leader := f.accepted("leader")
		late := following("late", leader, message.Read)
		late.AfterBy = time.Now().Add(-time.Second)
		f.acceptedAs(late)
		over, err := f.Overdue(t.Context(), f.shard, time.Now(), 10)
		if err != nil || len(over) != 1 || over[0].ID != late.ID || over[0].After.ID != leader {
			t.Fatalf("overdue: %+v, %v", over, err)
		}
		if a := f.begun(late.ID, 0, "w/1"); a.Verdict != message.Done || a.Expired != message.ReasonLateAfter {
			t.Errorf("begin: %+v", a)
		}
		if got := f.finals(late.ID); !slices.Equal(got, []string{"not_delivered expired"}) {
			t.Errorf("final events %q", got)
		}

		cancelled, next := f.waitingFor("cancelled", leader, message.Sent), ""
		next = f.waitingFor("next", cancelled, message.Sent)
		last := f.waitingFor("last", next, message.Sent)
		f.Cancel(t.Context(), cancelled)
		f.wantState(next, message.Cancelled)
		f.wantState(last, message.Cancelled)

		ended, whole := f.waitingFor("ended", leader, message.Sent), ""
		whole = f.waitingFor("whole", ended, message.Sent)
		a := f.begun(leader, 0, "w/1")
		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		f.apply(report(leader, 1, "wamid.1", "failed"))
		f.wantState(ended, message.Cancelled)
		f.wantState(whole, message.Cancelled)
		f.wantState(cancelled, message.Cancelled)

		o := f.look(late.ID)
		if !f.moved(o, message.Move{To: message.Queued, Reason: message.ReasonReplayed, ExpiresAt: time.Now().Add(time.Hour)}) {
			t.Fatal("not sent again")
		}
		if b := f.begun(late.ID, o.K+1, "w/1"); b.Verdict != message.Go {
			t.Errorf("sent again: %+v", b)
		}
		f.wantConsistent("at the end")
	})
}

// TestAfterOfManyEnds: the end of a message changes the messages that wait for it, and only a few that wait for those. The
// sweeper decides about the others.
func TestAfterOfManyEnds(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f = chained(f)
		leader := f.accepted("leader")
		var all []string
		for i := range 20 {
			follower := f.waitingFor(fmt.Sprint(i), leader, message.Sent)
			for k := range 5 {
				all = append(all, f.waitingFor(fmt.Sprint(i, " ", k), follower, message.Sent))
			}
		}
		f.Cancel(t.Context(), leader)
		for i := range 20 {
			f.wantState(message.NewID(number, fmt.Sprint(i)), message.Cancelled)
		}
		wait := func() (n int) {
			for _, id := range all {
				if r := f.read(id); r.Waits() && r.State == message.Queued {
					n++
				}
			}
			return n
		}
		if n := wait(); n < 50 || n == len(all) {
			t.Errorf("after the end of the leader %d of %d messages wait on", n, len(all))
		}
		waiting, err := f.Waiting(t.Context(), f.shard, 0, 1000)
		if err == nil {
			err = f.Follow(t.Context(), f.shard, waiting)
		}
		if n := wait(); n != 0 || err != nil {
			t.Errorf("after a sweep %d messages wait on, %v", n, err)
		}
		for _, id := range all {
			if got := f.finals(id); !slices.Equal(got, []string{"not_delivered cancelled"}) {
				t.Errorf("final events %q", got)
			}
		}
		f.wantConsistent("at the end")
	})
}

// TestFollowersOfAnOlderProgram: the sweeper decides about a follower whose leader changed without it, or has no
// complete record any more.
func TestFollowersOfAnOlderProgram(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f = chained(f)
		f.purges(0)
		forget := func(leader string) { // the entry of the follower is lost
			r := f.read(leader)
			r.Followers = nil
			f.db.Set(t.Context(), ledger.RecordPrefix(f.shard)+leader, r.Encode(), 0)
		}
		sweep := func(ids ...string) {
			t.Helper()
			opens, err := f.ReadOpenAll(t.Context(), f.shard, ids)
			if err == nil {
				err = f.Follow(t.Context(), f.shard, opens)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		a := f.attempting("leader")
		reached, waits := f.waitingFor("reached", a.ID, message.Submitted), f.waitingFor("waits", a.ID, message.Read)
		forget(a.ID)
		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		sweep(reached, waits)
		if r := f.read(reached); r.State != message.Queued || r.Waits() || f.tasksOf(reached) != 2 {
			t.Errorf("released as %+v", r)
		}
		if r := f.read(waits); r.State != message.Queued || !r.Waits() {
			t.Errorf("it does not wait: %+v", r)
		}
		f.apply(report(a.ID, 1, "wamid.1", "delivered"))
		f.ages(2)
		if _, err := f.Purge(t.Context(), f.shard); err != nil {
			t.Fatal(err)
		}
		if !f.hasTombstone(a.ID) {
			t.Fatal("no tombstone")
		}
		sweep(waits)
		f.wantState(waits, message.Cancelled)
		gone := f.accepted("gone")
		alone := f.waitingFor("alone", gone, message.Read)
		f.db.Del(t.Context(), ledger.RecordPrefix(f.shard)+gone)
		sweep(alone)
		f.wantState(alone, message.Cancelled)
	})
}

// TestAfterAtOnce: whatever happens to leaders and followers at once, from two programs, each follower is decided when
// its leader is, and each has the tasks and final events that its end requires.
func TestAfterAtOnce(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		programs := []fixture{chained(f), chained(f)}
		for i := range 12 {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			leader := programs[0].accepted(fmt.Sprint("leader ", i))
			a := programs[0].begun(leader, 0, "w/1")
			var followers []string
			for k := range 4 {
				followers = append(followers, following(fmt.Sprint("follower ", i, " ", k), leader, message.AfterStates()[k]).ID)
			}
			var wg sync.WaitGroup
			do := func(act func(p fixture)) {
				p := programs[rng.IntN(2)]
				wg.Go(func() { act(p) })
			}
			last := []string{"failed", "delivered", "read"}[rng.IntN(3)]
			for k := range 4 {
				do(func(p fixture) {
					p.waitingFor(fmt.Sprint("follower ", i, " ", k), leader, message.AfterStates()[k])
				})
			}
			do(func(p fixture) {
				p.finished(a, message.Move{To: message.Submitted, WAMID: "wamid." + leader})
				p.apply(report(leader, 1, "wamid."+leader, "sent"), report(leader, 1, "wamid."+leader, last))
			})
			if rng.IntN(2) == 0 {
				do(func(p fixture) {
					if st, err := p.Cancel(t.Context(), followers[3]); err != nil && !errors.Is(err, message.ErrNotFound) {
						t.Error(st, err)
					}
				})
			}
			wg.Wait()
			l := f.read(leader)
			for k, id := range followers {
				r := f.read(id)
				_, decided := l.Follow(message.After{State: message.AfterStates()[k]})
				if decided == r.Waits() && r.State != message.Cancelled || r.Waits() != slices.ContainsFunc(l.Followers, func(a message.After) bool { return a.ID == id }) && r.State != message.Cancelled {
					t.Errorf("round %d: the leader is %s with %+v; %s, which waits for %s, is %s, waits: %t", i, l.State, l.Followers, id, message.AfterStates()[k], r.State, r.Waits())
				}
				if n := len(f.finals(id)); (n == 1) != (r.State == message.Cancelled) {
					t.Errorf("round %d: %s is %s with %d final events", i, id, r.State, n)
				}
			}
		}
		f.wantConsistent("at the end")
	})
}

// TestAfterRewind: if Redis loses the change of a leader, it loses the decision about its followers too. What workers
// and Meta's reports restore decides about them again.
func TestAfterRewind(t *testing.T) {
	t.Parallel()
	f := chained(newFixture(t, redistest.Client(t)))
	a := f.attempting("leader")
	submitted, delivered := f.waitingFor("submitted", a.ID, message.Submitted), f.waitingFor("delivered", a.ID, message.Delivered)
	back := map[string]string{}
	for _, key := range f.db.Keys(t.Context(), "*").Val() {
		back[key] = f.db.Dump(t.Context(), key).Val()
	}
	move := message.Move{To: message.Submitted, WAMID: "wamid.1"}
	released := func(id string, want bool, when string) {
		t.Helper()
		if r := f.read(id); r.State != message.Queued || r.Waits() == want {
			t.Errorf("%s: it is %s, waits: %t", when, r.State, r.Waits())
		}
	}
	f.finished(a, move)
	f.apply(report(a.ID, 1, "wamid.1", "delivered"))
	released(submitted, true, "before")
	released(delivered, true, "before")
	f.db.FlushDB(t.Context())
	for key, v := range back {
		if err := f.db.Restore(t.Context(), key, 0, v).Err(); err != nil {
			t.Fatal(err)
		}
	}
	released(submitted, false, "after the loss")
	released(delivered, false, "after the loss")
	m := message.RememberedAttempt{ID: a.ID, N: a.N, Token: a.Token, Accepted: a.Accepted, Since: time.Now(), Move: &move}
	if _, err := f.Replay(t.Context(), f.shard, []message.RememberedAttempt{m}); err != nil {
		t.Fatal(err)
	}
	released(submitted, true, "after the replay")
	released(delivered, false, "after the replay")
	f.apply(report(a.ID, 1, "wamid.1", "delivered"))
	released(delivered, true, "after the report")
	if n := f.tasksOf(delivered); n != 2 {
		t.Errorf("%d tasks", n)
	}
	f.wantConsistent("at the end")
}

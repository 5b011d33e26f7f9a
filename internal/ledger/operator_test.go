package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/audit"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

func (f fixture) look(id string) message.Open {
	f.t.Helper()
	o, err := f.ReadOpen(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return o
}

// moved moves a message as an operator does, and returns whether it moved.
func (f fixture) moved(o message.Open, m message.Move) bool {
	f.t.Helper()
	done, err := f.Move(f.t.Context(), o, m, func(w *store.Writes) error {
		w.RPush(store.Key(f.shard, tasks), o.ID)
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return done
}

var (
	inDoubt = message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: time.Minute}
	used    = message.Move{To: message.Dead, Code: 131057, Reason: message.ReasonAttempts, Keep: true}
)

// parked makes a parked message.
func (f fixture) parked(key string) string {
	f.t.Helper()
	a := f.attempting(key)
	f.finished(a, inDoubt)
	f.swept(f.look(a.ID), message.Move{To: message.Parked, Reason: message.ReasonNoAnswer})
	f.wantState(a.ID, message.Parked)
	return a.ID
}

// dead makes a message that died of m.
func (f fixture) dead(key string, m message.Move) string {
	f.t.Helper()
	a := f.attempting(key)
	f.finished(a, m)
	return a.ID
}

// TestCancel: what waits or is parked is taken back, twice with the same answer; what may be on
// the wire, or was, is not.
// What follows when a queued message ends, or gets another task, happens in the same transaction; an
// attempt's task is its worker's.
func TestTheEndOfAQueuedMessage(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		ended := store.Key(f.shard, "test:ended")
		book := ledger.New(f.db, ledger.Options{Ended: func(w *store.Writes, s message.Shard, o message.Open) {
			w.SAdd(store.Key(s, "test:ended"), fmt.Sprint(o.ID, " ", o.K))
		}})
		cancelled, replaced, attempted := f.accepted("cancelled"), f.accepted("replaced"), f.attempting("attempted")
		if st, err := book.Cancel(t.Context(), cancelled); st != message.Cancelled || err != nil {
			t.Fatal(st, err)
		}
		o, err := book.ReadOpen(t.Context(), replaced)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := book.Move(t.Context(), o, message.Move{To: message.Queued, Reason: message.ReasonTaskLost}, func(*store.Writes) error { return nil }); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if st, _, err := book.Finish(t.Context(), attempted, message.Move{To: message.Submitted, WAMID: "wamid.1"}); st != message.Submitted || err != nil {
			t.Fatal(st, err)
		}
		got := f.db.SMembers(t.Context(), ended).Val()
		slices.Sort(got)
		want := []string{fmt.Sprint(cancelled, " ", o.K), fmt.Sprint(replaced, " ", o.K)}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("told of %q, want %q", got, want)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for name, tt := range map[string]struct {
			make func(key string) string
			want message.State
		}{
			"queued": {f.accepted, message.Cancelled},
			"parked": {f.parked, message.Cancelled},
			"between attempts": {func(key string) string {
				a := f.attempting(key)
				f.finished(a, message.Move{To: message.Queued, In: time.Hour})
				return a.ID
			}, message.Cancelled},
			"under way": {func(key string) string { return f.attempting(key).ID }, message.Attempting},
			"in doubt":  {func(key string) string { return f.dead(key, inDoubt) }, message.InDoubt},
			"submitted": {func(key string) string {
				return f.dead(key, message.Move{To: message.Submitted, WAMID: "wamid." + key})
			}, message.Submitted},
			"dead": {func(key string) string { return f.dead(key, used) }, message.Dead},
		} {
			id := tt.make(name)
			for range 2 {
				if st, err := f.Cancel(t.Context(), id); st != tt.want || err != nil {
					t.Errorf("%s: %s, %v; want %s", name, st, err, tt.want)
				}
			}
			r := f.get(id)
			if r.State != tt.want {
				t.Errorf("%s: the record says %s", name, r.State)
			}
			if tt.want == message.Cancelled {
				if f.hasPayload(id) || r.Reason != message.ReasonCaller {
					t.Errorf("%s: payload kept %t, reason %q", name, f.hasPayload(id), r.Reason)
				}
				f.wantLife(id, week)
				if changes := f.changes(id); changes[len(changes)-1] != fmt.Sprintf("cancelled %d  0 by_caller", r.Attempt) {
					t.Errorf("%s: events %q", name, changes)
				}
			}
		}
		if got := f.backlog(); got != (ledger.Backlog{Waiting: 1, InDoubt: 1, Dead: 1}) {
			t.Errorf("backlog %+v", got)
		}
		if _, err := f.Cancel(t.Context(), message.NewID(number, "nobody")); !errors.Is(err, message.ErrNotFound) {
			t.Errorf("a message that is not there: %v", err)
		}
	})
}

// TestACancelAndAnAttempt: of both exactly one wins, whatever the order.
func TestACancelAndAnAttempt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	for i := range 50 {
		id := f.accepted(fmt.Sprint(i))
		var begun message.Attempt
		done := make(chan struct{})
		go func() {
			defer close(done)
			begun, _ = f.Begin(context.Background(), id, 0, "w/1", nil)
		}()
		st, err := f.Cancel(t.Context(), id)
		<-done
		if err != nil {
			t.Fatal(err)
		}
		if (begun.Verdict == message.Go) == (st == message.Cancelled) {
			t.Fatalf("the attempt was told %s, the caller %s", begun.Verdict, st)
		}
	}
}

// A list is read up to its limit, also beyond entries whose records are gone.
func TestInDoubtBeyondStaleEntries(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for i := range 4 {
			a := f.attempting(strconv.Itoa(i))
			f.finished(a, message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: time.Duration(i+1) * time.Minute})
			if i < 2 {
				f.db.Del(t.Context(), ledger.RecordPrefix(f.shard)+a.ID)
			}
		}
		if all, err := f.InDoubt(t.Context(), number, 2); len(all) != 2 || err != nil {
			t.Errorf("%d of 2 are listed: %v", len(all), err)
		}
	})
}

// TestInDoubtIsListed: messages that are in doubt or parked are listed until they are resolved.
func TestInDoubtIsListed(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		first, second := f.parked("1"), f.dead("2", inDoubt)
		third := f.parked("3")
		want := func(limit int, ids ...string) {
			t.Helper()
			for _, number := range []string{"", number} {
				all, err := f.InDoubt(t.Context(), number, limit)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, r := range all {
					got = append(got, r.ID)
				}
				slices.Sort(got)
				slices.Sort(ids)
				if !slices.Equal(got, ids) {
					t.Errorf("listed %q, want %q", got, ids)
				}
			}
		}
		want(10, first, second, third)
		if got := f.backlog(); got.Parked != 2 || got.InDoubt != 1 {
			t.Errorf("backlog %+v", got)
		}
		f.wantResult(message.Applied, report(first, 1, "wamid.1", "delivered"))
		if _, err := f.Cancel(t.Context(), third); err != nil {
			t.Fatal(err)
		}
		want(10, second)
		if all, err := f.InDoubt(t.Context(), "1999", 10); len(all) != 0 || err != nil {
			t.Errorf("another number's: %v, %v", all, err)
		}
	})
}

// TestOperatorActionsAreAudited: the timeline and the audit log say who resolved an in-doubt message and why, once.
func TestOperatorActionsAreAudited(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		id := f.parked("1")
		o := f.look(id)
		m := message.Move{
			To: message.Queued, Reason: message.ReasonResolved,
			Audit: &message.AuditEntry{Verb: message.VerbNotSent, On: id, Actor: "anna", Key: "console", Reason: "she says | nothing came"},
		}
		if !f.moved(o, m) || f.moved(o, m) { // the second as after a lost answer
			t.Error("not moved, or twice")
		}
		r := f.get(id)
		if last := r.Timeline[len(r.Timeline)-1]; last.State != message.Queued || last.Reason != "resolved by anna: she says | nothing came" {
			t.Errorf("timeline ends with %+v", last)
		}
		if r.Reason != message.ReasonResolved {
			t.Errorf("reason %q", r.Reason)
		}
		if changes := f.changes(id); changes[len(changes)-1] != "queued 1  0 resolved" {
			t.Errorf("events %q: they tell whom they may, not who and why", changes)
		}
		deeds, err := audit.New(f.db, message.DefaultShards).Latest(t.Context(), 10)
		if err != nil || len(deeds) != 1 {
			t.Fatalf("deeds %+v, %v", deeds, err)
		}
		if d := deeds[0]; time.Since(d.At) > time.Minute || d.Verb != "not-sent" || d.On != id || d.Actor != "anna" || d.Key != "console" || d.Reason != "she says | nothing came" {
			t.Errorf("audit entry %+v", d)
		}
		if a := f.begun(id, 1, "w/2"); a.Verdict != message.Go || a.N != 2 {
			t.Errorf("its next task: %+v", a)
		}
		if a := f.begun(id, 0, "w/3"); a.Verdict == message.Go {
			t.Errorf("its old task: %+v", a)
		}
	})
}

// letters returns the dead letters that a filter selects.
func (f fixture) letters(filter message.DeadFilter) (ids []string) {
	f.t.Helper()
	err := f.Dead(f.t.Context(), filter, func(d message.DeadLetter) bool { ids = append(ids, d.ID); return true })
	if err != nil {
		f.t.Fatal(err)
	}
	return ids
}

// TestDeadLetters: dead letters can be selected without their records, and are listed until they are sent again, or a
// status proves that they were sent, or their records are deleted.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		other := used
		other.Code = 131000
		first, second := f.dead("1", used), f.dead("2", other)
		time.Sleep(2 * time.Millisecond)
		mid := time.Now()
		time.Sleep(2 * time.Millisecond)
		third := f.dead("3", used)
		for name, tt := range map[string]struct {
			filter message.DeadFilter
			want   []string
		}{
			"all":              {message.DeadFilter{}, []string{first, second, third}},
			"of the number":    {message.DeadFilter{Number: number}, []string{first, second, third}},
			"of another":       {message.DeadFilter{Number: "1999"}, nil},
			"by code":          {message.DeadFilter{Code: &other.Code}, []string{second}},
			"by reason":        {message.DeadFilter{Reason: message.ReasonAttempts}, []string{first, second, third}},
			"another reason":   {message.DeadFilter{Reason: "x"}, nil},
			"since":            {message.DeadFilter{Since: mid}, []string{third}},
			"until, by code":   {message.DeadFilter{Until: mid, Code: &used.Code}, []string{first}},
			"long in the past": {message.DeadFilter{Until: mid.Add(-time.Hour)}, nil},
		} {
			got := f.letters(tt.filter)
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: %q, want %q", name, got, tt.want)
			}
		}
		f.wantResult(message.Applied, report(second, 1, "wamid.2", "delivered"))
		replay := message.Move{To: message.Queued, Reason: message.ReasonReplayed, ExpiresAt: time.Now().Add(2 * time.Hour).Truncate(time.Millisecond).UTC()}
		if !f.moved(f.look(first), replay) {
			t.Error("not moved")
		}
		if got := f.letters(message.DeadFilter{}); !slices.Equal(got, []string{third}) {
			t.Errorf("left: %q", got)
		}

		r := f.get(first)
		if r.State != message.Queued || len(r.Timeline) != 4 || !r.ExpiresAt.Equal(replay.ExpiresAt) {
			t.Errorf("replayed: %+v", r)
		}
		f.wantLife(first, 0)
		if f.read(first).Recipient == "" {
			t.Error("its recipient's limit is forgotten")
		}
		if got := ids(f.Overdue(t.Context(), f.shard, replay.ExpiresAt, 10)); !slices.Equal(got, []string{first}) {
			t.Errorf("at its new deadline %q are overdue", got)
		}
		if a := f.begun(first, 1, "w/2"); a.Verdict != message.Go || a.N != 2 || a.Failures != 0 || len(a.Payload) == 0 {
			t.Errorf("its next task: %+v", a)
		}
	})
}

// TestDeadLettersEndWithTheirRecords: those whose time is over are not listed.
func TestDeadLettersEndWithTheirRecords(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		id := f.dead("1", used)
		member := fmt.Sprintf("%d:%s:%s", used.Code, used.Reason, id)
		long := float64(time.Now().Add(-week - time.Minute).UnixMilli())
		if n, err := f.db.ZAdd(t.Context(), store.Key(f.shard, "dead"), redis.Z{Score: long, Member: member}).Result(); n != 0 || err != nil {
			t.Fatalf("the index has no such entry: %v", err)
		}
		second := f.dead("2", used)
		if got := f.letters(message.DeadFilter{}); !slices.Equal(got, []string{second}) {
			t.Errorf("listed %q", got)
		}
	})
}

// TestByRef: the messages of an order are found as long as their records live, the latest hundred.
func TestByRef(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		want := func(ids ...string) {
			t.Helper()
			all, err := f.ByRef(t.Context(), []string{number}, "order-1")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range all {
				got = append(got, r.ID)
			}
			if !slices.Equal(got, ids) {
				t.Errorf("found %q, want %q", got, ids)
			}
		}
		bare := newMessage("0")
		bare.Ref = ""
		f.acceptedAs(bare)
		if keys := f.db.Keys(t.Context(), store.Key(f.shard, "r:*")).Val(); len(keys) != 0 {
			t.Error("a message without a reference is indexed")
		}
		first := f.accepted("1")
		f.accepted("1") // a repeat
		time.Sleep(2 * time.Millisecond)
		second := f.accepted("2")
		want(second, first)
		if _, err := f.Cancel(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		f.finished(f.begun(second, 0, "w/1"), message.Move{To: message.Submitted, WAMID: "wamid.1"})
		f.wantResult(message.Applied, report(second, 1, "wamid.1", "delivered"))
		want(second, first)

		if all, err := f.ByRef(t.Context(), []string{number}, "order-2"); len(all) != 0 || err != nil {
			t.Errorf("another order's: %v, %v", all, err)
		}
		time.Sleep(2 * time.Millisecond)
		many := make([]ledger.Accepting, 120)
		for i := range many {
			many[i] = f.accepting(newMessage(fmt.Sprint("many", i)))
		}
		for _, r := range f.Accept(t.Context(), many) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		keys := f.db.Keys(t.Context(), store.Key(f.shard, "r:*")).Val()
		if len(keys) != 1 || f.db.ZCard(t.Context(), keys[0]).Val() != 100 {
			t.Errorf("the indexes %q hold %d", keys, f.db.ZCard(t.Context(), keys[0]).Val())
		}
		if all, err := f.ByRef(t.Context(), []string{number}, "order-1"); len(all) != 100 || err != nil || slices.ContainsFunc(all, func(r message.Record) bool { return r.ID == first }) {
			t.Errorf("%d found, %v; want the latest 100", len(all), err)
		}
	})
}

// TestOperatorActionsOnAFullRedis: what makes no new task works on a full Redis.
func TestOperatorActionsOnAFullRedis(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	waiting, unclear := f.accepted("1"), f.parked("2")
	if err := f.db.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if st, err := f.Cancel(t.Context(), waiting); st != message.Cancelled || err != nil {
		t.Errorf("cancel: %s, %v", st, err)
	}
	m := message.Move{To: message.Submitted, Reason: message.ReasonResolved, Audit: &message.AuditEntry{Verb: message.VerbSent, On: unclear, Actor: "anna", Reason: "seen"}}
	if done, err := f.Sweep(t.Context(), f.look(unclear), m); !done || err != nil {
		t.Errorf("resolve: %t, %v", done, err)
	}
	if deeds, err := audit.New(f.db, message.DefaultShards).Latest(t.Context(), 10); len(deeds) != 1 || err != nil {
		t.Errorf("deeds %v, %v", deeds, err)
	}
}

package ledger_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/redistest"
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

func TestDoubts(t *testing.T) {
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
			if got := ids(f.Doubts(t.Context(), f.shard, tt.mark, 9)); !slices.Equal(got, tt.want) {
				t.Errorf("up to %s: %v, want %v", tt.mark, got, tt.want)
			}
		}
		all, _ := f.Doubts(t.Context(), f.shard, now.Add(2*time.Hour), 9)
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
	doubt := func(f fixture, id string) {
		f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.InDoubt})
	}
	asDoubt := func(id string) message.Open { return message.Open{ID: id, State: message.InDoubt, N: 1} }
	tests := map[string]struct {
		meanwhile func(f fixture, id string)
		read      func(id string) message.Open
	}{
		"settled by evidence": {func(f fixture, id string) {
			doubt(f, id)
			f.fold(evidence(id, 1, "wamid."+id, "sent"))
		}, asDoubt},
		"settled by the answer": {func(f fixture, id string) {
			a := f.begun(id, 0, "w/1")
			f.swept(message.Open{ID: id, State: message.Attempting, N: 1}, message.Move{To: message.InDoubt})
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid." + id})
		}, asDoubt},
		"settled by another sweeper": {func(f fixture, id string) {
			doubt(f, id)
			f.swept(asDoubt(id), message.Move{To: message.Parked})
		}, asDoubt},
		"requeued": {func(f fixture, id string) {
			doubt(f, id)
			f.requeued(asDoubt(id), message.Move{To: message.Queued})
		}, asDoubt},
		"a later doubt": {func(f fixture, id string) {
			doubt(f, id)
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
			all, err := f.Doubts(t.Context(), f.shard, time.Now().Add(time.Minute), 9)
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
			t.Errorf("the second doubt: %+v", o)
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

// TestStaleIndexEntry: an entry without its record is dropped, and does not hide the rest.
func TestStaleIndexEntry(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for name, list := range map[string]func() ([]message.Open, error){
			"overdue": func() ([]message.Open, error) {
				return f.Overdue(t.Context(), f.shard, time.Now().Add(2*time.Hour), 9)
			},
			"doubts": func() ([]message.Open, error) { return f.Doubts(t.Context(), f.shard, time.Now().Add(time.Hour), 9) },
		} {
			gone, there := f.accepted(name+" gone"), f.accepted(name)
			if name == "doubts" {
				f.finished(f.begun(gone, 0, "w/1"), doubt)
				f.finished(f.begun(there, 0, "w/1"), doubt)
			}
			before := f.backlog()
			f.db.Del(t.Context(), store.Key(f.shard, "m:"+gone))
			if got := ids(list()); !slices.Contains(got, there) || slices.Contains(got, gone) {
				t.Errorf("%s: %v", name, got)
			}
			if got := f.backlog(); got.Waiting+got.InDoubt != before.Waiting+before.InDoubt-1 {
				t.Errorf("%s: %+v", name, got)
			}
		}
	})
}

// between runs f once, right before records are read: after the reading of their list.
type between struct {
	once sync.Once
	f    func()
}

func (b *between) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (b *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "mget" {
			b.once.Do(b.f)
		}
		return next(ctx, cmd)
	}
}

// TestListsOnlyWhatIsStillThere: what happens between the two reads of a list must not make
// a message look like one that is to be swept.
func TestListsOnlyWhatIsStillThere(t *testing.T) {
	t.Parallel()
	const soon = time.Millisecond
	later := time.Now().Add(2 * time.Hour)
	tests := map[string]struct {
		list      func(f fixture, l *ledger.Ledger) ([]message.Open, error)
		prepare   func(f fixture, id string) message.Attempt
		meanwhile func(f fixture, a message.Attempt)
	}{
		"a doubt that another sweeper had sent again": {
			func(f fixture, l *ledger.Ledger) ([]message.Open, error) {
				return l.Doubts(f.t.Context(), f.shard, later, 9)
			},
			func(f fixture, id string) message.Attempt {
				a := f.begun(id, 0, "w/1")
				f.finished(a, message.Move{To: message.InDoubt, In: soon})
				return a
			},
			func(f fixture, a message.Attempt) {
				f.requeued(message.Open{ID: a.ID, State: message.InDoubt, N: 1}, message.Move{To: message.Queued, Resend: true})
				f.begun(a.ID, 1, "w/2")
			},
		},
		"a queued message that is begun": {
			func(f fixture, l *ledger.Ledger) ([]message.Open, error) {
				return l.Overdue(f.t.Context(), f.shard, later, 9)
			},
			func(f fixture, id string) message.Attempt { return message.Attempt{ID: id} },
			func(f fixture, a message.Attempt) { f.begun(a.ID, 0, "w/1") },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t)
			f := newFixture(t, srv.Client())
			a := tt.prepare(f, f.accepted("k1"))
			c := srv.Client()
			c.AddHook(&between{f: func() { tt.meanwhile(f, a) }})
			all, err := tt.list(f, newFixture(t, c).Ledger)
			if err != nil || len(all) != 0 {
				t.Errorf("%+v, %v", all, err)
			}
		})
	}
}

// everywhere is the same time for every shard.
func everywhere(now time.Time) map[message.Shard]time.Time {
	all := map[message.Shard]time.Time{}
	for _, s := range message.DefaultShards.All() {
		all[s] = now
	}
	return all
}

// TestSweepsPastWhatIsUnreadable: one record that cannot be read, and one list, keep nothing else from the
// sweeper.
func TestSweepsPastWhatIsUnreadable(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		ctx, far := t.Context(), time.Now().Add(30*day)
		bad, good := f.accepted("bad"), f.accepted("good")
		f.db.Set(ctx, store.Key(f.shard, "m:"+bad), "\xff\xffno record", 0)
		for name, read := range map[string]func() ([]message.Open, error){
			"overdue": func() ([]message.Open, error) { return f.Overdue(ctx, f.shard, far, 9) },
			"waiting": func() ([]message.Open, error) { return f.Waiting(ctx, f.shard, 0, 9) },
			"opens":   func() ([]message.Open, error) { return f.Opens(ctx, f.shard, []string{bad, good}) },
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
		a := f.attempting("doubt")
		parkable := a.ID
		f.finished(a, doubt)
		look(time.Now(), message.Unsettled{Shard: f.shard, Doubts: true})
		look(far, message.Unsettled{Shard: f.shard, Doubts: true, Overdue: true})
		f.swept(message.Open{ID: parkable, State: message.InDoubt, N: 1}, message.Move{To: message.Parked, Reason: message.ReasonNoAnswer})
		look(time.Now())
		look(time.Now().Add(31*day), message.Unsettled{Shard: f.shard, Overdue: true, Forgotten: true})
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

// TestSubmittedWithoutAStatus: what Meta took is owed until it reports anything of it.
func TestSubmittedWithoutAStatus(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		a := f.attempting("a")
		before := time.Now().Add(-time.Second)
		if _, _, err := f.Finish(ctx, a, message.Move{To: message.Submitted, WAMID: "wamid.A"}); err != nil {
			t.Fatal(err)
		}
		after := time.Now().Add(time.Second)
		owed := func(from, to time.Time) int64 {
			n, err := f.Owed(ctx, f.shard, from, to)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if owed(time.Time{}, after) != 1 || owed(after, after.Add(time.Hour)) != 0 || owed(time.Time{}, before) != 0 {
			t.Error("the message is not owed, or at another time")
		}
		if n, err := f.OwedInAll(ctx, after); err != nil || n != 1 {
			t.Errorf("%d owed in all shards, %v", n, err)
		}
		for _, tt := range []struct {
			number string
			before time.Time
			want   int
		}{{"", after, 1}, {number, after, 1}, {"999", after, 0}, {"", before, 0}} {
			some, err := f.Unreported(ctx, tt.number, tt.before, 10)
			if err != nil || len(some) != tt.want || tt.want == 1 && some[0].ID != a.ID {
				t.Errorf("without a status: %+v, %v; want %d", some, err, tt.want)
			}
		}
		if _, err := f.Fold(ctx, f.shard, []message.Evidence{{Receipt: message.Receipt{Number: number, WAMID: "wamid.A", Status: "sent"}}}, nil); err != nil {
			t.Fatal(err)
		}
		if n := owed(time.Time{}, after); n != 0 {
			t.Errorf("%d messages owed after its status", n)
		}
	})
}

// TestPostpone: a doubt that was put off is not returned before, and tells since when it is one.
func TestPostpone(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		a := f.attempting("a")
		before := time.Now().Add(-time.Second)
		if _, _, err := f.Finish(ctx, a, message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer}); err != nil {
			t.Fatal(err)
		}
		now := time.Now().Add(time.Second)
		if err := f.Postpone(ctx, f.shard, []string{a.ID, "nobody"}, now.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			at   time.Duration
			want int
		}{{0, 0}, {time.Minute, 1}} {
			some, err := f.Doubts(ctx, f.shard, now.Add(tt.at), 10)
			if err != nil || len(some) != tt.want {
				t.Fatalf("after %s: %+v, %v", tt.at, some, err)
			}
			if tt.want == 1 && (some[0].Since.Before(before) || some[0].Since.After(now)) {
				t.Errorf("in doubt since %s, not between %s and %s", some[0].Since, before, now)
			}
		}
	})
}

// afterMGet is a go-redis hook that calls a function once, after the next MGET.
type afterMGet struct{ do func() }

func (*afterMGet) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*afterMGet) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *afterMGet) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if do := h.do; cmd.Name() == "mget" && do != nil {
			h.do = nil
			do()
		}
		return err
	}
}

// An entry of a list without a record is dropped, but not when the id is used again at that moment.
func TestStaleEntry(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		const longAgo = 1e12
		id, waiting := message.NewID(number, "key"), store.Key(f.shard, string(message.Waiting))
		hook := &afterMGet{do: func() { f.accepted("key") }}
		f.db.AddHook(hook)
		f.db.ZAdd(t.Context(), waiting, redis.Z{Score: longAgo, Member: id})
		overdue := func() {
			t.Helper()
			if all, err := f.Overdue(t.Context(), f.shard, time.Now(), 9); len(all) != 0 || err != nil {
				t.Fatalf("%v, %v", all, err)
			}
		}
		overdue()
		if at := f.db.ZScore(t.Context(), waiting, id).Val(); hook.do != nil || at <= longAgo {
			t.Errorf("the new message waits until %g", at)
		}
		f.db.Del(t.Context(), ledger.RecordPrefix(f.shard)+id)
		f.db.ZAdd(t.Context(), waiting, redis.Z{Score: longAgo, Member: id})
		overdue()
		if n := f.db.ZCard(t.Context(), waiting).Val(); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}

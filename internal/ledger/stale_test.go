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

// TestStaleIndexEntry: an entry without its record is dropped, and does not hide the rest.
func TestStaleIndexEntry(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for name, list := range map[string]func() ([]message.Open, error){
			"overdue": func() ([]message.Open, error) {
				return f.Overdue(t.Context(), f.shard, time.Now().Add(2*time.Hour), 9)
			},
			"doubts": func() ([]message.Open, error) {
				return f.WindowEnded(t.Context(), f.shard, time.Now().Add(time.Hour), 9)
			},
		} {
			gone, there := f.accepted(name+" gone"), f.accepted(name)
			if name == "doubts" {
				f.finished(f.begun(gone, 0, "w/1"), inDoubt)
				f.finished(f.begun(there, 0, "w/1"), inDoubt)
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
		"in doubt, and another sweeper had sent it again": {
			func(f fixture, l *ledger.Ledger) ([]message.Open, error) {
				return l.WindowEnded(f.t.Context(), f.shard, later, 9)
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
		id, waiting := message.NewID(number, "key"), store.Key(f.shard, string(message.ListWaiting))
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

package ledger_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ledger"
	"sluice/internal/message"
)

// TestAKeyOutlivesItsRecord: the tombstone of a message answers repeated requests and queries, refuses another message
// with the key, and accepts late statuses; and the message is not sent again.
func TestAKeyOutlivesItsRecord(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f.purges(0)
		m, bare := newMessage("delivered"), newMessage("no key")
		bare.ID, bare.Key, bare.Hash = message.NewID(number, ""), "", ""
		f.acceptedAs(m)
		f.acceptedAs(bare)
		a := f.begun(m.ID, 0, "w/1")
		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		f.apply(report(m.ID, 1, "wamid.1", "delivered"), report(bare.ID, 1, "wamid.b", "delivered"))
		dead, cancelled := f.dead("dead", used), f.accepted("cancelled")
		f.Cancel(t.Context(), cancelled)
		f.ages(8)
		before := f.read(m.ID)
		f.purges(4)
		if f.exists(bare.ID) || f.hasTombstone(bare.ID) {
			t.Error("of a message without a key something is left")
		}
		r := f.read(m.ID)
		if !r.Tombstone() || r.State != message.Delivered || r.Type != "text" || r.Ref != m.Ref || len(r.Timeline) != 1 || !r.AcceptedAt.Equal(before.AcceptedAt) {
			t.Errorf("%+v", r)
		}
		if n := r.Version(); n > 120 || n >= before.Version() {
			t.Errorf("%d bytes are left of %d", n, before.Version())
		}

		// A repeat, and another message.
		again, err := f.tryAccept(m)
		if want := (message.Acceptance{ID: m.ID, State: message.Delivered, Class: m.Class, ExpiresAt: before.ExpiresAt, Duplicate: true}); err != nil || again != want {
			t.Errorf("a repeat: %+v, %v; want %+v", again, err, want)
		}
		other := m
		other.Hash = "hash-2"
		if _, err := f.tryAccept(other); err != message.ErrKeyReused {
			t.Errorf("another message with the key: %v", err)
		}

		// Late reports.
		read := report(m.ID, 1, "wamid.1", "read")
		read.Accepted = r.Incarnation()
		f.wantResult(message.Applied, read)
		f.wantResult(message.Repeated, read)
		f.wantResult(message.Outdated, report(m.ID, 1, "wamid.1", "delivered"))
		f.wantState(m.ID, message.Read)
		f.wantResult(message.Applied, report(cancelled, 1, "wamid.2", "sent"))
		if got := f.changes(m.ID); got[len(got)-1] != "read 1 wamid.1 0 " {
			t.Errorf("the events %q", got)
		}

		// Nothing can be sent again.
		for _, to := range []message.State{message.Queued, message.Submitted, message.Cancelled} {
			if f.moved(f.look(dead), message.Move{To: to, Reason: message.ReasonReplayed}) {
				t.Errorf("what is left of a dead letter became %s", to)
			}
		}
		if letters := f.letters(message.DeadFilter{}); len(letters) != 0 {
			t.Errorf("dead letters: %q", letters)
		}
		for _, id := range []string{dead, m.ID} {
			if b := f.begun(id, f.read(id).Task, "w/9"); b.Verdict != message.Done {
				t.Errorf("begin: %s", b.Verdict)
			}
		}
		left := f.read(dead)
		lost, err := f.Replay(t.Context(), f.shard, []message.RememberedAttempt{{ID: dead, N: 2, Token: "w/8", Accepted: left.Incarnation()}})
		if err != nil || f.read(dead).State != message.Dead {
			t.Errorf("restored: %+v, %v", lost, err)
		}
		f.wantConsistent("with tombstones")

		f.ages(31)
		f.purges(3)
		if _, err := f.Get(t.Context(), m.ID); !errors.Is(err, message.ErrNotFound) {
			t.Errorf("after its time: %v", err)
		}
		if got, err := f.tryAccept(other); err != nil || got.Duplicate {
			t.Errorf("the key after its time: %+v, %v", got, err)
		}
		f.wantResult(message.NoRecord, read) // of the earlier message
		f.wantState(m.ID, message.Queued)
		f.wantConsistent("with a new message")
	})
}

// TestNoKeyLife: where keys are not to outlive their records, nothing is left.
func TestNoKeyLife(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f.Ledger = ledger.New(f.db, ledger.Options{KeyLife: -1})
		f.purges(0)
		id := f.accepted("k")
		f.Cancel(t.Context(), id)
		f.ages(8)
		f.purges(1)
		if f.exists(id) || f.hasTombstone(id) {
			t.Error("something is left")
		}
		if lists := f.keys("ended:*"); len(lists) != 0 {
			t.Errorf("lists are left: %q", lists)
		}
	})
}

// TestPurgeLeavesAKeyThatIsUsedAgain: two workers purge the same records, and between them the caller uses the key
// again: the second worker does not touch the new message.
func TestPurgeLeavesAKeyThatIsUsedAgain(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		first, second := ledger.New(f.db, ledger.Options{KeyLife: -1}), ledger.New(f.db, ledger.Options{KeyLife: -1})
		f.Ledger = first
		f.purges(0)
		id := f.accepted("k")
		f.Cancel(t.Context(), id)
		f.ages(8)
		var once bool
		f.db.AddHook(beforeReadOf(ledger.RecordPrefix(f.shard)+id, func() {
			if !once {
				once = true
				if n, err := second.Purge(t.Context(), f.shard); n != 1 || err != nil {
					t.Errorf("the other worker forgot %d, %v", n, err)
				}
				f.accepted("k")
			}
		}))
		if _, err := f.Purge(t.Context(), f.shard); err != nil {
			t.Fatal(err)
		}
		if !once {
			t.Error("no other change came in between")
		}
		f.wantState(id, message.Queued)
		f.wantConsistent("then")
	})
}

// afterRead is a go-redis hook that calls f after Purge has read a record.
type afterRead struct {
	key string
	f   func()
}

func beforeReadOf(key string, f func()) afterRead { return afterRead{key, f} }

func (a afterRead) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a afterRead) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (a afterRead) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			if cmd.Name() == "mget" && slices.Contains(cmd.Args(), any(a.key)) {
				a.f()
			}
		}
		return err
	}
}

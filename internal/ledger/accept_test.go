package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestAcceptOfOneKeyAtOnce: of many requests with the same key, one creates the message. Requests with the same
// content get this message, and the others are refused: in one batch, and from several programs at once.
func TestAcceptOfOneKeyAtOnce(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		second := ledger.New(f.db, ledger.Options{})
		for round := range 10 {
			const n = 20
			var got [n]message.AcceptResult
			m := func(i int) ledger.Accepting {
				m := newMessage(fmt.Sprint(round))
				m.Hash = fmt.Sprint("content ", i%2)
				return f.accepting(m)
			}
			if round%2 == 0 {
				var all []ledger.Accepting
				for i := range n {
					all = append(all, m(i))
				}
				copy(got[:], f.Accept(t.Context(), all))
			} else {
				together(n, func(i int) {
					got[i] = []*ledger.Ledger{f.Ledger, second}[i/2%2].Accept(t.Context(), []ledger.Accepting{m(i)})[0]
				})
			}
			made, winner := 0, -1
			for i, r := range got {
				if r.Err == nil && !r.Duplicate {
					made, winner = made+1, i%2
				}
			}
			for i, r := range got {
				if i%2 == winner && (r.Err != nil || r.ID != m(i).Message.ID || r.State != message.Queued) || i%2 != winner && r.Err != message.ErrKeyReused {
					t.Errorf("%d: %+v", i, r)
				}
			}
			if made != 1 {
				t.Errorf("%d were made", made)
			}
			if id := m(0).Message.ID; f.tasksOf(id) != 1 || len(f.changes(id)) != 1 {
				t.Errorf("%d tasks, events %q", f.tasksOf(id), f.changes(id))
			}
		}
		f.wantConsistent("at the end")
	})
}

// TestAcceptOfABatch: messages with a key and without, new ones, repeats and such that cannot be
// accepted go together, and no one's failure concerns another.
func TestAcceptOfABatch(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		old := newMessage("old")
		f.acceptedAs(old)
		reused := old
		reused.Hash = "other"
		broken := errors.New("no queue")
		var all []ledger.Accepting
		for i := range 150 { // more than go in one transaction
			m := newMessage(fmt.Sprint("new ", i))
			if i%3 == 0 {
				m.Key, m.Hash, m.ID = "", "", message.NewID(number, "")
			}
			a := f.accepting(m)
			switch i % 10 {
			case 4:
				a.Message = old
			case 5:
				a.Message = reused
			case 7:
				a.Enqueue = func(w *store.Writes, _ time.Time) error {
					w.RPush(store.Key(f.shard, tasks), "half a task")
					return broken
				}
			}
			all = append(all, a)
		}
		for i, r := range f.Accept(t.Context(), all) {
			id := all[i].Message.ID
			ok := false
			switch i % 10 {
			case 4:
				ok = r.Err == nil && r.Duplicate && r.ID == old.ID
			case 5:
				ok = r.Err == message.ErrKeyReused
			case 7:
				_, err := f.Get(t.Context(), id)
				ok = errors.Is(r.Err, broken) && errors.Is(err, message.ErrNotFound)
			default:
				ok = r.Err == nil && !r.Duplicate && r.ID == id && f.get(id).State == message.Queued
			}
			if !ok {
				t.Errorf("%d: %+v", i, r)
			}
		}
		if got := f.db.LLen(t.Context(), store.Key(f.shard, tasks)).Val(); got != 1+150-3*15 {
			t.Errorf("%d tasks", got)
		}
		f.wantConsistent("at the end")
	})
}

// TestAcceptInSeveralShards: a batch may be of several numbers.
func TestAcceptInSeveralShards(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) { f.acceptInShards() })
}

func (f fixture) acceptInShards() (ids []string) {
	f.t.Helper()
	var all []ledger.Accepting
	for i := range 40 {
		m := newMessage("")
		m.From = fmt.Sprint(1000 + i%10)
		m.ID = message.NewID(m.From, fmt.Sprint(i))
		all = append(all, f.accepting(m))
		ids = append(ids, m.ID)
	}
	for i, r := range f.Accept(f.t.Context(), all) {
		if r.Err != nil || r.ID != ids[i] || r.Duplicate {
			f.t.Errorf("%d: %+v", i, r)
		}
	}
	return ids
}

// TestFullRedis: on a full Redis, accepted messages drain. A new message is refused as a whole: a record without its
// task would be a message that is never sent.
func TestFullRedis(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{"by transactions": "", "by scripts": "?transactions=script"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := openFixture(t, redistest.Start(t).URL()+query)
			ctx := t.Context()
			var ids []string
			for i := range 7 {
				ids = append(ids, f.accepted(fmt.Sprint(i)))
			}
			if err := f.db.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
				t.Fatal(err)
			}
			if err := f.db.Set(ctx, "x", "y", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "OOM") {
				t.Fatalf("the Redis is not full: %v", err)
			}

			for _, hash := range []string{"hash", ""} {
				m := newMessage("new")
				m.Hash = hash
				if _, err := f.tryAccept(m); err == nil || !strings.Contains(err.Error(), "OOM") {
					t.Errorf("accepted on a full Redis: %v", err)
				}
				if _, err := f.Get(ctx, m.ID); !errors.Is(err, message.ErrNotFound) {
					t.Errorf("a refused message left a record: %v", err)
				}
			}
			if got, err := f.tryAccept(newMessage("0")); err != nil || !got.Duplicate {
				t.Errorf("a repeat needs no room: %+v, %v", got, err)
			}

			known := f.read(ids[0])
			a := f.begunAs(ids[0], 0, "w/1", &known)
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
			f.finished(f.begun(ids[1], 0, "w/2"), message.Move{To: message.InDoubt})
			f.finished(f.begun(ids[2], 0, "w/3"), message.Move{To: message.Queued})
			if st, err := f.Cancel(ctx, ids[3]); st != message.Cancelled || err != nil {
				t.Errorf("cancel: %s, %v", st, err)
			}
			f.swept(f.look(ids[4]), message.Move{To: message.Expired, Reason: message.ReasonDeadline})
			together(2, func(i int) { f.begun(ids[5+i], 0, "w/4") })
			f.wantResult(message.Applied, report(ids[1], 1, "wamid.2", "delivered"))
			f.wantResult(message.Applied, report("", 0, "wamid.1", "sent"))
			f.wantResult(message.Unmatched, report("", 0, "wamid.3", "sent"))
			if n := f.appliedUnmatched(); n != 0 {
				t.Errorf("%d applied", n)
			}
			for i, want := range []message.State{
				message.Sent, message.Delivered, message.Queued, message.Cancelled, message.Expired, message.Attempting, message.Attempting,
			} {
				f.wantState(ids[i], want)
			}
			if a := f.begun(ids[2], 0, "w/5"); a.Verdict != message.Go || a.N != 2 {
				t.Errorf("%+v", a)
			}
			if _, err := f.Purge(ctx, f.shard); err != nil {
				t.Errorf("purge: %v", err)
			}
			f.wantConsistent("at the end")
		})
	}
}

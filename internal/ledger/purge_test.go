package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/audit"
	"sluice/internal/events"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// ages lets everything in Redis happen so many days earlier than it did.
func (f fixture) ages(days int) {
	f.t.Helper()
	ctx, d := f.t.Context(), time.Duration(days)*day
	must := func(err error) {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
	}
	for id, r := range f.stored() {
		for _, at := range []*time.Time{&r.AcceptedAt, &r.ExpiresAt, &r.NextAt, &r.SendAt, &r.KeyUntil} {
			if !at.IsZero() {
				*at = at.Add(-d)
			}
		}
		for i := range r.Timeline {
			r.Timeline[i].At = r.Timeline[i].At.Add(-d)
		}
		must(f.db.Set(ctx, ledger.RecordPrefix(f.shard)+id, r.Encode(), 0).Err())
	}
	for _, list := range []string{"waiting", "doubts", "parked", "dead", "awaiting", "orphans", "orphans:since"} {
		for _, z := range f.db.ZRangeWithScores(ctx, store.Key(f.shard, list), 0, -1).Val() {
			must(f.db.ZAdd(ctx, store.Key(f.shard, list), redis.Z{Score: z.Score - float64(d.Milliseconds()), Member: z.Member}).Err())
		}
	}
	rename := func(pattern string, earlier func(string) string) {
		keys := f.keys(pattern)
		slices.Sort(keys) // the earliest first, so that none is in the way
		for _, key := range keys {
			i := strings.LastIndex(key, ":") + 1
			must(f.db.Rename(ctx, key, key[:i]+earlier(key[i:])).Err())
		}
	}
	rename("ended:*", func(hour string) string {
		n, err := strconv.Atoi(hour)
		must(err)
		return strconv.Itoa(n - 24*days)
	})
	rename("wamids:*", func(date string) string {
		at, err := time.Parse(time.DateOnly, date)
		must(err)
		return at.Add(-d).Format(time.DateOnly)
	})
	if last, err := f.db.Get(ctx, store.Key(f.shard, "forgotten")).Int(); err == nil {
		must(f.db.Set(ctx, store.Key(f.shard, "forgotten"), last-24*days, 0).Err())
	}
}

// purges runs Purge, and checks how many records it deleted.
func (f fixture) purges(want int) {
	f.t.Helper()
	if n, err := f.Purge(f.t.Context(), f.shard); err != nil || n != want {
		f.t.Errorf("%d were forgotten, %v; want %d", n, err, want)
	}
}

// exists reports whether a message has a record that is not a tombstone.
func (f fixture) exists(id string) bool {
	f.t.Helper()
	r, err := f.Read(f.t.Context(), id)
	if err != nil && !errors.Is(err, message.ErrNotFound) {
		f.t.Fatal(err)
	}
	return err == nil && !r.Tombstone()
}

// hasTombstone reports whether a message has a tombstone.
func (f fixture) hasTombstone(id string) bool {
	f.t.Helper()
	r, err := f.Read(f.t.Context(), id)
	if err != nil && !errors.Is(err, message.ErrNotFound) {
		f.t.Fatal(err)
	}
	return err == nil && r.Tombstone()
}

// TestPurge: each record is deleted at the end of its life and not before, and nothing of its message remains.
func TestPurge(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f.purges(0) // an installation's first
		empty := f.kinds()
		taken := func(id string) {
			f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.Submitted, WAMID: "wamid." + id})
		}
		lives := map[string]struct {
			end  func(id string)
			days int // of life
		}{
			"delivered": {func(id string) { taken(id); f.apply(report(id, 1, "wamid."+id, "delivered")) }, 1},
			"played":    {func(id string) { taken(id); f.apply(report(id, 1, "wamid."+id, "played")) }, 1},
			"a duplicate": {func(id string) {
				taken(id)
				f.apply(report(id, 1, "wamid.2"+id, "sent"), report(id, 1, "wamid.3"+id, "delivered"))
			}, 1},
			"cancelled":           {func(id string) { f.Cancel(t.Context(), id) }, 7},
			"rejected":            {func(id string) { f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.Rejected}) }, 7},
			"failed":              {func(id string) { taken(id); f.apply(report(id, 1, "wamid."+id, "failed")) }, 7},
			"dead":                {func(id string) { f.finished(f.begun(id, 0, "w/1"), used) }, 7},
			"submitted":           {taken, 31},
			"submitted, no wamid": {func(id string) { f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.Submitted}) }, 31},
			"sent":                {func(id string) { taken(id); f.apply(report(id, 1, "wamid."+id, "sent")) }, 31},
		}
		ids := map[string]string{}
		for _, name := range slices.Sorted(maps.Keys(lives)) {
			ids[name] = f.accepted(name)
			lives[name].end(ids[name])
		}
		open := []string{f.accepted("queued"), f.attempting("attempting").ID, f.parked("parked"), f.dead("in doubt", inDoubt)}

		age := 0
		const keyDays = 30 // a tombstone stays
		for _, to := range []int{1, 2, 7, 8, 30, 33, 38, 40, 60, 62} {
			f.ages(to - age)
			age = to
			want := 0
			for name, id := range ids {
				if lives[name].days < age && f.exists(id) || lives[name].days+keyDays < age && f.hasTombstone(id) {
					want++
				}
			}
			f.purges(want)
			f.purges(0)
			for name, id := range ids {
				if there := f.exists(id); there != (lives[name].days >= age) {
					t.Errorf("after %d days: %s is there: %t", age, name, there)
				}
				if there := f.hasTombstone(id); there != (lives[name].days < age && lives[name].days+keyDays >= age) {
					t.Errorf("after %d days: %s has a tombstone: %t", age, name, there)
				}
			}
			f.wantConsistent(fmt.Sprintf("after %d days", age))
		}
		for _, id := range open {
			f.db.Del(t.Context(), ledger.RecordPrefix(f.shard)+id)
			f.db.ZRem(t.Context(), f.refIndex(), id)
			for _, key := range f.keys("to:*") {
				f.db.LRem(t.Context(), key, 0, id)
			}
			for _, list := range []string{"waiting", "doubts", "parked"} {
				f.db.ZRem(t.Context(), store.Key(f.shard, list), id)
			}
		}
		if left := f.kinds(); !slices.Equal(left, empty) {
			t.Errorf("left in Redis: %q, at first there was %q", left, empty)
		}
	})
}

// refIndex is the key of the index of the references of the test's messages.
func (f fixture) refIndex() string {
	f.t.Helper()
	keys := f.keys("r:*")
	if len(keys) != 1 {
		f.t.Fatalf("indexes: %q", keys)
	}
	return keys[0]
}

// kinds returns all keys in Redis, but the streams and the queue of the tests.
func (f fixture) kinds() []string {
	f.t.Helper()
	keys := slices.DeleteFunc(f.db.Keys(f.t.Context(), "*").Val(), func(key string) bool {
		return key == events.MessageKey(f.shard) || key == audit.Key(f.shard) || key == store.Key(f.shard, tasks)
	})
	slices.Sort(keys)
	return keys
}

// TestPurgeAfterALaterChange: a life begins anew when something happens to a message that had ended.
func TestPurgeAfterALaterChange(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		read := f.attempting("read").ID
		f.apply(report(read, 1, "wamid."+read, "delivered"))
		replayed := f.dead("replayed", used)
		twice := f.dead("dead twice", used)
		closed := f.dead("closed", inDoubt)
		f.swept(f.look(closed), message.Move{To: message.Failed, Reason: message.ReasonUndetermined})
		f.purges(0)
		f.ages(2)
		f.apply(report(read, 1, "wamid."+read, "read"), report(closed, 1, "wamid."+closed, "sent"))
		f.purges(0) // it was delivered two days ago, and read now
		f.ages(2)
		f.purges(1)
		f.ages(3)
		f.moved(f.look(replayed), message.Move{To: message.Queued, Reason: message.ReasonReplayed})
		f.moved(f.look(twice), message.Move{To: message.Queued, Reason: message.ReasonReplayed, ExpiresAt: time.Now().Add(time.Hour)})
		f.finished(f.begun(twice, 1, "w/2"), used)
		f.ages(1)
		f.purges(0)
		for name, want := range map[string]bool{read: false, replayed: true, twice: true, closed: true} {
			if f.exists(name) != want {
				t.Errorf("%s is there: %t", name, !want)
			}
		}
		if !f.hasPayload(replayed) || !f.hasPayload(twice) {
			t.Error("what is to be sent has lost its payload")
		}
		f.wantConsistent("then")
		f.ages(7)
		f.purges(1) // dead for the second time
		if !f.exists(replayed) || f.exists(twice) || !f.exists(closed) {
			t.Error("not the second dead letter was forgotten")
		}
		f.wantConsistent("at the end")
	})
}

// TestPurgeSkipsUnreadableRecords: an unreadable record does not stop the others from being deleted, and is reported.
func TestPurgeSkipsUnreadableRecords(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f.purges(0)
		good, bad := f.accepted("good"), f.accepted("bad")
		f.Cancel(t.Context(), good)
		f.Cancel(t.Context(), bad)
		f.ages(8)
		f.db.Set(t.Context(), ledger.RecordPrefix(f.shard)+bad, "no record", 0)
		n, err := f.Purge(t.Context(), f.shard)
		if n != 1 || !errors.Is(err, record.ErrFormat) || !strings.Contains(err.Error(), bad) {
			t.Errorf("%d were forgotten, %v", n, err)
		}
		if !f.hasTombstone(good) {
			t.Error("the other one was not forgotten")
		}
		f.purges(0)
	})
}

// TestPurgeAfterAClockThatWasAhead: when Redis's clock has been set back, the hours that it was ahead of are
// gone through in their turn.
func TestPurgeAfterAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f.db.Set(t.Context(), store.Key(f.shard, "forgotten"), time.Now().Unix()/3600+24*30, 0)
		f.purges(0)
		id := f.accepted("k")
		f.Cancel(t.Context(), id)
		f.ages(8)
		f.purges(1)
		if !f.hasTombstone(id) {
			t.Error("it was not forgotten")
		}
	})
}

// TestPurgeOfMessagesTakenLate: a message that Meta took weeks after its acceptance, without a final status, is
// deleted like others, also if Meta's status had no id.
func TestPurgeOfMessagesTakenLate(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f.purges(0)
		ids := []string{f.accepted("scheduled"), f.accepted("without an id")}
		f.ages(80) // it was scheduled for then
		for _, id := range ids {
			f.edit(id, func(r *record.Record) { r.ExpiresAt = time.Now().Add(time.Hour) })
		}
		wamid := "wamid.1"
		for _, id := range ids {
			f.finished(f.begun(id, 0, "w/1"), message.Move{To: message.Submitted, WAMID: wamid})
			f.apply(report(id, 1, wamid, "sent"))
			wamid = ""
		}
		f.ages(33)
		f.purges(2)
		for _, id := range ids {
			if f.exists(id) {
				t.Errorf("%s is kept", id)
			}
		}
	})
}

// TestPurgeOfAReplayedDeadLetter: a dead letter that is sent again at this moment is not deleted.
func TestPurgeOfAReplayedDeadLetter(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f.purges(0)
		id := f.dead("k", used)
		f.ages(8)
		other := ledger.New(f.db, ledger.Options{})
		var once bool
		f.db.AddHook(beforeReadOf(ledger.RecordPrefix(f.shard)+id, func() {
			if !once {
				once = true
				if ok, err := other.Move(t.Context(), f.look(id), message.Move{To: message.Queued, Reason: message.ReasonReplayed}, nil); !ok || err != nil {
					t.Errorf("%t, %v", ok, err)
				}
			}
		}))
		if _, err := f.Purge(t.Context(), f.shard); err != nil {
			t.Fatal(err)
		}
		if !once || !f.hasPayload(id) {
			t.Error("it is gone")
		}
		f.wantState(id, message.Queued)
		f.wantConsistent("at the end")
	})
}

// TestPurgeAfterACrash: an hour whose list was gone through in part is gone through to its end, also by
// several workers at once, and several hours after a pause.
func TestPurgeAfterACrash(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f.Ledger = ledger.New(f.db, ledger.Options{KeyLife: -1})
		f.purges(0)
		const n = 350
		var all []ledger.Accepting
		for i := range n {
			m := newMessage(fmt.Sprint(i))
			m.Ref = ""
			all = append(all, f.accepting(m))
		}
		for _, r := range f.Accept(t.Context(), all) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		var reports []message.MarkedReport
		for _, a := range all {
			reports = append(reports, report(a.Message.ID, 1, "wamid."+a.Message.ID, "delivered"))
		}
		f.apply(reports...)
		// Some of them ended some hours later.
		for i, a := range all[:30] {
			f.edit(a.Message.ID, func(r *record.Record) {
				r.Timeline[len(r.Timeline)-1].At = r.Since().Add(time.Duration(i%3) * time.Hour)
			})
			list := f.db.Keys(t.Context(), store.Key(f.shard, "ended:*")).Val()[0]
			f.db.LRem(t.Context(), list, 1, a.Message.ID)
			later := f.read(a.Message.ID)
			f.db.RPush(t.Context(), store.Key(f.shard, fmt.Sprint("ended:", later.Since().Add(day).Unix()/3600)), a.Message.ID)
		}
		f.ages(3)

		// A worker dies: after it has dropped a hundred, before it has shortened the list.
		ctx, crash := context.WithCancel(t.Context())
		dies := f.db
		dies.AddHook(dyingAtTrim{crash})
		f.Purge(ctx, f.shard)
		if ctx.Err() == nil {
			t.Fatal("it did not come so far")
		}
		left := len(f.stored())
		if left == n || left == 0 {
			t.Errorf("%d of %d are left", left, n)
		}
		second := ledger.New(f.db, ledger.Options{KeyLife: -1})
		together(2, func(i int) {
			if _, err := []*ledger.Ledger{f.Ledger, second}[i].Purge(t.Context(), f.shard); err != nil {
				t.Error(err)
			}
		})
		if left := f.stored(); len(left) != 0 {
			t.Errorf("%d are left", len(left))
		}
		if lists := f.keys("ended:*"); len(lists) != 0 {
			t.Errorf("lists are left: %q", lists)
		}
	})
}

// dyingAtTrim ends the context of the first command that shortens a list.
type dyingAtTrim struct{ crash context.CancelFunc }

func (d dyingAtTrim) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d dyingAtTrim) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (d dyingAtTrim) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "ltrim" || cmd.Name() == "unlink" {
			d.crash()
			if ctx.Err() != nil {
				cmd.SetErr(ctx.Err())
				return ctx.Err()
			}
		}
		return next(ctx, cmd)
	}
}

// TestPurgeOfEntriesWithoutRecords: index and list entries that lead to no record are deleted, however many there are.
func TestPurgeOfEntriesWithoutRecords(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		f.purges(0)
		ctx := t.Context()
		long := time.Now().Add(-32 * day)
		for i := range 250 {
			f.db.ZAdd(ctx, store.Key(f.shard, "awaiting"), redis.Z{Score: float64(long.UnixMilli()), Member: message.NewID(number, fmt.Sprint(i))})
			f.db.HSet(ctx, store.Key(f.shard, "wamids:"+long.UTC().Format(time.DateOnly)), fmt.Sprint("name", i), message.NewID(number, fmt.Sprint(i)))
		}
		f.ages(0)
		f.db.Set(ctx, store.Key(f.shard, "forgotten"), time.Now().Unix()/3600-26, 0)
		f.purges(0)
		if n, keys := f.db.ZCard(ctx, store.Key(f.shard, "awaiting")).Val(), f.keys("wamids:*"); n != 0 || len(keys) != 0 {
			t.Errorf("%d await a status, %q are left", n, keys)
		}
	})
}

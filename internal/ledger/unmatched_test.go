package ledger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// appliedUnmatched looks at all reports that wait for their messages, an hour from now, and returns how many
// were applied.
func (f fixture) appliedUnmatched() int {
	f.t.Helper()
	n, _, err := f.ApplyUnmatched(f.t.Context(), f.shard, time.Now().Add(10*time.Minute))
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

// waiting counts the reports that wait for their messages.
func (f fixture) waiting() int64 {
	f.t.Helper()
	return f.db.ZCard(f.t.Context(), store.Key(f.shard, "orphans")).Val()
}

// TestUnmatchedStatuses: a status without a marker that comes before its wamid is known waits, once, and is applied as
// soon as the wamid is known.
func TestUnmatchedStatuses(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		e := report("", 0, "wamid.1", "failed")
		e.Code, e.Marker = 131049, "of another system"
		timeless := report("", 0, "wamid.1", "sent")
		timeless.At = time.Time{}
		for _, e := range []message.MarkedReport{e, e, timeless, report("", 0, "wamid.2", "sent")} {
			f.wantResult(message.Unmatched, e)
			time.Sleep(2 * time.Millisecond) // the same report comes at another time
		}
		if n := f.waiting(); n != 3 {
			t.Fatalf("%d reports wait, want 3", n)
		}
		rejoin := func(after time.Duration) (applied, dropped int) {
			t.Helper()
			applied, dropped, err := f.ApplyUnmatched(t.Context(), f.shard, time.Now().Add(after))
			if err != nil {
				t.Fatal(err)
			}
			return applied, dropped
		}
		if n, _ := rejoin(0); n != 0 {
			t.Errorf("before a second is over: %d are applied", n)
		}
		if n, _ := rejoin(time.Minute); n != 0 {
			t.Errorf("%d are applied before anybody knows the wamid", n)
		}

		for range 2 {
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		}
		if n, _ := rejoin(2 * time.Minute); n != 0 {
			t.Errorf("before three times as long is over: %d are applied", n)
		}
		if n, dropped := rejoin(5 * time.Minute); n != 2 || dropped != 0 {
			t.Errorf("applied: %d, want 2; dropped: %d", n, dropped)
		}
		if r := f.get(a.ID); r.State != message.Failed || r.Code != 131049 {
			t.Errorf("%+v", r)
		}
		f.wantChanges(a.ID, "queued 0  0 ", "submitted 1 wamid.1 0 ", "sent 1 wamid.1 0 ", "failed 1 wamid.1 131049 ")
		if n := f.waiting(); n != 1 {
			t.Errorf("%d wait on", n)
		}
		if n, dropped := rejoin(16 * time.Minute); n != 0 || dropped != 1 {
			t.Errorf("of a message that is not ours: %d applied, %d dropped", n, dropped)
		}
		if n := f.waiting() + f.db.ZCard(t.Context(), store.Key(f.shard, "orphans:since")).Val(); n != 0 {
			t.Errorf("after a quarter of an hour %d wait on", n)
		}
	})
}

// TestStatusesOfOtherEnvironmentsDoNotWait: what carries the marker of another environment finds a message by
// Meta's id, and is dropped where there is none.
func TestStatusesOfOtherEnvironmentsDoNotWait(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		known, unknown := report("", 0, "wamid.1", "sent"), report("", 0, "wamid.2", "sent")
		known.OtherEnvironment, unknown.OtherEnvironment = true, true
		f.wantResult(message.Applied, known)
		f.wantResult(message.OtherEnvironment, unknown)
		if n := f.waiting(); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

// TestUnmatchedStatusesAreBounded: a flood of statuses of another system's messages takes a limited amount of memory,
// and the latest stay, because their messages may be recorded soon.
func TestUnmatchedStatusesAreBounded(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		const most, all = 300, 1000
		f.Ledger = ledger.New(f.db, ledger.Options{UnmatchedMost: most})
		for i := range 10 {
			var some []message.MarkedReport
			for j := range all / 10 {
				some = append(some, report("", 0, fmt.Sprint("wamid.", i, ".", j), "sent"))
			}
			f.apply(some...)
			time.Sleep(2 * time.Millisecond) // they come later than those before
		}
		dropped, err := f.ApplyAllUnmatched(t.Context())
		if err != nil || dropped != all-most {
			t.Errorf("%d were dropped, %v; want %d", dropped, err, all-most)
		}
		if n, since := f.waiting(), f.db.ZCard(t.Context(), store.Key(f.shard, "orphans:since")).Val(); n != most || since != most {
			t.Errorf("%d wait, by when they came %d; want %d", n, since, most)
		}
		for _, text := range f.db.ZRange(t.Context(), store.Key(f.shard, "orphans"), 0, -1).Val() {
			if !strings.Contains(text, "wamid.9.") && !strings.Contains(text, "wamid.8.") && !strings.Contains(text, "wamid.7.") {
				t.Errorf("an early one stayed: %s", text)
			}
		}
		if dropped, err := f.ApplyAllUnmatched(t.Context()); err != nil || dropped != 0 {
			t.Errorf("once more: %d, %v", dropped, err)
		}
	})
}

// TestUnmatchedStatusInTheBatchThatNamesIt: the status with a marker after it names the message.
func TestUnmatchedStatusInTheBatchThatNamesIt(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		got := f.apply(report("", 0, "wamid.1", "read"), report(a.ID, 1, "wamid.1", "sent"))
		if want := []message.ApplyResult{message.Unmatched, message.Applied}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if n := f.appliedUnmatched(); n != 1 {
			t.Errorf("%d applied", n)
		}
		f.wantState(a.ID, message.Read)
	})
}

// TestUnmatchedStatusesOfOneShardAway: the unmatched statuses of a shard whose keys cannot be read, or whose server is
// away, keep those of no other shard waiting.
func TestUnmatchedStatusesOfOneShardAway(t *testing.T) {
	t.Parallel()
	// late returns an hour from now: everything that waits is due.
	late := func() time.Time { return time.Now().Add(10 * time.Minute) }
	waits := func(f fixture) (id string) {
		a := f.attempting("k")
		f.wantResult(message.Unmatched, report("", 0, "wamid.1", "delivered"))
		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		return a.ID
	}
	check := func(f fixture, id string) {
		t.Helper()
		f.db.UseClock(late)
		_, err := f.ApplyAllUnmatched(f.t.Context())
		if err == nil {
			f.t.Error("no error names the shard that is away")
		}
		f.wantState(id, message.Delivered)
	}
	on(t, func(t *testing.T, f fixture) {
		id := waits(f)
		for _, s := range message.DefaultShards.All() {
			if s != f.shard {
				f.db.Set(t.Context(), store.Key(s, "orphans"), "no sorted set", 0)
			}
		}
		check(f, id)
	})
	t.Run("in a Cluster", func(t *testing.T) {
		t.Parallel()
		c := redistest.StartCluster(t)
		for _, s := range c.Servers {
			s.Client().ConfigSet(t.Context(), "cluster-require-full-coverage", "no")
		}
		f := openFixture(t, c.URL())
		id := waits(f)
		mine := c.MasterOf(store.Key(f.shard, "orphans"))
		for _, s := range message.DefaultShards.All() {
			if key := store.Key(s, "orphans"); c.MasterOf(key) != mine {
				replica := c.ReplicaOf(key)
				replica.Kill()
				c.MasterOf(key).Kill()
				break
			}
		}
		check(f, id)
	})
}

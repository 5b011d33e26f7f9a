package events_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

func TestReadDeliversEveryEventOnceAndInOrder(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		for n := 0; n < 4500; n += 45 { // before a reader starts, and more than one read returns
			appendAll(t, s, statuses(numberA, n, n+45))
		}
		got := newSeen()
		stop := read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
			if shard != shards.Of(batch[0].Number) {
				t.Errorf("event of %s came as one of shard %s", batch[0].Number, shard)
			}
			if len(batch) > 500 {
				t.Errorf("a batch of %d", len(batch))
			}
			if also[events.AppliedKey(shard)] == "" || also[events.WatermarkKey(shard)] == "" || len(also) != 2 {
				t.Errorf("to be stored: %v", also)
			}
			return got.handle(ctx, shard, batch, also)
		})
		got.until(t, 4500)
		appendAll(t, s, append(statuses(numberA, 4500, 4600), statuses(numberB, 10_000, 10_010)...))
		all := got.until(t, 4610)
		a := slices.DeleteFunc(all, func(id string) bool { return len(id) > len("wamid.9999") })
		if !slices.Equal(a, wamids(0, 4600)) {
			t.Errorf("out of order or duplicated: %v", a)
		}
		applied(t, s)
		stop()
		if n := db.ZCard(t.Context(), "sluice:{s00}:readers").Val(); n != 0 {
			t.Errorf("%d readers are still registered", n)
		}
	})
}

// TestThePositionIsStoredWithWhatIsApplied: the handler stores it and returns true, else the reader stores it.
func TestThePositionIsStoredWithWhatIsApplied(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		shard := shards.Of(numberA)
		var stores atomic.Bool
		handled := make(chan map[string]string, 10)
		read(t, s, "one", func(_ context.Context, _ message.Shard, _ []message.Event, also map[string]string) (bool, error) {
			handled <- also
			return stores.Load(), nil
		})
		position := func() string { return db.Get(t.Context(), events.AppliedKey(shard)).Val() }
		appendAll(t, s, statuses(numberA, 0, 3))
		first := (<-handled)[events.AppliedKey(shard)]
		eventually(t, "stored", func() bool { return position() == first })
		// The reader does not store again what the handler has stored. It does so only with the watermark of the
		// idle shard.
		stores.Store(true)
		appendAll(t, s, statuses(numberA, 3, 4))
		second := (<-handled)[events.AppliedKey(shard)]
		last := db.XRevRangeN(t.Context(), events.MetaKey(shard), "+", "-", 1).Val()[0].ID
		if second != last || second == first {
			t.Errorf("position %s, the last entry is %s", second, last)
		}
		applied(t, s)
	})
}

// TestAReaderThatDiesAfterItsApplying: events that were applied, but whose position was not stored, come again to
// the next reader, and no other events do.
func TestAReaderThatDiesAfterItsApplying(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		appendAll(t, s, statuses(numberA, 0, 10))
		got := newSeen()
		stop := read(t, s, "one", got.handle)
		got.until(t, 10)
		applied(t, s)
		stop()
		appendAll(t, s, statuses(numberA, 10, 20))
		var dying seen
		died := make(chan struct{}, 1)
		stop = read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
			dying.handle(ctx, shard, batch, also)
			select {
			case died <- struct{}{}:
			default:
			}
			return false, context.Canceled
		})
		<-died
		stop()
		if first := dying.all()[:10]; !slices.Equal(first, wamids(10, 20)) {
			t.Errorf("it read %v", first)
		}
		read(t, s, "another", got.handle)
		if all := got.until(t, 20); !slices.Equal(all, wamids(0, 20)) {
			t.Errorf("got %v", all)
		}
	})
}

// TestTwoReadersOfOneShard: each event is applied at least once, and both readers reach the end.
func TestTwoReadersOfOneShard(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	got := newSeen()
	s := events.New(db, shards, events.Options{})
	for _, name := range []string{"one", "two"} {
		run(t, func(ctx context.Context) error {
			s.ReadAmong(ctx, events.NewMembers(name, name), got.handle)
			return nil
		})
	}
	for n := 0; n < 1000; n += 50 {
		appendAll(t, s, statuses(numberA, n, n+50))
	}
	eventually(t, "all events", func() bool {
		all := got.all()
		slices.Sort(all)
		return len(slices.Compact(all)) == 1000
	})
	applied(t, s)
	if n := db.XLen(t.Context(), events.DeadKey(shards.Of(numberA))).Val(); n != 0 {
		t.Errorf("%d entries are dead", n)
	}
	passed(t, s, db)
}

// TestAShardThatWasElsewhere: a reader that gets a shard back continues at the position of the other reader.
func TestAShardThatWasElsewhere(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	shard := shards.Of(numberA)
	other := elsewhere("one", shard)
	members := events.NewMembers("one", "one")
	got := newSeen()
	run(t, func(ctx context.Context) error {
		s.ReadAmong(ctx, members, got.handle)
		return nil
	})
	appendAll(t, s, statuses(numberA, 0, 5))
	got.until(t, 5)
	applied(t, s)
	members.Set("one", other)
	// The reader may still be in a read that it began before. Its next read does not have this shard.
	eventually(t, "the reader no longer reads the shard", func() bool { return !events.Watches(s, shard) })
	appendAll(t, s, statuses(numberA, 5, 10))
	last := db.XRevRangeN(t.Context(), events.MetaKey(shard), "+", "-", 1).Val()[0].ID
	if err := db.Set(t.Context(), events.AppliedKey(shard), last, 0).Err(); err != nil {
		t.Fatal(err)
	}
	members.Set("one")
	appendAll(t, s, statuses(numberA, 10, 12))
	if all := got.until(t, 7); !slices.Equal(all, append(wamids(0, 5), wamids(10, 12)...)) {
		t.Errorf("got %v", all)
	}
}

// elsewhere returns the name of a reader that is preferred to name for a shard.
func elsewhere(name string, shard message.Shard) string {
	for i := 0; ; i++ {
		if other := "other" + strconv.Itoa(i); message.Rank(name, []string{name, other}, shard.String()) == 1 {
			return other
		}
	}
}

// A shard whose events fail, or are applied slowly, delays no other shard.
func TestAShardThatIsStuckKeepsNoOtherWaiting(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	got := newSeen()
	stuck, began := make(chan struct{}), make(chan struct{})
	read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
		if shard == shards.Of(numberB) {
			close(began)
			<-stuck
			return false, nil
		}
		return got.handle(ctx, shard, batch, also)
	})
	appendAll(t, s, statuses(numberB, 0, 1))
	<-began
	for n := range 3 {
		appendAll(t, s, statuses(numberA, n, n+1))
		got.until(t, n+1)
	}
	if lag := s.Lag(); lag <= 0 {
		t.Errorf("lag %s", lag)
	}
	eventually(t, "only the other shard is behind", func() bool {
		n, err := s.Behind(t.Context())
		return n == 1 && err == nil
	})
	close(stuck)
	applied(t, s)
}

// After a restart Redis may have lost the last writes. So the reader reads the position from Redis again, and
// applies the events of the last minute again, but no older ones.
func TestReadGoesOnAfterRedisWasAwayOrEmptied(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	db := open(t, server.Client())
	s := events.New(db, shards, events.Options{})
	got := newSeen()
	read(t, s, "one", got.handle)
	old := time.Now().Add(-10 * time.Minute).UnixMilli()
	add(t, db, events.MetaKey(shards.Of(numberA)), fmt.Sprintf("%d-0", old), events.Field, line(numberA, 99))
	got.until(t, 1)
	appendAll(t, s, statuses(numberA, 0, 5))
	got.until(t, 6)
	passed(t, s, db)
	server.Kill()
	if err := s.Append(t.Context(), statuses(numberA, 100, 101)); err == nil {
		t.Error("Append returned nil while Redis was down")
	}
	server.Restart()
	appendAll(t, s, statuses(numberA, 5, 10))
	eventually(t, "all events after the restart", func() bool { return slices.Contains(got.all(), "wamid.9") })
	applied(t, s)
	times := func(id string) (n int) {
		for _, x := range got.all() {
			if x == id {
				n++
			}
		}
		return n
	}
	if times("wamid.0") != 2 || times("wamid.99") != 1 {
		t.Errorf("an event from just before the restart was applied %d times, an older one %d times", times("wamid.0"), times("wamid.99"))
	}
	if err := db.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, statuses(numberA, 10, 15))
	eventually(t, "all events after the flush", func() bool { return slices.Contains(got.all(), "wamid.14") })
	for _, id := range wamids(0, 15) {
		if !slices.Contains(got.all(), id) {
			t.Errorf("%s is missing", id)
		}
	}
}

// passed waits until the watermark is after all events.
func passed(t *testing.T, s *events.Stream, db *store.DB) {
	t.Helper()
	applied(t, s)
	now, err := db.Now(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the watermark increases", func() bool {
		w, err := s.Watermark(t.Context(), shards.Of(numberA))
		return err == nil && w.After(now)
	})
}

// An idle reader must send few commands to Redis.
func TestIdleReadersAskSeldom(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	db := open(t, server.Client())
	s := events.New(db, message.DefaultShards, events.Options{})
	got := newSeen()
	read(t, s, "one", got.handle)
	appendAll(t, s, statuses(numberA, 0, 1))
	got.until(t, 1)
	commands := func() int {
		var n int
		if _, err := fmt.Sscan(db.InfoMap(context.Background(), "stats").Item("Stats", "total_commands_processed"), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before, began := commands(), time.Now()
	time.Sleep(2 * time.Second) // the time of the measurement
	perSecond := (commands() - before) / int(time.Since(began)/time.Second)
	t.Logf("%d commands a second", perSecond)
	if perSecond > 20 {
		t.Errorf("%d commands a second", perSecond)
	}
}

// TestAFullRedis: it stores the position, because entries that are not applied cannot be trimmed.
func TestAFullRedis(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	appendAll(t, s, statuses(numberA, 0, 3))
	if err := db.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	got := newSeen()
	read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
		once.Do(func() {
			if err := s.Append(ctx, statuses(numberA, 9, 10)); err == nil {
				t.Error("Redis is not full")
			}
		})
		return got.handle(ctx, shard, batch, also)
	})
	got.until(t, 3)
	applied(t, s)
}

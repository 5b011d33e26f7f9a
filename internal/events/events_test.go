package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const (
	group   = "reconcile"
	numberA = "106540352242922"
)

// shards is small so that a test sees every shard and leaves few connections.
const shards message.Shards = 2

var numberB = otherShard(numberA)

func otherShard(number string) string {
	for i := 1; ; i++ {
		if n := strconv.Itoa(i); shards.Of(n) != shards.Of(number) {
			return n
		}
	}
}

// on runs a test on a real Redis and on the one that the demo carries with it.
func on(t *testing.T, f func(t *testing.T, db *store.DB)) {
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		f(t, open(t, redistest.Client(t)))
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), DisableIdentity: true})
		t.Cleanup(func() { c.Close() })
		f(t, open(t, c))
	})
}

func open(t testing.TB, c redis.UniversalClient) *store.DB {
	t.Helper()
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func status(number string, n int) message.Event {
	return message.Event{
		Version: 1, Type: message.EventStatus, At: 1750030073000, Number: number,
		Receipt: &message.Receipt{Number: number, WAMID: fmt.Sprintf("wamid.%d", n), Status: "sent"},
	}
}

func statuses(number string, from, to int) []message.Event {
	var all []message.Event
	for n := from; n < to; n++ {
		all = append(all, status(number, n))
	}
	return all
}

// seen collects what a handler was given.
type seen struct {
	mu     sync.Mutex
	wamids []string
	wake   chan struct{}
}

func newSeen() *seen { return &seen{wake: make(chan struct{}, 1)} }

func (s *seen) handle(_ context.Context, _ message.Shard, batch []message.Event) error {
	s.mu.Lock()
	for _, e := range batch {
		s.wamids = append(s.wamids, e.Receipt.WAMID)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wamids)
}

// until waits for n events.
func (s *seen) until(t *testing.T, n int) []string {
	t.Helper()
	for late := time.After(20 * time.Second); ; {
		if all := s.all(); len(all) >= n {
			return all
		}
		select {
		case <-s.wake:
		case <-late:
			t.Fatalf("%d of %d events after 20 s", len(s.all()), n)
		}
	}
}

// consume runs a consumer until the test or stop ends it.
func consume(t *testing.T, s *events.Stream, name string, h events.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Consume(ctx, group, name, nil, h) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Consume: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func appendAll(t *testing.T, s *events.Stream, all []message.Event) {
	t.Helper()
	if err := s.Append(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

func pending(t *testing.T, db *store.DB, number string) int64 {
	t.Helper()
	p, err := db.XPending(context.Background(), shards.Of(number).StreamKey(), group).Result()
	if err != nil {
		t.Fatal(err)
	}
	return p.Count
}

// eventually waits for what Redis shows only when asked.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func wamids(from, to int) []string {
	var all []string
	for n := from; n < to; n++ {
		all = append(all, fmt.Sprintf("wamid.%d", n))
	}
	return all
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConsumeHandsOverEveryEventOnceAndInOrder(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		appendAll(t, s, statuses(numberA, 0, 450)) // before the group exists, more than two batches
		got := newSeen()
		stop := consume(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event) error {
			if shard != shards.Of(batch[0].Number) {
				t.Errorf("event of %s came as one of shard %s", batch[0].Number, shard)
			}
			if len(batch) > 200 {
				t.Errorf("a batch of %d", len(batch))
			}
			return got.handle(ctx, shard, batch)
		})
		got.until(t, 450)
		appendAll(t, s, append(statuses(numberA, 450, 460), statuses(numberB, 1000, 1010)...))
		all := got.until(t, 470)
		a := slices.DeleteFunc(all, func(id string) bool { return len(id) > len("wamid.999") })
		if !slices.Equal(a, wamids(0, 460)) {
			t.Errorf("out of order or doubled: %v", a)
		}
		eventually(t, "all acknowledged", func() bool { return pending(t, db, numberA)+pending(t, db, numberB) == 0 })
		stop()
		for _, n := range []string{numberA, numberB} {
			c, err := db.XInfoConsumers(t.Context(), shards.Of(n).StreamKey(), group).Result()
			if err != nil || len(c) != 0 {
				t.Errorf("consumers left behind: %v, %v", c, err)
			}
		}
	})
}

func TestConsumersShareWithoutDoubling(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	got := newSeen()
	consume(t, s, "one", got.handle)
	consume(t, s, "two", got.handle)
	for n := 0; n < 1000; n += 50 {
		appendAll(t, s, statuses(numberA, n, n+50))
	}
	got.until(t, 1000)
	eventually(t, "all acknowledged", func() bool { return pending(t, db, numberA) == 0 })
	all := got.all()
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != 1000 || len(got.all()) != 1000 {
		t.Errorf("%d events handled, %d of them different; want 1000 of each", len(got.all()), n)
	}
}

// A consumer that dies holds entries that nobody else may have until they have been idle.
func TestEntriesOfADeadConsumerAreTakenOver(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{MinIdle: 300 * time.Millisecond})
		appendAll(t, s, statuses(numberA, 0, 30))
		key := shards.Of(numberA).StreamKey()
		if err := db.XGroupCreateMkStream(t.Context(), key, group, "0").Err(); err != nil {
			t.Fatal(err)
		}
		err := db.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: group, Consumer: "dead", Streams: []string{key, ">"}, Count: 20}).Err()
		if err != nil {
			t.Fatal(err)
		}
		got := newSeen()
		consume(t, s, "alive", got.handle)
		if first := got.until(t, 10)[:10]; !slices.Equal(first, wamids(20, 30)) {
			t.Errorf("first came %v, want what nobody held", first)
		}
		if all := got.until(t, 30); !slices.Equal(all[10:], wamids(0, 20)) {
			t.Errorf("then came %v, want what the dead consumer held", all[10:])
		}
		eventually(t, "all acknowledged", func() bool { return pending(t, db, numberA) == 0 })
	})
}

func TestAConsumerThatComesBackTakesUpItsOwnAtOnce(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{MinIdle: time.Hour})
	appendAll(t, s, statuses(numberA, 0, 10))
	key := shards.Of(numberA).StreamKey()
	if err := db.XGroupCreateMkStream(t.Context(), key, group, "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := db.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: group, Consumer: "one", Streams: []string{key, ">"}, Count: 5}).Err(); err != nil {
		t.Fatal(err)
	}
	got := newSeen()
	consume(t, s, "one", got.handle)
	if all := got.until(t, 10); !slices.Equal(all, wamids(0, 10)) {
		t.Errorf("got %v", all)
	}
}

// One event that always fails must not keep others waiting for long, and must not be lost.
func TestPoisonGoesToTheDeadStream(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		appendAll(t, s, statuses(numberA, 0, 50))
		got := newSeen()
		var mu sync.Mutex
		tries := 0
		consume(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event) error {
			for _, e := range batch {
				if e.Receipt.WAMID == "wamid.7" {
					mu.Lock()
					tries++
					mu.Unlock()
					return errors.New("cannot be folded")
				}
			}
			return got.handle(ctx, shard, batch)
		})
		if all := got.until(t, 49); !slices.Equal(all, slices.Concat(wamids(0, 7), wamids(8, 50))) {
			t.Errorf("got %v", all)
		}
		dead := events.DeadKey(shards.Of(numberA))
		eventually(t, "a dead entry", func() bool { return db.XLen(t.Context(), dead).Val() == 1 })
		entry := db.XRange(t.Context(), dead, "-", "+").Val()[0].Values
		original := db.XRangeN(t.Context(), shards.Of(numberA).StreamKey(), "-", "+", 8).Val()[7]
		if entry["id"] != original.ID || entry["group"] != group || entry["event"] != original.Values["event"] {
			t.Errorf("dead entry %v, want it made of %v", entry, original)
		}
		eventually(t, "all acknowledged", func() bool { return pending(t, db, numberA) == 0 })
		mu.Lock()
		defer mu.Unlock()
		if tries != 5 {
			t.Errorf("tried %d times, want 5", tries)
		}
	})
}

// When the store is away it is no event's fault: nothing dies, and all is handled after it.
func TestAnOutageBuriesNothing(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	appendAll(t, s, statuses(numberA, 0, 20))
	got := newSeen()
	var mu sync.Mutex
	outages := 0
	consume(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event) error {
		mu.Lock()
		outages++
		n := outages
		mu.Unlock()
		if n <= 6 {
			return fmt.Errorf("fold: %w", context.DeadlineExceeded)
		}
		return got.handle(ctx, shard, batch)
	})
	if all := got.until(t, 20); !slices.Equal(all, wamids(0, 20)) {
		t.Errorf("got %v", all)
	}
	if n := db.XLen(t.Context(), events.DeadKey(shards.Of(numberA))).Val(); n != 0 {
		t.Errorf("%d entries buried", n)
	}
}

func TestUnreadableEntriesGoToTheDeadStream(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		key := shards.Of(numberA).StreamKey()
		for _, values := range [][]string{{"event", "{"}, {"other", "field"}} {
			if err := db.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: values}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		appendAll(t, s, statuses(numberA, 0, 3))
		got := newSeen()
		consume(t, s, "one", got.handle)
		if all := got.until(t, 3); !slices.Equal(all, wamids(0, 3)) {
			t.Errorf("got %v", all)
		}
		eventually(t, "all acknowledged", func() bool { return pending(t, db, numberA) == 0 })
		dead := db.XRange(t.Context(), events.DeadKey(shards.Of(numberA)), "-", "+").Val()
		if len(dead) != 2 || dead[0].Values["event"] != "{" || dead[1].Values["other"] != "field" || dead[1].Values["why"] != "unreadable" {
			t.Errorf("dead: %v", dead)
		}
	})
}

func TestConsumeGoesOnAfterRedisWasAwayOrEmptied(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	db := open(t, server.Client())
	s := events.New(db, shards, events.Options{})
	got := newSeen()
	consume(t, s, "one", got.handle)
	appendAll(t, s, statuses(numberA, 0, 5))
	got.until(t, 5)
	eventually(t, "all acknowledged", func() bool { return pending(t, db, numberA) == 0 })
	server.Kill()
	if err := s.Append(t.Context(), statuses(numberA, 100, 101)); err == nil {
		t.Error("Append returned nil with Redis away")
	}
	server.Restart()
	appendAll(t, s, statuses(numberA, 5, 10))
	eventually(t, "all after the restart", func() bool { return slices.Contains(got.all(), "wamid.9") })
	if err := db.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, statuses(numberA, 10, 15))
	eventually(t, "all after the flush", func() bool { return slices.Contains(got.all(), "wamid.14") })
	for _, id := range wamids(0, 15) {
		if !slices.Contains(got.all(), id) {
			t.Errorf("%s is missing", id)
		}
	}
}

// On a Cluster the shards lie in different slots: no command and no script may reach over two.
func TestEverythingWorksOnACluster(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--cluster-enabled", "yes")
	if err := server.Client().Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	eventually(t, "a cluster", func() bool { return c.Set(t.Context(), "probe", 1, 0).Err() == nil })
	db := open(t, c)
	s := events.New(db, shards, events.Options{Retention: time.Millisecond, MaxLen: 100, MinIdle: 300 * time.Millisecond})
	appendAll(t, s, append(statuses(numberA, 0, 300), statuses(numberB, 300, 600)...))
	got := newSeen()
	fails := true
	stop := consume(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event) error {
		if shard == shards.Of(numberB) && fails {
			fails = false
			return errors.New("once")
		}
		return got.handle(ctx, shard, batch)
	})
	got.until(t, 600)
	eventually(t, "all acknowledged", func() bool { return pending(t, db, numberA)+pending(t, db, numberB) == 0 })
	stop()
	if age, err := s.PublishWatermark(t.Context(), group); err != nil || age != 0 {
		t.Errorf("watermark: age %v, %v", age, err)
	}
	for range 5 {
		if err := s.Trim(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{numberA, numberB} {
		if l := db.XLen(t.Context(), shards.Of(n).StreamKey()).Val(); l > 100 {
			t.Errorf("%d entries left after trimming", l)
		}
	}
	appendAll(t, s, statuses(numberA, 600, 601))
	enough := errors.New("enough")
	err := s.Follow(t.Context(), "0", func(e message.Event) error {
		if e.Receipt.WAMID == "wamid.600" {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("Follow: %v", err)
	}
}

func TestAppendReportsEachFailedEntry(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	if err := db.Set(t.Context(), shards.Of(numberB).StreamKey(), "not a stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), []message.Event{status(numberA, 1), status(numberB, 2), status(numberA, 3)}); err == nil {
		t.Error("one of three could not be written, and Append returned nil")
	}
	if err := s.Append(t.Context(), nil); err != nil {
		t.Errorf("nothing to append: %v", err)
	}
}

func TestAppendChoosesTheShard(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	appendAll(t, s, []message.Event{
		{Type: message.EventUpdate, Number: numberA, WABA: numberB, Meta: json.RawMessage(`{"a": "<as it came>"}`)},
		{Type: message.EventUpdate, WABA: numberB},
	})
	for _, n := range []string{numberA, numberB} {
		entries := db.XRange(t.Context(), shards.Of(n).StreamKey(), "-", "+").Val()
		if len(entries) != 1 {
			t.Errorf("%d entries in the shard of %s, want 1", len(entries), n)
		}
	}
	first := db.XRange(t.Context(), shards.Of(numberA).StreamKey(), "-", "+").Val()[0].Values["event"]
	if want := fmt.Sprintf(`{"v":1,"type":"update","at":0,"number":%q,"waba":%q,"meta":{"a": "<as it came>"}}`, numberA, numberB); first != want {
		t.Errorf("entry %s, want %s", first, want)
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	if err := s.Quarantine(t.Context(), make([]byte, 100_000), "not JSON"); err != nil {
		t.Fatal(err)
	}
	first := db.XRange(t.Context(), events.QuarantineKey(), "-", "+").Val()[0].Values
	if body := first["body"].(string); len(body) != 64<<10 || first["bytes"] != "100000" || first["why"] != "not JSON" {
		t.Errorf("kept %d bytes, said %v because %v", len(body), first["bytes"], first["why"])
	}
	for range 1500 {
		if err := s.Quarantine(t.Context(), []byte("x"), "not JSON"); err != nil {
			t.Fatal(err)
		}
	}
	if n := db.XLen(t.Context(), events.QuarantineKey()).Val(); n < 1000 || n > 1200 {
		t.Errorf("%d bodies kept, want about 1000", n)
	}
}

func TestWatermark(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		shard := shards.Of(numberA)
		key := shard.StreamKey()
		published := func() time.Time {
			t.Helper()
			if _, err := s.PublishWatermark(t.Context(), group); err != nil {
				t.Fatal(err)
			}
			w, err := s.Watermark(t.Context(), shard)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		add := func(id string) {
			t.Helper()
			if err := db.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: id, Values: []string{"event", "{}"}}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		read := func(n int64) {
			t.Helper()
			if err := db.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: group, Consumer: "c", Streams: []string{key, ">"}, Count: n}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		ack := func(ids ...string) {
			t.Helper()
			if err := db.XAck(t.Context(), key, group, ids...).Err(); err != nil {
				t.Fatal(err)
			}
		}

		if w, err := s.Watermark(t.Context(), shard); err != nil || !w.IsZero() {
			t.Errorf("never published: %v, %v", w, err)
		}
		add("1000-0")
		if w := published(); w.UnixMilli() != 0 {
			t.Errorf("no group: %v, want 0", w.UnixMilli())
		}
		if err := db.XGroupCreateMkStream(t.Context(), key, group, "0").Err(); err != nil {
			t.Fatal(err)
		}
		if w := published(); w.UnixMilli() != 0 {
			t.Errorf("nothing read: %v, want 0", w.UnixMilli())
		}
		add("2000-0")
		add("2000-1")
		add("3000-0")
		read(2)
		if w := published(); w.UnixMilli() != 1000 {
			t.Errorf("the first is pending: %v, want 1000", w.UnixMilli())
		}
		ack("1000-0")
		if w := published(); w.UnixMilli() != 2000 {
			t.Errorf("the second is pending: %v, want 2000", w.UnixMilli())
		}
		ack("2000-0")
		if w := published(); w.UnixMilli() != 2000 {
			t.Errorf("the third, of the same time, is unread: %v, want 2000", w.UnixMilli())
		}
		read(2)
		ack("3000-0") // out of order
		if w := published(); w.UnixMilli() != 2000 {
			t.Errorf("the third is pending: %v, want 2000", w.UnixMilli())
		}
		ack("2000-1")
		before, err := db.Now(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		idle := published()
		if idle.Before(before.Truncate(time.Millisecond)) || idle.After(before.Add(10*time.Second)) {
			t.Errorf("idle: %v, want now, %v", idle, before)
		}
		add("4000-0") // what arrives now has a later id; this one shows that the mark is kept
		if w := published(); !w.Equal(idle) {
			t.Errorf("lagging again: %v, want it kept at %v", w, idle)
		}
		read(1)
		ack("4000-0")
		add("4000-1")
		if err := db.Del(t.Context(), events.WatermarkKey(shard)).Err(); err != nil {
			t.Fatal(err)
		}
		if w := published(); w.UnixMilli() != 4000 {
			t.Errorf("the newest, of the same time as the last read, is unread: %v, want 4000", w.UnixMilli())
		}
		future := time.Now().Add(time.Hour).UnixMilli()
		if err := db.Set(t.Context(), events.WatermarkKey(shard), future, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if w := published(); w.UnixMilli() != 4000 {
			t.Errorf("after a clock that ran ahead: %v, want 4000", w.UnixMilli())
		}
	})
}

func TestPublishWatermarkTellsTheOldestAge(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	if age, err := s.PublishWatermark(t.Context(), group); err != nil || age != 0 {
		t.Errorf("nothing there: age %v, %v", age, err)
	}
	now, err := db.Now(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		number string
		ago    time.Duration
	}{{numberA, time.Minute}, {numberB, time.Hour}} {
		key := shards.Of(x.number).StreamKey()
		id := fmt.Sprintf("%d-0", now.Add(-x.ago).UnixMilli())
		if err := db.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: id, Values: []string{"event", "{}"}}).Err(); err != nil {
			t.Fatal(err)
		}
		if err := db.XGroupCreateMkStream(t.Context(), key, group, "0").Err(); err != nil {
			t.Fatal(err)
		}
		if err := db.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: group, Consumer: "c", Streams: []string{key, ">"}}).Err(); err != nil {
			t.Fatal(err)
		}
		db.Del(t.Context(), events.WatermarkKey(shards.Of(x.number)))
	}
	if age, err := s.PublishWatermark(t.Context(), group); err != nil || math.Abs((age-time.Hour).Minutes()) > 1 {
		t.Errorf("age %v, %v; want an hour", age, err)
	}
}

func TestTrimDropsOnlyWhatIsHandled(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		const n = 3000
		key := shards.Of(numberA).StreamKey()
		short := events.New(db, shards, events.Options{Retention: time.Millisecond, MaxLen: 100})
		long := events.New(db, shards, events.Options{Retention: time.Hour, MaxLen: 1000})
		appendAll(t, long, statuses(numberA, 0, n))
		length := func() int64 {
			t.Helper()
			l, err := db.XLen(t.Context(), key).Result()
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		trim := func(s *events.Stream) {
			t.Helper()
			if err := s.Trim(t.Context(), group); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Millisecond) // all are older than the short retention now
		trim(short)
		if l := length(); l != n {
			t.Fatalf("no group yet: %d left of %d", l, n)
		}
		if err := db.XGroupCreateMkStream(t.Context(), key, group, "0").Err(); err != nil {
			t.Fatal(err)
		}
		trim(short)
		if l := length(); l != n {
			t.Fatalf("nothing read yet: %d left of %d", l, n)
		}
		x, err := db.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: group, Consumer: "c", Streams: []string{key, ">"}, Count: n}).Result()
		if err != nil {
			t.Fatal(err)
		}
		trim(short)
		if l := length(); l != n {
			t.Fatalf("all pending: %d left of %d", l, n)
		}
		var ids []string
		for _, m := range x[0].Messages {
			ids = append(ids, m.ID)
		}
		if err := db.XAck(t.Context(), key, group, ids[:n-500]...).Err(); err != nil {
			t.Fatal(err)
		}
		trim(long)
		if l := length(); l < 1000 || l > 1200 {
			t.Errorf("young, handled: %d left, want the 1000 kept", l)
		}
		trim(short)
		if l := length(); l < 500 || l > 700 {
			t.Errorf("500 pending: %d left", l)
		}
		if oldest := db.XRange(t.Context(), key, ids[n-500], ids[n-500]).Val(); len(oldest) != 1 {
			t.Error("a pending entry was trimmed")
		}
		if err := db.XAck(t.Context(), key, group, ids[n-500:]...).Err(); err != nil {
			t.Fatal(err)
		}
		trim(short)
		if l := length(); l > 100 {
			t.Errorf("old, all handled: %d left", l)
		}
	})
}

func TestFollow(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		for n := range 500 { // more than two pages, the shards unevenly filled
			number := numberA
			if n%50 == 0 {
				number = numberB
			}
			e := status(number, n)
			text := fmt.Sprintf(`{"v":1,"type":"status","at":1,"number":%q,"receipt":{"number":%q,"wamid":%q,"status":"sent"}}`, number, number, e.Receipt.WAMID)
			id := fmt.Sprintf("%d-0", 1000+n)
			if err := db.XAdd(t.Context(), &redis.XAddArgs{Stream: shards.Of(number).StreamKey(), ID: id, Values: []string{"event", text}}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		db.XAdd(t.Context(), &redis.XAddArgs{Stream: shards.Of(numberA).StreamKey(), Values: []string{"event", "{"}})
		enough := errors.New("enough")
		follow := func(from string, n int) (got []string) {
			t.Helper()
			err := s.Follow(t.Context(), from, func(e message.Event) error {
				if got = append(got, e.Receipt.WAMID); len(got) == n {
					return enough
				}
				return nil
			})
			if !errors.Is(err, enough) {
				t.Fatalf("Follow(%q): %v", from, err)
			}
			return got
		}
		for _, tt := range []struct {
			from string
			want []string
		}{
			{"0", wamids(0, 500)},
			{"1450", wamids(450, 500)},
			{"1450-0", wamids(451, 500)},
			{"1970-01-01T00:00:01.4Z", wamids(400, 500)},
		} {
			if got := follow(tt.from, len(tt.want)); !slices.Equal(got, tt.want) {
				t.Errorf("from %s: %v", tt.from, got)
			}
		}

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		started, fresh := make(chan struct{}), make(chan string, 1)
		done := make(chan error, 1)
		go func() {
			var once sync.Once
			done <- s.Follow(ctx, "$", func(e message.Event) error {
				if e.Receipt.Status == "probe" {
					once.Do(func() { close(started) })
					return nil
				}
				fresh <- e.Receipt.WAMID
				return nil
			})
		}()
		for following := false; !following; {
			probe := status(numberB, 0)
			probe.Receipt.Status = "probe"
			appendAll(t, s, []message.Event{probe})
			select {
			case <-started:
				following = true
			case <-time.After(20 * time.Millisecond):
			}
		}
		appendAll(t, s, statuses(numberA, 9000, 9001))
		if got := <-fresh; got != "wamid.9000" {
			t.Errorf("followed %s, want only what is new", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Follow after its context ended: %v", err)
		}

		for _, bad := range []string{"", "x", "-1", "1-", "1-2-3", "2026-13-01T00:00:00Z", "99999999999999999999"} {
			if err := s.Follow(t.Context(), bad, nil); err == nil {
				t.Errorf("from %q was taken", bad)
			}
		}
	})
}

// An idle consumer must cost Redis next to nothing.
func TestIdleConsumersAskSeldom(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	db := open(t, server.Client())
	s := events.New(db, message.DefaultShards, events.Options{})
	got := newSeen()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Consume(ctx, group, "one", nil, got.handle) }()
	appendAll(t, s, statuses(numberA, 0, 1))
	got.until(t, 1)
	commands := func() int {
		var n int
		if _, err := fmt.Sscan(db.InfoMap(context.Background(), "stats").Item("Stats", "total_commands_processed"), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := commands()
	time.Sleep(2 * time.Second) // the measure itself
	perSecond := (commands() - before) / 2
	t.Logf("%d commands a second", perSecond)
	if perSecond > 60 {
		t.Errorf("%d commands a second", perSecond)
	}
	cancel()
	<-done
}

func BenchmarkAppend(b *testing.B) {
	db := open(b, redistest.Client(b))
	s := events.New(db, message.DefaultShards, events.Options{})
	for _, n := range []int{1, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			all := make([]message.Event, n)
			for i := range all {
				all[i] = status(strconv.Itoa(1000+i%16), i)
			}
			for b.Loop() {
				if err := s.Append(b.Context(), all); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

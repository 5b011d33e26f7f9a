package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

func TestReadHandsOverEveryEventOnceAndInOrder(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		for n := 0; n < 4500; n += 45 { // before anybody reads, and more than one read holds
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
			t.Errorf("out of order or doubled: %v", a)
		}
		applied(t, s)
		stop()
		if n := db.ZCard(t.Context(), "sluice:{s00}:readers").Val(); n != 0 {
			t.Errorf("%d readers left behind", n)
		}
	})
}

// TestThePositionIsStoredWithWhatIsApplied: by the handler when it says so, else for it.
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
		// What the handler says to have stored is not stored once more: while nothing comes, it is
		// with the watermark.
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

// TestAReaderThatDiesAfterItsApplying: what was applied and not stored as such comes again, to
// whoever reads on, and nothing else does.
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

// TestTwoReadersOfOneShard: each event is applied at least once, and both come to the end.
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

// TestAShardThatWasElsewhere: a reader that has a shard again goes on where the other one was.
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
	// It may still be in the read that it began before; then it is back with another one, of which
	// this shard is none.
	mark := func() string { return db.Get(t.Context(), events.WatermarkKey(shard)).Val() }
	eventually(t, "the shard is left alone", func() bool {
		before := mark()
		time.Sleep(1500 * time.Millisecond) // an idle reader writes the mark each second
		return mark() == before
	})
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

// elsewhere is a reader that would read a shard before name does.
func elsewhere(name string, shard message.Shard) string {
	for i := 0; ; i++ {
		if other := "other" + strconv.Itoa(i); message.Rank(name, []string{name, other}, shard.String()) == 1 {
			return other
		}
	}
}

// One event that always fails must not keep others waiting for long, and must not be lost.
func TestPoisonGoesToTheDeadStream(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		for n := range 50 {
			appendAll(t, s, statuses(numberA, n, n+1))
		}
		got := newSeen()
		var tries atomic.Int32
		read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
			for _, e := range batch {
				if e.Report.WAMID == "wamid.7" {
					if len(batch) == 1 {
						tries.Add(1)
					}
					return false, fmt.Errorf("apply: %w", message.ErrUnreadable)
				}
			}
			return got.handle(ctx, shard, batch, also)
		})
		if all := got.until(t, 49); !slices.Equal(all, slices.Concat(wamids(0, 7), wamids(8, 50))) {
			t.Errorf("got %v", all)
		}
		applied(t, s)
		dead := db.XRange(t.Context(), events.DeadKey(shards.Of(numberA)), "-", "+").Val()
		original := db.XRangeN(t.Context(), events.MetaKey(shards.Of(numberA)), "-", "+", 8).Val()[7]
		if len(dead) != 1 || dead[0].Values["id"] != original.ID || dead[0].Values[events.Field] != original.Values[events.Field] {
			t.Errorf("dead: %v, want it made of %v", dead, original)
		}
		if n := tries.Load(); n != 5 {
			t.Errorf("tried %d times, want 5", n)
		}
	})
}

// Of an entry with several events only those are dead that fail.
func TestPoisonAmongOthersInAnEntry(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	appendAll(t, s, statuses(numberA, 0, 20))
	got := newSeen()
	read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
		for _, e := range batch {
			if id := e.Report.WAMID; id == "wamid.7" || id == "wamid.9" {
				return false, fmt.Errorf("apply: %w", message.ErrUnreadable)
			}
		}
		return got.handle(ctx, shard, batch, also)
	})
	applied(t, s)
	want := slices.DeleteFunc(wamids(0, 20), func(id string) bool { return id == "wamid.7" || id == "wamid.9" })
	if all := got.all(); !slices.Equal(all, want) {
		t.Errorf("got %v", all)
	}
	dead := db.XRange(t.Context(), events.DeadKey(shards.Of(numberA)), "-", "+").Val()
	if len(dead) != 1 {
		t.Fatalf("dead: %v", dead)
	}
	text := dead[0].Values[events.Field].(string)
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, `"wamid.7"`) || !strings.Contains(text, `"wamid.9"`) {
		t.Errorf("dead: %v", dead)
	}
}

// What is Redis's fault or ours is no event's: nothing dies, and all is handled after it.
func TestAnOutageBuriesNothing(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	appendAll(t, s, statuses(numberA, 0, 20))
	got := newSeen()
	faults := []error{
		context.DeadlineExceeded, errors.New("of ours"), reply("NOAUTH Authentication required."), reply("LOADING Redis is loading the dataset in memory"),
		reply("ERR max number of clients reached"), reply("NOSCRIPT No matching script."),
	}
	var n atomic.Int32
	read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
		if i := int(n.Add(1)) - 1; i < len(faults) {
			return false, fmt.Errorf("apply: %w", faults[i])
		}
		return got.handle(ctx, shard, batch, also)
	})
	if all := got.until(t, 20); !slices.Equal(all, wamids(0, 20)) {
		t.Errorf("got %v", all)
	}
	if n := db.XLen(t.Context(), events.DeadKey(shards.Of(numberA))).Val(); n != 0 {
		t.Errorf("%d entries are dead", n)
	}
}

// reply is an error that Redis answers.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

// Only scripts that fail and what cannot be read are an entry's fault.
func TestBlames(t *testing.T) {
	t.Parallel()
	var n int
	unreadable := json.Unmarshal([]byte(`"x"`), &n)
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{message.ErrUnreadable, true},
		{unreadable, true},
		{json.Unmarshal([]byte(`{`), &n), true},
		{reply("WRONGTYPE Operation against a key holding the wrong kind of value"), true},
		{reply("ERR user_script:3: attempt to compare nil with number script: 1f, on @user_script:3."), true},
		{reply("OOM command not allowed when used memory > 'maxmemory'. script: 1f, on @user_script:3."), false},
		{reply("ERR max number of clients reached"), false},
		{reply("NOREPLICAS Not enough good replicas to write."), false},
		{io.EOF, false},
		{errors.New("of ours"), false},
	} {
		if got := events.Blames(fmt.Errorf("apply: %w", tt.err)); got != tt.want {
			t.Errorf("%v: the entry is to blame %v, want %v", tt.err, got, tt.want)
		}
	}
}

// A shard whose events cannot be applied, or slowly, keeps no other one waiting.
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

// What cannot be read is dead at once; what stands beside it in its entry is applied.
func TestUnreadableEntriesGoToTheDeadStream(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		key := events.MetaKey(shards.Of(numberA))
		add(t, db, key, "*", events.Field, "{")
		add(t, db, key, "*", "other", "field")
		appendAll(t, s, statuses(numberA, 0, 2))
		add(t, db, key, "*", events.Field, line(numberA, 2)+"\n[1]\n"+line(numberA, 3))
		appendAll(t, s, statuses(numberA, 4, 6))
		got := newSeen()
		read(t, s, "one", got.handle)
		if all := got.until(t, 6); !slices.Equal(all, wamids(0, 6)) {
			t.Errorf("got %v", all)
		}
		applied(t, s)
		dead := db.XRange(t.Context(), events.DeadKey(shards.Of(numberA)), "-", "+").Val()
		if len(dead) != 3 || dead[0].Values[events.Field] != "{" || dead[1].Values["other"] != "field" ||
			dead[2].Values[events.Field] != "[1]" || dead[1].Values["why"] != "unreadable" {
			t.Errorf("dead: %v", dead)
		}
	})
}

// After a restart Redis may have lost what was applied last, and knows better than this process how
// far it was: the last minute is applied again, and nothing older.
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
		t.Error("Append returned nil with Redis away")
	}
	server.Restart()
	appendAll(t, s, statuses(numberA, 5, 10))
	eventually(t, "all after the restart", func() bool { return slices.Contains(got.all(), "wamid.9") })
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
		t.Errorf("applied %d times what was applied just before the restart, and %d times what is older", times("wamid.0"), times("wamid.99"))
	}
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

// passed waits until the reader has gone on after all there is.
func passed(t *testing.T, s *events.Stream, db *store.DB) {
	t.Helper()
	applied(t, s)
	now, err := db.Now(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the watermark goes on", func() bool {
		w, err := s.Watermark(t.Context(), shards.Of(numberA))
		return err == nil && w.After(now)
	})
}

// An idle reader must cost Redis next to nothing.
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
	before := commands()
	time.Sleep(2 * time.Second) // the measure itself
	perSecond := (commands() - before) / 2
	t.Logf("%d commands a second", perSecond)
	if perSecond > 20 {
		t.Errorf("%d commands a second", perSecond)
	}
}

func TestWatermark(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		shard := shards.Of(numberA)
		key := events.MetaKey(shard)
		mark := func() time.Time {
			t.Helper()
			w, err := s.Watermark(t.Context(), shard)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		if w := mark(); !w.IsZero() {
			t.Errorf("never written: %v", w)
		}
		if lag := s.Lag(); lag != 0 {
			t.Errorf("nobody reads: lag %s", lag)
		}
		// More than one read holds, at times of their own.
		for n := range 120 {
			add(t, db, key, fmt.Sprintf("%d-0", 1000*(n+1)), events.Field, line(numberA, n))
		}
		before, err := db.Now(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		steps, handled := make(chan struct{}), make(chan string)
		stop := read(t, s, "one", func(_ context.Context, _ message.Shard, batch []message.Event, also map[string]string) (bool, error) {
			if batch[0].Number == numberA {
				handled <- also[events.AppliedKey(shard)]
				<-steps
			}
			return false, nil
		})
		last := ""
		for last != "120000-0" {
			id := <-handled
			if last != "" {
				if w := mark(); w.UnixMilli() != ms(t, last) {
					t.Errorf("applied up to %s: %v", last, w.UnixMilli())
				}
			}
			last = id
			steps <- struct{}{}
		}
		eventually(t, "all is applied, and the mark is that of the last read", func() bool { return mark().After(before.Truncate(time.Millisecond)) })
		idle := mark()
		eventually(t, "it goes on while nothing comes", func() bool { return mark().Sub(idle) >= 2*time.Second })
		if ahead := time.Until(mark()); ahead > time.Second {
			t.Errorf("it is %s ahead", ahead)
		}
		if lag := s.Lag(); lag <= 0 || lag > 10*time.Second {
			t.Errorf("lag %s", lag)
		}
		// Entries may be from a clock that was wrong.
		future := time.Now().Add(time.Hour).UnixMilli()
		for n := range 120 {
			add(t, db, key, fmt.Sprintf("%d-%d", future, n), events.Field, line(numberA, n))
		}
		<-handled
		steps <- struct{}{}
		<-handled
		if ahead := time.Until(mark()); ahead > time.Minute {
			t.Errorf("after a clock that ran ahead the mark is %s ahead", ahead)
		}
		stood := mark()
		close(steps)
		go func() {
			for range handled {
			}
		}()
		eventually(t, "it goes on", func() bool { return mark().After(stood) })
		stop()
		close(handled)
		if lag := s.Lag(); lag != 0 {
			t.Errorf("nobody reads any more: lag %s", lag)
		}
	})
}

// ms is the time in an entry's id.
func ms(t *testing.T, id string) int64 {
	t.Helper()
	text, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTheWatermarkStandsWhileEventsFail: and goes on once they are applied.
func TestTheWatermarkStandsWhileEventsFail(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	var away atomic.Bool
	away.Store(true)
	failed := make(chan struct{}, 1)
	appendAll(t, s, statuses(numberA, 0, 3))
	arrived, err := db.Now(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	read(t, s, "one", func(context.Context, message.Shard, []message.Event, map[string]string) (bool, error) {
		if away.Load() {
			select {
			case failed <- struct{}{}:
			default:
			}
			return false, context.DeadlineExceeded
		}
		return false, nil
	})
	mark := func(number string) time.Time {
		w, err := s.Watermark(t.Context(), shards.Of(number))
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	for range 3 {
		<-failed
		if w := mark(numberA); w.After(arrived) {
			t.Fatalf("watermark %v although nothing was applied", w)
		}
	}
	eventually(t, "the other shard's goes on", func() bool { return mark(numberB).After(arrived) })
	if w := mark(numberA); w.After(arrived) {
		t.Fatalf("watermark %v although nothing was applied", w)
	}
	away.Store(false)
	eventually(t, "it goes on", func() bool { return mark(numberA).After(arrived) })
}

// TestAFullRedis: it takes the position, for what is not applied cannot be trimmed.
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
				t.Error("it is not full")
			}
		})
		return got.handle(ctx, shard, batch, also)
	})
	got.until(t, 3)
	applied(t, s)
}

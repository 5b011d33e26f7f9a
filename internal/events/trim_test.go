package events_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// trimmed trims and returns how many entries are left in a stream.
func trimmed(t *testing.T, s *events.Stream, db *store.DB, key string) int64 {
	t.Helper()
	if err := s.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := db.XLen(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// filled writes entries with a number of events each, and returns their ids.
func filled(t *testing.T, db *store.DB, key string, entries, eventsEach int) (ids []string) {
	t.Helper()
	text := line(numberA, 0)
	for range eventsEach - 1 {
		text += "\n" + line(numberA, 0)
	}
	var cmds []*redis.StringCmd
	err := db.Pipe(t.Context(), func(p redis.Pipeliner) {
		for range entries {
			cmds = append(cmds, p.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []string{events.Field, text}}))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cmds {
		ids = append(ids, c.Val())
	}
	return ids
}

func TestTrimDropsOnlyWhatIsApplied(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	const n = 3000
	shard := shards.Of(numberA)
	key := events.MetaKey(shard)
	short := events.New(db, shards, events.Options{Retention: time.Millisecond, MaxLen: 100})
	long := events.New(db, shards, events.Options{Retention: time.Hour, MaxLen: 1000})
	ids := filled(t, db, key, n, 1)
	time.Sleep(2 * time.Millisecond) // now all are older than the short retention
	apply := func(id string) {
		t.Helper()
		if err := db.Set(t.Context(), events.AppliedKey(shard), id, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if l := trimmed(t, short, db, key); l != n {
		t.Fatalf("no reader yet: %d left of %d", l, n)
	}
	apply("0-0")
	if l := trimmed(t, short, db, key); l != n {
		t.Fatalf("nothing applied yet: %d left of %d", l, n)
	}
	apply(ids[n-501])
	if l := trimmed(t, long, db, key); l < 950 || l > 1200 {
		t.Errorf("recent and applied: %d left, want 1000", l)
	}
	if l := trimmed(t, short, db, key); l < 500 || l > 700 {
		t.Errorf("500 not applied: %d left", l)
	}
	if oldest := db.XRange(t.Context(), key, ids[n-500], ids[n-500]).Val(); len(oldest) != 1 {
		t.Error("an entry that is not applied was dropped")
	}
	apply(ids[n-1])
	if l := trimmed(t, short, db, key); l > 100 {
		t.Errorf("old, all applied: %d left", l)
	}
}

// TestTrimByRetention: it works on miniredis too, which the demo uses.
func TestTrimByRetention(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		short := events.New(db, shards, events.Options{Retention: time.Millisecond})
		shard := shards.Of(numberA)
		ours, metas := events.MessageKey(shard), events.MetaKey(shard)
		filled(t, db, ours, 300, 1)
		ids := filled(t, db, metas, 300, 1)
		db.Set(t.Context(), events.AppliedKey(shard), ids[149], 0)
		time.Sleep(2 * time.Millisecond)
		if l := trimmed(t, short, db, ours); l > 100 {
			t.Errorf("%d message events left", l)
		}
		if l := db.XLen(t.Context(), metas).Val(); l < 150 || l > 250 {
			t.Errorf("%d events from Meta left, 150 are not applied", l)
		}
	})
}

// TestTrimCountsEvents: the limit is on events, not entries. It is approximate when entries have different numbers
// of events.
func TestTrimCountsEvents(t *testing.T) {
	t.Parallel()
	key := events.MessageKey(shards.Of(numberA))
	count := func(t *testing.T, db *store.DB) (n int) {
		t.Helper()
		for _, x := range db.XRange(t.Context(), key, "-", "+").Val() {
			all, err := events.Decode(x)
			if err != nil {
				t.Fatal(err)
			}
			n += len(all)
		}
		return n
	}
	for _, tt := range []struct {
		name       string
		older      int // entries, and the events in each
		olderEach  int
		newer      int
		newerEach  int
		least, max int
	}{
		{"single events", 6000, 1, 0, 1, 1900, 2200},
		{"twenty in each", 600, 20, 0, 1, 1900, 2200},
		{"first many, then single ones", 100, 20, 4000, 1, 1800, 2300},
		{"first single ones, then many", 4000, 1, 200, 20, 1800, 2300},
		{"few enough", 95, 20, 0, 1, 1900, 1900},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := open(t, redistest.Client(t))
			filled(t, db, key, tt.older, tt.olderEach)
			filled(t, db, key, tt.newer, tt.newerEach)
			s := events.New(db, shards, events.Options{MaxLen: 2000})
			trimmed(t, s, db, key)
			if n := count(t, db); n < tt.least || n > tt.max {
				t.Errorf("%d events left, want about 2000", n)
			}
		})
	}
}

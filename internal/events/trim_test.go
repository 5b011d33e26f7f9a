package events_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
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

// filled writes entries of a size, evenly over the time between two ages, and returns their ids.
func filled(t testing.TB, db *store.DB, key string, entries, size int, from, to time.Duration) (ids []string) {
	t.Helper()
	now, err := db.Now(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%*s", size, line(numberA, 0))
	err = db.Pipe(t.Context(), func(p redis.Pipeliner) {
		for i := range entries {
			age := from - (from-to)*time.Duration(i)/time.Duration(entries)
			ids = append(ids, fmt.Sprintf("%d-%d", now.Add(-age).UnixMilli(), i))
			p.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: ids[i], Values: []string{events.Field, text}})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// apply stores the position of the reconciler.
func apply(t *testing.T, db *store.DB, number, id string) {
	t.Helper()
	if err := db.Set(t.Context(), events.AppliedKey(shards.Of(number)), id, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestTrimDropsOnlyWhatIsApplied: also on miniredis, which the demo uses.
func TestTrimDropsOnlyWhatIsApplied(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		const n = 3000
		key, ours := events.MetaKey(shards.Of(numberA)), events.MessageKey(shards.Of(numberA))
		short := events.New(db, shards, events.Options{Retention: time.Minute})
		ids := filled(t, db, key, n, 150, 2*time.Hour, time.Hour)
		filled(t, db, ours, n, 150, 2*time.Hour, time.Hour)
		if l := trimmed(t, events.New(db, shards, events.Options{Retention: 3 * time.Hour}), db, ours); l != n {
			t.Fatalf("nothing is old: %d left of %d", l, n)
		}
		if l := trimmed(t, short, db, key); l != n {
			t.Fatalf("no reader yet: %d left of %d", l, n)
		}
		if l := db.XLen(t.Context(), ours).Val(); l > 100 {
			t.Errorf("%d message events left", l)
		}
		apply(t, db, numberA, "0-0")
		if l := trimmed(t, short, db, key); l != n {
			t.Fatalf("nothing applied yet: %d left of %d", l, n)
		}
		apply(t, db, numberA, ids[n-501])
		if l := trimmed(t, short, db, key); l < 500 || l > 600 {
			t.Errorf("500 not applied: %d left", l)
		}
		if oldest := db.XRange(t.Context(), key, ids[n-500], ids[n-500]).Val(); len(oldest) != 1 {
			t.Error("an entry that is not applied was dropped")
		}
		apply(t, db, numberA, ids[n-1])
		if l := trimmed(t, short, db, key); l > 100 {
			t.Errorf("old, all applied: %d left", l)
		}
	})
}

// TestOneReaderTrims: the reader of shard 0 trims all streams, and another one when it has stopped.
func TestOneReaderTrims(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	streams, stops := map[string]*events.Stream{}, map[string]func(){}
	for _, name := range []string{"one", "two"} {
		streams[name] = events.New(db, shards, events.Options{Retention: time.Minute})
		stops[name] = read(t, streams[name], name, func(context.Context, message.Shard, []message.Event, map[string]string) (bool, error) {
			return false, nil
		})
	}
	for _, s := range streams {
		eventually(t, "the readers know each other", func() bool { _, readers := events.Trims(s); return readers == 2 })
	}
	trims, other := "one", "two"
	if second, _ := events.Trims(streams["two"]); second {
		trims, other = other, trims
	}
	keys := []string{events.MessageKey(shards.Of(numberA)), events.MessageKey(shards.Of(numberB))}
	for _, key := range keys {
		filled(t, db, key, 300, 150, 2*time.Hour, time.Hour)
		if l := trimmed(t, streams[other], db, key); l != 300 {
			t.Errorf("the reader that does not trim left %d entries of %s", l, key)
		}
	}
	for _, key := range keys {
		if l := trimmed(t, streams[trims], db, key); l > 100 {
			t.Errorf("%d entries of %s left", l, key)
		}
		filled(t, db, key, 300, 150, 50*time.Minute, 40*time.Minute)
	}
	stops[trims]()
	eventually(t, "the other reader trims", func() bool { is, _ := events.Trims(streams[other]); return is })
	for _, key := range keys {
		if l := trimmed(t, streams[other], db, key); l > 100 {
			t.Errorf("after a takeover %d entries of %s left", l, key)
		}
	}
}

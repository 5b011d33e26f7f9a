package events_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestLags: how far Sluice and consumer groups are behind, over all streams.
func TestLags(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	lags := func() map[string]events.Lag {
		t.Helper()
		all, err := s.Lags(ctx)
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]events.Lag{}
		for _, l := range all {
			by[l.Group] = l
		}
		return by
	}
	want := func(group string, entries int, age time.Duration) {
		t.Helper()
		l, known := lags()[group]
		if !known || l.Entries != entries || l.Age < age || l.Age > age+time.Minute || age == 0 && l.Age != 0 {
			t.Errorf("%s: %d entries, %s (known: %t), want %d, %s", group, l.Entries, l.Age, known, entries, age)
		}
	}
	want("sluice", -1, 0)

	a, b := events.MetaKey(shards.Of(numberA)), events.MessageKey(shards.Of(numberB))
	ids := filled(t, db, a, 10, 10, 2*time.Hour, time.Hour)
	filled(t, db, b, 5, 10, 3*time.Hour, time.Hour)
	for _, key := range []string{a, b} {
		if err := db.XGroupCreate(ctx, key, "crm", "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	want("sluice", -1, 2*time.Hour)
	want("crm", 15, 3*time.Hour)

	read := func(key string, n int64) []redis.XMessage {
		t.Helper()
		x, err := db.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "crm", Consumer: "c", Streams: []string{key, ">"}, Count: n, Block: -1}).Result()
		if err != nil {
			t.Fatal(err)
		}
		return x[0].Messages
	}
	ack := func(key string, some []redis.XMessage) {
		for _, m := range some {
			if err := db.XAck(ctx, key, "crm", m.ID).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := read(b, 5)
	want("crm", 15, 3*time.Hour) // read, and not acknowledged
	ack(b, first)
	want("crm", 10, 2*time.Hour)
	ack(a, read(a, 10))
	want("crm", 0, 0)
	apply(t, db, numberA, ids[9])
	want("sluice", -1, 0)

	// A group that begins in the middle: Redis does not know how many entries it lacks until it has caught up.
	if err := db.XGroupCreate(ctx, a, "late", ids[4]).Err(); err != nil {
		t.Fatal(err)
	}
	if l := lags()["late"]; l.Entries != -1 || l.Age < time.Hour {
		t.Errorf("from the middle: %+v", l)
	}

	for i := range 25 {
		if err := db.XGroupCreate(ctx, a, fmt.Sprintf("g%02d", i), "$").Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.XGroupCreate(ctx, b, "zulu", "0").Err(); err != nil {
		t.Fatal(err)
	}
	all := lags()
	if len(all) != 22 {
		t.Errorf("%d groups, want Sluice, 20 and the others", len(all))
	}
	want("other", -1, 3*time.Hour)
	_, named := all["g18"]
	_, tooMany := all["g19"]
	if !named || tooMany {
		t.Errorf("the named groups are not the first 20: %v", all)
	}
}

// TestLagsWithoutGroups: also on miniredis, which the demo uses.
func TestLagsWithoutGroups(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		filled(t, db, events.MetaKey(shards.Of(numberA)), 3, 10, time.Hour, 0)
		all, err := s.Lags(t.Context())
		if err != nil || len(all) != 1 || all[0].Group != "sluice" || all[0].Age < time.Hour {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

package events_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/store"
)

// A group of somebody else's stops reading, and entries are dropped before it had read them.
// When it reads on it finds what it can still have, and then which entries it missed.
func TestASlowGroupFindsWhatItMissed(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		key := shards.Of(numberA).StreamKey()
		s := events.New(db, shards, events.Options{Retention: time.Hour, MaxLen: 100})
		for _, g := range []string{group, "crm", "quick"} {
			if err := db.XGroupCreateMkStream(t.Context(), key, g, "0").Err(); err != nil {
				t.Fatal(err)
			}
		}
		read := func(g string, n int64) []redis.XMessage {
			t.Helper()
			x, err := db.XReadGroup(t.Context(), &redis.XReadGroupArgs{
				Group: g, Consumer: "c", Streams: []string{key, ">"}, Count: n, Block: -1, NoAck: true,
			}).Result()
			if err != nil {
				t.Fatal(err)
			}
			return x[0].Messages
		}
		trim := func() {
			t.Helper()
			if err := s.Trim(t.Context(), group); err != nil {
				t.Fatal(err)
			}
		}
		appendAll(t, s, statuses(numberA, 0, 3000))
		all := read("crm", 500)
		first := db.XRangeN(t.Context(), key, "("+all[499].ID, "+", 1).Val()[0].ID
		read(group, 3000)
		read("quick", 3000)
		trim()
		appendAll(t, s, statuses(numberA, 3000, 6000))
		read(group, 3000)
		read("quick", 3000)
		trim()
		trim() // nothing more to drop, and crm still does not read

		kept := db.XRange(t.Context(), key, "-", "+").Val()
		if len(kept) < 100 || len(kept) > 300 {
			t.Fatalf("%d entries kept, want about the 100 wanted", len(kept))
		}
		if found := read("crm", 5000); len(found) != len(kept) || found[0].ID != kept[0].ID {
			t.Errorf("crm found %d entries, want the %d that were kept", len(found), len(kept))
		}
		trim()
		trim()
		for _, g := range []string{"crm", "quick", group} {
			told := read(g, 10)
			if len(told) != 1 {
				t.Fatalf("%s found %d entries, want the one of the gap: %v", g, len(told), told)
			}
			var e message.Event
			if err := json.Unmarshal([]byte(told[0].Values["event"].(string)), &e); err != nil {
				t.Fatal(err)
			}
			want := message.Gap{Group: "crm", From: first, To: kept[0].ID}
			if e.Version != message.EventVersion || e.Type != message.EventGap || e.Gap == nil || *e.Gap != want {
				t.Errorf("%s was told %s, want %+v", g, told[0].Values["event"], want)
			}
		}
	})
}

// All is past the retention and dropped, and a group that never read anything learns of it.
func TestAGapToTheEndOfTheStream(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		key := shards.Of(numberA).StreamKey()
		s := events.New(db, shards, events.Options{Retention: time.Minute})
		now, err := db.Now(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			id := fmt.Sprintf("%d-%d", now.Add(-time.Hour).UnixMilli(), i)
			if err := db.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: id, Values: []string{"event", "{}"}}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		old := db.XRangeN(t.Context(), key, "-", "+", 1).Val()[0].ID
		for _, g := range []string{group, "crm"} {
			db.XGroupCreateMkStream(t.Context(), key, g, "0")
		}
		read := func(g string) {
			err := db.XReadGroup(t.Context(), &redis.XReadGroupArgs{
				Group: g, Consumer: "c", Streams: []string{key, ">"}, Count: 1000, Block: -1, NoAck: true,
			}).Err()
			if err != nil {
				t.Fatal(err)
			}
		}
		read(group)
		if err := s.Trim(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		appendAll(t, s, statuses(numberA, 0, 1))
		read("crm")
		if err := s.Trim(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		var gap *message.Gap
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err = s.Follow(ctx, "0", func(e message.Event) error {
			if gap = e.Gap; gap != nil {
				cancel()
			}
			return nil
		})
		if err != nil || gap == nil {
			t.Fatalf("no gap event: %v", err)
		}
		if gap.From != old || gap.To <= old {
			t.Errorf("gap %+v, want it from %s to a later entry", gap, old)
		}
	})
}

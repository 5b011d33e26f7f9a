package events_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// An external group stops reading, and entries are dropped before it has read them. When it reads on, it gets the
// remaining entries and then a gap event about the dropped ones.
func TestASlowGroupFindsWhatItMissed(t *testing.T) {
	for name, key := range map[string]string{"message": events.MessageKey(shards.Of(numberA)), "meta": events.MetaKey(shards.Of(numberA))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t, redistest.Client(t))
			s := events.New(db, shards, events.Options{Retention: time.Hour})
			for _, g := range []string{"crm", "quick"} {
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
				last := db.XRevRangeN(t.Context(), key, "+", "-", 1).Val()[0].ID
				db.Set(t.Context(), events.AppliedKey(shards.Of(numberA)), last, 0)
				if err := s.Trim(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			filled(t, db, key, 3000, 150, 4*time.Hour, 3*time.Hour)
			all := read("crm", 500)
			first := db.XRangeN(t.Context(), key, "("+all[499].ID, "+", 1).Val()[0].ID
			read("quick", 3000)
			trim()
			filled(t, db, key, 2900, 150, 3*time.Hour, 2*time.Hour)
			filled(t, db, key, 100, 150, 30*time.Minute, 0)
			read("quick", 3000)
			trim()
			trim() // nothing more to drop, and crm still does not read

			kept := db.XRange(t.Context(), key, "-", "+").Val()
			if len(kept) < 60 || len(kept) > 300 { // Redis drops nodes of about 30 as a whole
				t.Fatalf("%d entries kept, want about the 100 that are not old", len(kept))
			}
			if found := read("crm", 5000); len(found) != len(kept) || found[0].ID != kept[0].ID {
				t.Errorf("crm found %d entries, want the %d that were kept", len(found), len(kept))
			}
			trim()
			trim()
			for _, g := range []string{"crm", "quick"} {
				entries := read(g, 10)
				if len(entries) != 1 {
					t.Fatalf("%s read %d entries, want the one with the gap event: %v", g, len(entries), entries)
				}
				found, err := events.Decode(entries[0])
				if err != nil || len(found) != 1 {
					t.Fatalf("%v, %v", found, err)
				}
				e, want := found[0], message.Gap{Group: "crm", From: first, To: kept[0].ID}
				if e.Version != message.EventVersion || e.Type != message.EventGap || e.Gap == nil || *e.Gap != want {
					t.Errorf("%s read %v, want %+v", g, entries[0].Values, want)
				}
			}
		})
	}
}

// All entries are older than the retention and dropped. A group that has never read gets a gap event too.
func TestAGapToTheEndOfTheStream(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		key := events.MetaKey(shards.Of(numberA))
		s := events.New(db, shards, events.Options{Retention: time.Minute})
		ids := filled(t, db, key, 300, 150, time.Hour, 59*time.Minute)
		db.XGroupCreateMkStream(t.Context(), key, "crm", "0")
		apply(t, db, numberA, ids[299])
		read := func(g string) {
			err := db.XReadGroup(t.Context(), &redis.XReadGroupArgs{
				Group: g, Consumer: "c", Streams: []string{key, ">"}, Count: 1000, Block: -1, NoAck: true,
			}).Err()
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Trim(t.Context()); err != nil {
			t.Fatal(err)
		}
		appendAll(t, s, statuses(numberA, 0, 1))
		read("crm")
		if err := s.Trim(t.Context()); err != nil {
			t.Fatal(err)
		}
		found, err := events.Decode(db.XRevRangeN(t.Context(), key, "+", "-", 1).Val()[0])
		if err != nil || len(found) != 1 || found[0].Gap == nil {
			t.Fatalf("the last entry is no gap event: %v, %v", found, err)
		}
		gap := found[0].Gap
		if gap.From != ids[0] || gap.To <= ids[0] {
			t.Errorf("gap %+v, want it from %s to a later entry", gap, ids[0])
		}
	})
}

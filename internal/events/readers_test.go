package events_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/store"
)

// TestReaders: a running reader counts, one that left or whose time is over does not.
func TestReaders(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		readers := func() int {
			t.Helper()
			n, err := s.Readers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if err := db.ZAdd(t.Context(), "sluice:{s00}:readers", redis.Z{Score: 1000, Member: "killed"}).Err(); err != nil {
			t.Fatal(err)
		}
		if n := readers(); n != 0 {
			t.Errorf("%d readers before any runs", n)
		}
		stop := read(t, s, "one", func(context.Context, message.Shard, []message.Event, map[string]string) (bool, error) {
			return false, nil
		})
		poll.Until(t, "the reader counts", func() bool { return readers() == 1 })
		stop()
		if n := readers(); n != 0 {
			t.Errorf("%d readers after the end of the only one", n)
		}
	})
}

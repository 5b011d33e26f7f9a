package events_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestGroupBeginsAndEnds: a group begins with the entries that are not too old, also after it was destroyed. To destroy a group that does not exist is
// no error, also in the Redis of the demo.
func TestGroupBeginsAndEnds(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]*redis.Client{
		"redis": redistest.Client(t), "miniredis": redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()}),
	} {
		defer client.Close()
		db, err := store.New(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		g := events.NewGroup(db, events.GroupOptions{Name: "g", Consumer: "c", Shards: 2, MetaOnly: true, DeadAfter: time.Minute, Since: time.Hour})
		if err := g.Destroy(t.Context()); err != nil {
			t.Errorf("%s: destroy a group that does not exist: %v", name, err)
		}
		old := redis.XAddArgs{Stream: events.MetaKey(message.Shard(1)), ID: "1-1", Values: []string{events.Field, "old"}}
		client.XAdd(t.Context(), &old)
		client.XAdd(t.Context(), &redis.XAddArgs{Stream: old.Stream, Values: []string{events.Field, "new"}})
		for range 2 {
			found, err := g.Read(t.Context())
			if err != nil || len(found) != 1 || found[0].Values[events.Field] != "new" || !found[0].Meta || found[0].Shard != 1 {
				t.Errorf("%s: the group read %+v, %v", name, found, err)
			}
			if err := g.Destroy(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

package events_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
)

// readers records which reader handled which shard.
type readers struct {
	mu sync.Mutex
	by map[message.Shard]map[string]int
}

func (r *readers) handler(name string) events.Handler {
	return func(_ context.Context, shard message.Shard, batch []message.Event, _ map[string]string) (bool, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.by[shard] == nil {
			r.by[shard] = map[string]int{}
		}
		r.by[shard][name] += len(batch)
		return false, nil
	}
}

func (r *readers) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by = map[message.Shard]map[string]int{}
}

// shardsBy returns how many events were handled, and how many shards each reader handled.
func (r *readers) shardsBy() (events int, shards map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	shards = map[string]int{}
	for _, by := range r.by {
		for name, n := range by {
			events += n
			shards[name]++
		}
	}
	return events, shards
}

// TestReadersShareTheShards: one of the living readers reads a shard, and another one when the first has stopped.
func TestReadersShareTheShards(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	appendTo := func(s *events.Stream) {
		t.Helper()
		var all []message.Event
		for n := range 200 { // enough numbers for every shard
			all = append(all, status(fmt.Sprint(1000+n), n))
		}
		appendAll(t, s, all)
	}
	var r readers
	var streams []*events.Stream
	stops := map[string]func(){}
	r.forget()
	for _, name := range []string{"one", "two", "three"} {
		s := events.New(db, message.DefaultShards, events.Options{})
		streams = append(streams, s)
		stops[name] = read(t, s, name, r.handler(name))
	}
	// All readers know each other when each has written a heartbeat after the last one started.
	eventually(t, "all readers known", func() bool {
		return db.ZCard(t.Context(), "sluice:{s00}:readers").Val() == 3
	})
	for _, s := range streams {
		eventually(t, "a share of the shards", func() bool { return events.Reads(s) < len(message.DefaultShards.All()) })
	}
	// A reader that is in a read of a shard when another one starts may still get its next events.
	eventually(t, "one reader for each shard", func() bool {
		r.forget()
		appendTo(streams[0])
		applied(t, streams[0])
		n, shards := r.shardsBy()
		return n == 200 && shards["one"] > 0 && shards["two"] > 0 && shards["three"] > 0 &&
			shards["one"]+shards["two"]+shards["three"] == len(message.DefaultShards.All())
	})

	stops["one"]()
	stops["two"]()
	r.forget()
	appendTo(streams[2])
	applied(t, streams[2])
	if n, shards := r.shardsBy(); n != 200 || shards["three"] != len(message.DefaultShards.All()) {
		t.Errorf("%d events applied, shards %v", n, shards)
	}
}

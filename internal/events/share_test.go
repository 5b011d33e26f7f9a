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

// readers remembers who handled which shard.
type readers struct {
	mu sync.Mutex
	by map[message.Shard]map[string]int
}

func (r *readers) handler(name string) events.Handler {
	return func(_ context.Context, shard message.Shard, batch []message.Event) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.by[shard] == nil {
			r.by[shard] = map[string]int{}
		}
		r.by[shard][name] += len(batch)
		return nil
	}
}

func (r *readers) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by = map[message.Shard]map[string]int{}
}

// shardsBy returns how many events were handled, and of how many shards by each consumer.
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

// TestConsumersShareTheShards: each shard is read by one of the living consumers, and by
// another when that one has left.
func TestConsumersShareTheShards(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	appendTo := func(s *events.Stream) {
		t.Helper()
		var all []message.Event
		for n := range 200 { // numbers enough to meet every shard
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
		stops[name] = consume(t, s, name, r.handler(name))
	}
	// All have met all when each has met since the last one joined.
	eventually(t, "all consumers known", func() bool {
		return db.ZCard(t.Context(), "sluice:{s00}:readers:"+group).Val() == 3
	})
	for _, s := range streams {
		eventually(t, "a share of the shards", func() bool { return events.Reads(s, group) < len(message.DefaultShards.All()) })
	}
	// A consumer that waits at a shard when another joins may still get its next events.
	eventually(t, "one reader for each shard", func() bool {
		r.forget()
		appendTo(streams[0])
		eventually(t, "200 events", func() bool { n, _ := r.shardsBy(); return n == 200 })
		_, shards := r.shardsBy()
		return shards["one"] > 0 && shards["two"] > 0 && shards["three"] > 0 &&
			shards["one"]+shards["two"]+shards["three"] == len(message.DefaultShards.All())
	})

	stops["one"]()
	stops["two"]()
	appendTo(streams[2])
	eventually(t, "200 events more", func() bool { n, _ := r.shardsBy(); return n == 400 })
}

// TestConsumeSomeTypes: what was not asked for is acknowledged unseen, and passes the watermark.
func TestConsumeSomeTypes(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, message.DefaultShards, events.Options{})
	got := newSeen()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Consume(ctx, group, "one", []string{message.EventStatus}, got.handle) }()
	const number = "106540352242922"
	appendAll(t, s, []message.Event{
		status(number, 1),
		{Type: message.EventMessage, Number: number, State: &message.Change{To: message.Sent, Reason: `"type":"status"`}},
		status(number, 2),
		{Type: message.EventInbound, Number: number},
	})
	got.until(t, 2)
	shard := message.DefaultShards.Of(number)
	eventually(t, "all acknowledged", func() bool {
		p, err := db.XPending(t.Context(), shard.StreamKey(), group).Result()
		lag := db.XInfoGroups(t.Context(), shard.StreamKey()).Val()
		return err == nil && p.Count == 0 && len(lag) == 1 && lag[0].Lag == 0
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if all := got.all(); len(all) != 2 {
		t.Errorf("handled %v", all)
	}
}

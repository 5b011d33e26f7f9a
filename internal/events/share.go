package events

import (
	"context"
	_ "embed"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sluice/internal/message"
	"sluice/internal/store"
)

const (
	readerHeartbeat = time.Second
	readerTimeout   = 4 * time.Second // a reader without a heartbeat for this time counts as dead
)

//go:embed lua/readers.lua
var readersLua string

// readersKey returns the Redis key of the sorted set of the living readers.
func readersKey() string { return store.Key(message.Shard(0), "readers") }

// share decides which shards this process reads. One of the living readers reads a shard. When readers start or
// stop, two may read the same shard for a moment: then its events are applied twice.
type share struct {
	db      *store.DB
	readers store.Script
	name    string
	log     *slog.Logger

	mu      sync.Mutex
	members []string      // the living readers, at the last heartbeat
	changed chan struct{} // closed when they may have changed
}

// reads returns the shards that this process reads: all of them if it is not a reader.
func (s *Stream) reads() []message.Shard {
	sh := s.share.Load()
	if sh == nil {
		return s.shards.All()
	}
	return slices.DeleteFunc(s.shards.All(), func(shard message.Shard) bool { return !sh.mine(shard) })
}

// run writes heartbeats and reads the living readers, until ctx ends.
func (s *share) run(ctx context.Context) {
	tick := time.NewTicker(readerHeartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			s.heartbeat(ctx, 0) // if it fails, the heartbeat expires
			return
		case <-tick.C:
			s.renew(ctx)
		}
	}
}

// renew writes a heartbeat. If that fails, members keeps its last value.
func (s *share) renew(ctx context.Context) {
	if err := s.heartbeat(ctx, readerTimeout); err != nil && ctx.Err() == nil {
		s.log.Warn("cannot read which workers read the event streams", slog.Any("err", err))
	}
}

// heartbeat writes a heartbeat that expires after d, and reads the living readers.
func (s *share) heartbeat(ctx context.Context, d time.Duration) error {
	members, err := s.db.Run(ctx, s.readers, []string{readersKey()}, s.name, d.Milliseconds()).StringSlice()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = members
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// mine reports whether this process reads a shard.
func (s *share) mine(shard message.Shard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return message.Rank(s.name, s.members, shard.String()) == 0
}

// changes returns a channel that is closed when the result of mine may change.
func (s *share) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

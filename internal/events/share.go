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
	meetEvery = time.Second
	silence   = 4 * time.Second // of a reader means that it is gone
)

//go:embed lua/meet.lua
var meetLua string

// readersKey is the Redis key of the sorted set of the living readers.
func readersKey() string { return store.Key(message.Shard(0), "readers") }

// share is which shards this process reads: each is read by one of the living readers. For a moment,
// while readers come or go, two may read one: then its events are applied twice.
type share struct {
	db       *store.DB
	meet     store.Script
	consumer string
	log      *slog.Logger

	mu      sync.Mutex
	members []string      // the living readers, as last heard
	changed chan struct{} // closed when they may have changed
}

// reads returns the shards that this process reads; all when it is no reader.
func (s *Stream) reads() []message.Shard {
	sh := s.share.Load()
	if sh == nil {
		return s.shards.All()
	}
	return slices.DeleteFunc(s.shards.All(), func(shard message.Shard) bool { return !sh.mine(shard) })
}

// run says that this reader lives and learns who else does, until ctx ends.
func (s *share) run(ctx context.Context) {
	tick := time.NewTicker(meetEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			s.look(ctx, 0) // if it fails the others learn of our end by our silence
			return
		case <-tick.C:
			s.renew(ctx)
		}
	}
}

// renew says that this reader lives. If that fails, those known last stay.
func (s *share) renew(ctx context.Context) {
	if err := s.look(ctx, silence); err != nil && ctx.Err() == nil {
		s.log.Warn("cannot read which workers read the event streams", slog.Any("err", err))
	}
}

// look says that this reader lives for d more.
func (s *share) look(ctx context.Context, d time.Duration) error {
	members, err := s.db.Run(ctx, s.meet, []string{readersKey()}, s.consumer, d.Milliseconds()).StringSlice()
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

// mine tells whether this process reads a shard.
func (s *share) mine(shard message.Shard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return message.Rank(s.consumer, s.members, shard.String()) == 0
}

// changes returns what is closed when mine may answer otherwise.
func (s *share) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

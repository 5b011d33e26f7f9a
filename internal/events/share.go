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
	silence   = 4 * time.Second // of a consumer means that it is gone
)

//go:embed lua/meet.lua
var meetLua string

// share is which shards this process reads for a group. Ten that read one shard would get its
// entries one by one, at three round trips for each; so each shard is read by one of the
// living consumers. That is a matter of cost alone: the group hands an entry to one reader,
// however many there are.
type share struct {
	db              *store.DB
	meet            store.Script
	group, consumer string
	log             *slog.Logger

	mu      sync.Mutex
	members []string      // the living consumers, as last heard
	changed chan struct{} // closed when they change
}

func (s *Stream) newShare(group, consumer string) *share {
	sh := &share{
		db: s.db, meet: s.meet, group: group, consumer: consumer, changed: make(chan struct{}),
		log: s.log.With(slog.String("group", group)),
	}
	s.shares.Store(group, sh)
	return sh
}

// readBy returns the shards that this process reads for a group; all when it does not consume.
func (s *Stream) readBy(group string) []message.Shard {
	v, ok := s.shares.Load(group)
	if !ok {
		return s.shards.All()
	}
	return slices.DeleteFunc(s.shards.All(), func(shard message.Shard) bool {
		mine, _ := v.(*share).mine(shard)
		return !mine
	})
}

// run says that this consumer lives and learns who else does, until ctx ends.
func (s *share) run(ctx context.Context) {
	tick := time.NewTicker(meetEvery)
	defer tick.Stop()
	for {
		if err := s.look(ctx, silence); err != nil && ctx.Err() == nil {
			s.log.Warn("consumers not known", slog.Any("err", err)) // those known last stay
		}
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			s.look(ctx, 0) // if it fails the others learn of our end by our silence
			return
		case <-tick.C:
		}
	}
}

// look says that this consumer lives for d more.
func (s *share) look(ctx context.Context, d time.Duration) error {
	members, err := s.db.Run(ctx, s.meet, []string{message.Shard(0).Key("readers:" + s.group)}, s.consumer, d.Milliseconds()).StringSlice()
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

// mine tells whether this process reads a shard; if not, changed is closed when that may be
// otherwise.
func (s *share) mine(shard message.Shard) (mine bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return message.Rank(s.consumer, s.members, shard.String()) == 0, s.changed
}

package events

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// Watermark returns a shard's watermark: every Meta event that arrived before it is applied. It is
// zero when none was written.
func (s *Stream) Watermark(ctx context.Context, shard message.Shard) (time.Time, error) {
	ms, err := s.db.Get(ctx, WatermarkKey(shard)).Int64()
	if errors.Is(err, redis.Nil) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read watermark: %w", err)
	}
	return time.UnixMilli(ms), nil
}

// Behind returns how many shards have Meta events that are not applied.
func (s *Stream) Behind(ctx context.Context) (shards int, err error) {
	applied := make([]*redis.StringCmd, s.shards)
	last := make([]*redis.XMessageSliceCmd, s.shards)
	err = s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, shard := range s.shards.All() {
			applied[i] = p.Get(ctx, AppliedKey(shard))
			last[i] = p.XRevRangeN(ctx, MetaKey(shard), "+", "-", 1)
		}
	})
	if err != nil {
		return 0, fmt.Errorf("compare positions: %w", err)
	}
	for i, l := range last {
		if x := l.Val(); len(x) > 0 && compareIDs(applied[i].Val(), x[0].ID) < 0 {
			shards++
		}
	}
	return shards, nil
}

// lag remembers when by our clock the watermarks were true that this process wrote. Its zero value
// is ready.
type lag struct {
	mu    sync.Mutex
	marks map[message.Shard]time.Time
}

// set says that a shard's watermark was true at some time. A shard that is new counts from when
// it came.
func (l *lag) set(s message.Shard, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.marks == nil {
		l.marks = map[message.Shard]time.Time{}
	}
	l.marks[s] = at
}

// keep forgets the shards that this process does not read.
func (l *lag) forget(s message.Shard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.marks, s)
}

// Lag returns the age of the oldest watermark of the shards that this process reads.
func (s *Stream) Lag() time.Duration {
	s.lag.mu.Lock()
	defer s.lag.mu.Unlock()
	var oldest time.Duration
	for at := range maps.Values(s.lag.marks) {
		oldest = max(oldest, time.Since(at))
	}
	return oldest
}

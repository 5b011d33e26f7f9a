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

// Watermark returns the watermark of a shard: every event that Meta reported before it is applied. It is zero if
// there is none yet.
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

// Behind returns how many shards have events from Meta that are not applied.
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
		return 0, fmt.Errorf("read the positions in the streams: %w", err)
	}
	for i, l := range last {
		if x := l.Val(); len(x) > 0 && compareIDs(applied[i].Val(), x[0].ID) < 0 {
			shards++
		}
	}
	return shards, nil
}

// appliedPoll is how often Applied asks Redis.
const appliedPoll = 20 * time.Millisecond

// Applied blocks until all events are applied that Meta had reported to a shard before the call. It is false if ctx ends first.
func (s *Stream) Applied(ctx context.Context, shard message.Shard) (bool, error) {
	last, err := s.db.XRevRangeN(ctx, MetaKey(shard), "+", "-", 1).Result()
	for err == nil && len(last) > 0 {
		var applied string
		if applied, err = s.db.Get(ctx, AppliedKey(shard)).Result(); err != nil && !errors.Is(err, redis.Nil) {
			break
		}
		if err = nil; compareIDs(applied, last[0].ID) >= 0 {
			return true, nil
		}
		sleep(ctx, appliedPoll)
		if ctx.Err() != nil {
			return false, nil
		}
	}
	if ctx.Err() != nil {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read which events are applied: %w", err)
	}
	return true, nil
}

// lag has, for each watermark that this process wrote, its time by the clock of this machine. Its zero value is
// ready to use.
type lag struct {
	mu    sync.Mutex
	marks map[message.Shard]time.Time
}

// set sets the time of the watermark of a shard. A new shard counts from its first read.
func (l *lag) set(s message.Shard, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.marks == nil {
		l.marks = map[message.Shard]time.Time{}
	}
	l.marks[s] = at
}

// forget removes a shard that this process does not read any more.
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

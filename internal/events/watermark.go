package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// PublishWatermark writes for every shard the time before which everything that arrived has
// been handled by the group: now when nothing waits, by the clock of the Redis that holds the
// shard. It returns how long ago the oldest of them is. A process that consumes for the group
// publishes for the shards it reads. The watermark may be published by any number of
// processes at once.
func (s *Stream) PublishWatermark(ctx context.Context, group string) (age time.Duration, err error) {
	var replies []*redis.Cmd
	err = s.db.Pipe(ctx, func(p redis.Pipeliner) {
		replies = nil
		for _, shard := range s.readBy(group) {
			keys := []string{shard.StreamKey(), WatermarkKey(shard)}
			replies = append(replies, s.watermark.Add(ctx, p, keys, group))
		}
	})
	if err != nil {
		return 0, fmt.Errorf("publish watermark: %w", err)
	}
	for _, r := range replies {
		v, err := r.Int64Slice()
		if err != nil {
			return 0, fmt.Errorf("publish watermark: %w", err)
		}
		age = max(age, time.Duration(v[1]-v[0])*time.Millisecond)
	}
	return age, nil
}

// Watermark returns a shard's watermark as last published; zero when none was.
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

// Trim drops entries that the group has handled and that are past the retention or beyond
// the number kept. It never drops what the group has not handled. Other groups that had not
// read what is dropped find a gap event once they read on. It wants to be called every few
// seconds. A process that consumes for the group trims the shards it reads.
func (s *Stream) Trim(ctx context.Context, group string) error {
	for shards := s.readBy(group); len(shards) > 0; {
		var replies []*redis.Cmd
		err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
			replies = nil
			for _, shard := range shards {
				keys := []string{shard.StreamKey(), gapsKey(shard)}
				replies = append(replies, s.trim.Add(ctx, p, keys, group, s.o.Retention.Milliseconds(), s.o.MaxLen))
			}
		})
		if err != nil {
			return fmt.Errorf("trim events: %w", err)
		}
		var more []message.Shard
		for i, r := range replies {
			v, err := r.Slice()
			if err != nil || len(v) == 0 {
				return fmt.Errorf("trim events: unexpected reply: %w", err)
			}
			if v[0] == int64(1) {
				more = append(more, shards[i])
			}
			for _, told := range v[1:] {
				s.metrics.gaps.Inc()
				s.log.Warn("a consumer group was too slow and missed events", slog.Any("group", told), slog.String("shard", shards[i].String()))
			}
		}
		shards = more
	}
	return nil
}

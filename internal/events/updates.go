package events

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// What follows from an update of Meta may concern holds in other shards, whose Redis may be away. So updates are not
// applied together with the statuses of their shard: they are stored, and applied apart.

//go:embed lua/keep.lua
var keepLua string

// updatesKey returns the Redis key of the updates of a shard that are not applied yet: a list, the oldest first.
func updatesKey(s message.Shard) string { return store.Key(s, "updates") }

// KeepUpdates stores updates of a shard for ApplyUpdates, in their order. It also works on a full Redis.
func (s *Stream) KeepUpdates(ctx context.Context, shard message.Shard, updates []message.Event) error {
	args := make([]any, len(updates))
	for i, e := range updates {
		text, err := encode(nil, e)
		if err != nil {
			return fmt.Errorf("keep updates: %w", err)
		}
		args[i] = text
	}
	if err := s.db.Run(ctx, s.keep, []string{updatesKey(shard)}, args...).Err(); err != nil {
		return fmt.Errorf("keep updates: %w", err)
	}
	return nil
}

// ApplyUpdates calls apply with the stored updates of the shards that this process reads, and deletes those that were
// applied. The updates of a shard are applied in their order: after an error the rest of the shard waits for the next
// call. Other shards do not wait. An update may be applied again.
func (s *Stream) ApplyUpdates(ctx context.Context, apply func(ctx context.Context, e message.Event) error) error {
	shards := s.reads()
	waiting := make([]*redis.IntCmd, len(shards))
	s.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		for i, shard := range shards {
			waiting[i] = p.LLen(ctx, updatesKey(shard))
		}
	})
	var errs []error
	for i, shard := range shards {
		err := waiting[i].Err()
		if waiting[i].Val() > 0 {
			err = s.applyUpdates(ctx, shard, apply)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("apply updates of shard %d: %w", shard, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Stream) applyUpdates(ctx context.Context, shard message.Shard, apply func(ctx context.Context, e message.Event) error) error {
	for ctx.Err() == nil {
		text, err := s.db.LIndex(ctx, updatesKey(shard), 0).Result()
		if errors.Is(err, redis.Nil) {
			return nil
		}
		if err != nil {
			return err
		}
		var e message.Event
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			s.log.Error("cannot read an update of Meta, it is dropped", slog.Any("err", err))
		} else if err := apply(ctx, e); err != nil {
			return err
		}
		if err := s.db.LRem(ctx, updatesKey(shard), 1, text).Err(); err != nil {
			return err
		}
	}
	return nil
}

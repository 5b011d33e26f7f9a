package events

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

//go:embed lua/received.lua
var receivedLua string

// anyField is the field of the last webhook of a shard. The other fields are phone number ids.
const anyField = "any"

// receivedKey returns the Redis key of a hash of times, in Unix milliseconds: for each phone number id when Meta
// created its latest status, and in anyField when the last webhook arrived.
func receivedKey(s message.Shard) string { return store.Key(s, "heard") }

// NoteReceived stores when the last webhooks came, for all given shards in one round trip.
func (s *Stream) NoteReceived(ctx context.Context, times map[message.Shard]message.LastReceived) error {
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for shard, h := range times {
			args := []any{anyField, h.Any.UnixMilli()}
			for number, at := range h.Statuses {
				args = append(args, number, at.UnixMilli())
			}
			s.received.Add(ctx, p, []string{receivedKey(shard)}, args...)
		}
	})
	if err != nil {
		return fmt.Errorf("store when the last webhooks came: %w", err)
	}
	return nil
}

// Channel returns whether Meta's statuses about messages of a number reach Sluice.
func (s *Stream) Channel(ctx context.Context, number string) (message.Channel, error) {
	var of *redis.StringCmd
	var heartbeats *redis.MapStringStringCmd
	all := make([]*redis.StringCmd, s.shards)
	s.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		of = p.HGet(ctx, receivedKey(s.shards.Of(number)), number)
		heartbeats = p.HGetAll(ctx, webhooksKey())
		for i, shard := range s.shards.All() {
			all[i] = p.HGet(ctx, receivedKey(shard), anyField)
		}
	})
	if err := of.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return message.Channel{}, fmt.Errorf("read when the last webhooks came: %w", err)
	}
	c := message.Channel{LastStatus: milli(of.Val())}
	for _, cmd := range all { // skips shards that cannot be read
		if at := milli(cmd.Val()); at.After(c.LastWebhook) {
			c.LastWebhook = at
		}
	}
	if heartbeats.Err() != nil {
		c.Reported = true // unknown, and true makes no assumption about missing statuses
		return c, nil
	}
	readLiveness(&c, heartbeats.Val())
	if !c.Gap.IsZero() && s.db.Cluster() {
		c.Gap = c.Gap.Add(clockSlack)
	}
	return c, nil
}

// clockSlack is the assumed difference between the clocks of two masters: the one that stores gaps, and the one
// of a number.
const clockSlack = 2 * time.Second

func milli(s string) time.Time {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

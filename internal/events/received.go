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

//go:embed lua/hear.lua
var hearLua string

// anyField stands beside the numbers of a shard for whatever Meta reported there.
const anyField = "any"

// receivedKey is a shard's hash of when the last webhooks came: by number the latest status, by
// Meta's own time for it, and in anyField any webhook, by our time. Unix milliseconds.
func receivedKey(s message.Shard) string { return store.Key(s, "heard") }

// NoteReceived stores when the last webhooks came, of one or more shards in one round trip.
func (s *Stream) NoteReceived(ctx context.Context, times map[message.Shard]message.LastReceived) error {
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for shard, h := range times {
			args := []any{anyField, h.Any.UnixMilli()}
			for number, at := range h.Statuses {
				args = append(args, number, at.UnixMilli())
			}
			s.hear.Add(ctx, p, []string{receivedKey(shard)}, args...)
		}
	})
	if err != nil {
		return fmt.Errorf("store when the last webhooks came: %w", err)
	}
	return nil
}

// Channel tells whether what Meta reports of a number's messages reaches us.
func (s *Stream) Channel(ctx context.Context, number string) (message.Channel, error) {
	var of *redis.StringCmd
	var beats *redis.MapStringStringCmd
	all := make([]*redis.StringCmd, s.shards)
	s.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		of = p.HGet(ctx, receivedKey(s.shards.Of(number)), number)
		beats = p.HGetAll(ctx, webhooksKey())
		for i, shard := range s.shards.All() {
			all[i] = p.HGet(ctx, receivedKey(shard), anyField)
		}
	})
	if err := of.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return message.Channel{}, fmt.Errorf("read when the last webhooks came: %w", err)
	}
	c := message.Channel{LastStatus: milli(of.Val())}
	for _, cmd := range all { // a shard that cannot be read tells nothing, and stops nothing
		if at := milli(cmd.Val()); at.After(c.LastWebhook) {
			c.LastWebhook = at
		}
	}
	if beats.Err() != nil {
		c.Reported = true // perhaps: then nothing is proven
		return c, nil
	}
	liveness(&c, beats.Val())
	if !c.Gap.IsZero() && s.db.Cluster() {
		c.Gap = c.Gap.Add(clockSlack)
	}
	return c, nil
}

// clockSlack is by how much the clocks of two masters may differ: the one that knows of gaps, and that of a
// number.
const clockSlack = 2 * time.Second

func milli(s string) time.Time {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

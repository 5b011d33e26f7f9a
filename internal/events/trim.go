package events

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

//go:embed lua/trim.lua
var trimLua string

// tail is a stream to trim.
type tail struct {
	shard message.Shard
	keys  []string // of trim.lua
}

// tails returns both streams of a shard.
func tails(s message.Shard) []tail {
	ours, metas := MessageKey(s), MetaKey(s)
	return []tail{
		{s, []string{ours, ours + ":gaps"}},
		{s, []string{metas, metas + ":gaps", AppliedKey(s)}},
	}
}

// Trim drops entries that are older than the retention or beyond the number of events kept. It never drops
// events from Meta that are not applied. A consumer group that has not read dropped entries gets a gap event when
// it reads on. Call it every few seconds. A reader trims only the shards that it reads.
func (s *Stream) Trim(ctx context.Context) error {
	var all []tail
	for _, shard := range s.reads() {
		all = append(all, tails(shard)...)
	}
	for len(all) > 0 {
		more, err := s.trimOnce(ctx, all)
		if err != nil {
			return fmt.Errorf("trim events: %w", err)
		}
		all = more
	}
	return nil
}

// trimOnce trims the streams and returns those that have more to drop.
func (s *Stream) trimOnce(ctx context.Context, all []tail) (more []tail, err error) {
	var replies []*redis.Cmd
	err = s.db.Pipe(ctx, func(p redis.Pipeliner) {
		replies = nil
		for _, t := range all {
			replies = append(replies, s.trim.Add(ctx, p, t.keys, s.o.Retention.Milliseconds(), s.o.MaxLen, entryEvents))
		}
	})
	if err != nil {
		return nil, err
	}
	for i, r := range replies {
		v, err := r.Slice()
		if err != nil || len(v) == 0 {
			return nil, fmt.Errorf("unexpected reply: %w", err)
		}
		if v[0] == int64(1) {
			more = append(more, all[i])
		}
		for _, group := range v[1:] {
			s.metrics.gaps.Inc()
			s.log.Warn("consumer group is too slow and missed events", slog.Any("group", group), slog.String("stream", all[i].keys[0]))
		}
	}
	return more, nil
}

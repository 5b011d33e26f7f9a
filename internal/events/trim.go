package events

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

//go:embed lua/trim.lua
var trimLua string

// trimEntries is how many entries of a stream one call drops at most. 1,000 large ones cost Redis about 10 ms.
const trimEntries = 1000

// streamKeys are the keys of trim.lua for a stream: the stream first.
type streamKeys []string

// streams returns both streams of each shard.
func (s *Stream) streams() (all []streamKeys) {
	for _, shard := range s.shards.All() {
		ours, metas := MessageKey(shard), MetaKey(shard)
		all = append(all, streamKeys{ours, ours + ":gaps"}, streamKeys{metas, metas + ":gaps", AppliedKey(shard)})
	}
	return all
}

// Trim drops events that are older than the retention, and then the oldest of all streams until the others need no more
// memory than the events may use. It never drops events from Meta that are not applied. A consumer group that has not
// read dropped entries gets a gap event when it reads on. Call it every few seconds. One reader trims all streams, so that
// all have events of the same time: the reader of shard 0.
func (s *Stream) Trim(ctx context.Context) error {
	if sh := s.share.Load(); sh != nil && !sh.mine(message.Shard(0)) {
		return nil
	}
	if _, err := s.dropOlder(ctx, s.o.Retention); err != nil {
		return fmt.Errorf("trim events: %w", err)
	}
	if err := s.fit(ctx); err != nil {
		return fmt.Errorf("keep the events within their memory: %w", err)
	}
	return nil
}

// dropOlder drops entries that are older than an age, and returns their number.
func (s *Stream) dropOlder(ctx context.Context, age time.Duration) (dropped int64, err error) {
	for all := s.streams(); len(all) > 0; {
		var replies []*redis.Cmd
		err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
			replies = nil
			for _, keys := range all {
				replies = append(replies, s.trim.Add(ctx, p, keys, age.Milliseconds(), trimEntries))
			}
		})
		if err != nil {
			return dropped, err
		}
		var more []streamKeys
		for i, r := range replies {
			v, err := r.Slice()
			if err != nil || len(v) == 0 {
				return dropped, fmt.Errorf("unexpected reply: %w", err)
			}
			n, _ := v[0].(int64)
			if dropped += n; n > trimEntries/2 { // Redis drops whole nodes, and stops before the limit
				more = append(more, all[i])
			}
			for _, group := range v[1:] {
				s.metrics.gaps.Inc()
				s.log.Warn("consumer group is too slow and missed events", slog.Any("group", group), slog.String("stream", all[i][0]))
			}
		}
		all = more
	}
	return dropped, nil
}

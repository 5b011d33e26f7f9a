package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// Owed counts the messages of a shard that Meta took between two times and has reported
// nothing of since.
func (l *Ledger) Owed(ctx context.Context, s message.Shard, after, before time.Time) (int64, error) {
	n, err := l.db.ZCount(ctx, submittedKey(s), fmt.Sprintf("(%d", max(0, after.UnixMilli())), fmt.Sprint(before.UnixMilli())).Result()
	if err != nil {
		return 0, fmt.Errorf("count messages without a status: %w", err)
	}
	return n, nil
}

// OwedInAll is Owed for all shards together, from the beginning on.
func (l *Ledger) OwedInAll(ctx context.Context, before time.Time) (int64, error) {
	shards := l.o.Shards.All()
	counts := make([]*redis.IntCmd, len(shards))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			counts[i] = p.ZCount(ctx, submittedKey(s), "-inf", fmt.Sprint(before.UnixMilli()))
		}
	})
	if err != nil {
		return 0, fmt.Errorf("count messages without a status: %w", err)
	}
	var n int64
	for _, c := range counts {
		n += c.Val()
	}
	return n, nil
}

// Unreported returns up to limit messages of a shard that Meta took before a time and has
// reported nothing of since, the longest waiting first. Open.Since says when it took them.
func (l *Ledger) Unreported(ctx context.Context, s message.Shard, before time.Time, limit int) ([]message.Open, error) {
	return l.open(ctx, s, message.Submitted, submittedKey(s), fmt.Sprint(before.UnixMilli()), limit)
}

// Postpone lets Doubts return messages of a shard only from a time on. Their records stay as
// they are.
func (l *Ledger) Postpone(ctx context.Context, s message.Shard, ids []string, until time.Time) error {
	doubts := make([]redis.Z, len(ids))
	for i, id := range ids {
		doubts[i] = redis.Z{Score: float64(until.UnixMilli()), Member: id}
	}
	if err := l.db.ZAddXX(ctx, doubtsKey(s), doubts...).Err(); err != nil {
		return fmt.Errorf("postpone doubts: %w", err)
	}
	return nil
}

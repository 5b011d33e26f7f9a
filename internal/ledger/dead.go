package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
)

// Dead calls f for each dead letter that a filter selects, by number and the oldest first, until f returns false.
func (l *Ledger) Dead(ctx context.Context, filter message.DeadFilter, f func(message.DeadLetter) bool) error {
	now, err := l.db.Now(ctx, listKey(l.shards(filter.Number)[0], message.ListDead))
	if err != nil {
		return fmt.Errorf("read the store's clock: %w", err)
	}
	since := now.Add(-l.lifeOf(message.Dead))
	if filter.Since.After(since) {
		since = filter.Since
	}
	until := "+inf"
	if !filter.Until.IsZero() {
		until = fmt.Sprint(filter.Until.UnixMilli())
	}
	for _, s := range l.shards(filter.Number) {
		const page = 1000
		for from := int64(0); ; from += page {
			entries, err := l.db.ZRangeByScoreWithScores(ctx, listKey(s, message.ListDead), &redis.ZRangeBy{
				Min: fmt.Sprint(since.UnixMilli()), Max: until, Offset: from, Count: page,
			}).Result()
			if err != nil {
				return fmt.Errorf("read dead letters: %w", err)
			}
			for _, e := range entries {
				if d, ok := deadLetter(e); ok && filter.Selects(d) && !f(d) {
					return nil
				}
			}
			if len(entries) < page {
				break
			}
		}
	}
	return nil
}

func deadLetter(e redis.Z) (message.DeadLetter, bool) {
	member, _ := e.Member.(string)
	code, reason, id, ok := record.DeadLetter(member)
	number, known := message.Number(id)
	return message.DeadLetter{ID: id, Number: number, Code: code, Reason: reason, At: time.UnixMilli(int64(e.Score)).UTC()}, ok && known
}

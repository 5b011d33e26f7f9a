package ledger

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// deadKey is a shard's dead messages by when they died. A member is "<code>:<reason>:<id>", so
// that what they died of can be counted without their records. The entries of records whose
// time is over are dropped at the next death (move.lua), and not seen before.
func deadKey(s message.Shard) string { return s.Key("dead") }

// Dead calls f for each dead message that a filter selects, by number and the first to die
// first, until f returns false.
func (l *Ledger) Dead(ctx context.Context, filter message.DeadFilter, f func(message.DeadLetter) bool) error {
	now, err := l.Now(ctx)
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
			entries, err := l.db.ZRangeByScoreWithScores(ctx, deadKey(s), &redis.ZRangeBy{
				Min: fmt.Sprint(since.UnixMilli()), Max: until, Offset: from, Count: page,
			}).Result()
			if err != nil {
				return fmt.Errorf("read the dead: %w", err)
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
	f := strings.SplitN(member, ":", 3)
	if len(f) < 3 {
		return message.DeadLetter{}, false
	}
	code, _ := strconv.Atoi(f[0])
	number, ok := message.Number(f[2])
	return message.DeadLetter{ID: f[2], Number: number, Code: code, Reason: f[1], At: time.UnixMilli(int64(e.Score)).UTC()}, ok
}

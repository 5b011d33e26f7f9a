package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// CountAwaiting returns how many messages of a shard Meta took between two times without reporting a status since.
func (l *Ledger) CountAwaiting(ctx context.Context, s message.Shard, after, before time.Time) (int64, error) {
	n, err := l.db.ZCount(ctx, listKey(s, message.ListAwaiting), fmt.Sprintf("(%d", max(0, after.UnixMilli())), fmt.Sprint(before.UnixMilli())).Result()
	if err != nil {
		return 0, fmt.Errorf("count messages without a status: %w", err)
	}
	return n, nil
}

// CountAllAwaiting is CountAwaiting for all shards, without a start time.
func (l *Ledger) CountAllAwaiting(ctx context.Context, before time.Time) (int64, error) {
	shards := l.o.Shards.All()
	counts := make([]*redis.IntCmd, len(shards))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			counts[i] = p.ZCount(ctx, listKey(s, message.ListAwaiting), "-inf", fmt.Sprint(before.UnixMilli()))
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

// AwaitingStatus returns up to limit messages that Meta took before a time without reporting a status since, the
// longest waiting first: of one number, or of all numbers if number is empty.
func (l *Ledger) AwaitingStatus(ctx context.Context, number string, before time.Time, limit int) ([]message.Record, error) {
	var found []message.Record
	for _, s := range l.shards(number) {
		some, err := l.records(ctx, s, message.ListAwaiting, number, fmt.Sprint(before.UnixMilli()), limit)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return oldest(found, limit, message.ListAwaiting), nil
}

// Postpone makes WindowEnded return messages of a shard only from a time on. It does not change their records.
func (l *Ledger) Postpone(ctx context.Context, s message.Shard, ids []string, until time.Time) error {
	entries := make([]redis.Z, len(ids))
	for i, id := range ids {
		entries[i] = redis.Z{Score: float64(until.UnixMilli()), Member: id}
	}
	if err := l.db.ZAddXX(ctx, listKey(s, message.ListInDoubt), entries...).Err(); err != nil {
		return fmt.Errorf("postpone in-doubt messages: %w", err)
	}
	return nil
}

// inDoubtMost is how many in-doubt messages of a shard InDoubtAge reads: those whose window has ended, or ends next.
const inDoubtMost = 100

// InDoubtAge returns how long the oldest in-doubt message of each class is in doubt; without an entry: none is. It reads up
// to 100 messages of each shard, in the order in which their windows end.
func (l *Ledger) InDoubtAge(ctx context.Context) (map[message.Class]time.Duration, error) {
	shards := l.o.Shards.All()
	lists := make([]*redis.StringSliceCmd, len(shards))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			lists[i] = p.ZRange(ctx, listKey(s, message.ListInDoubt), 0, inDoubtMost-1)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read in-doubt messages: %w", err)
	}
	ages := map[message.Class]time.Duration{}
	for i, s := range shards {
		if len(lists[i].Val()) == 0 {
			continue
		}
		all, _, err := l.ReadReadable(ctx, s, lists[i].Val())
		if err != nil {
			return nil, fmt.Errorf("read in-doubt messages: %w", err)
		}
		now := l.db.Clock(ctx, RecordPrefix(s))
		for _, r := range all {
			if r.State == message.InDoubt {
				ages[r.Class] = max(ages[r.Class], now.Sub(r.Since()))
			}
		}
	}
	return ages, nil
}

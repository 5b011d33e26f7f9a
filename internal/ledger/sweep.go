package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// Unsettled returns the shards in which there may be something to sweep: attempts under way,
// doubts, or deadlines passed before now. One round trip tells for all.
func (l *Ledger) Unsettled(ctx context.Context, now time.Time) ([]message.Unsettled, error) {
	all := l.o.Shards.All()
	counts := make([][3]*redis.IntCmd, len(all))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range all {
			counts[i] = [3]*redis.IntCmd{
				p.ZCard(ctx, attemptsKey(s)), p.ZCard(ctx, doubtsKey(s)),
				p.ZCount(ctx, waitingKey(s), "-inf", fmt.Sprint(now.UnixMilli())),
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look for what is unsettled: %w", err)
	}
	var some []message.Unsettled
	for i, c := range counts {
		u := message.Unsettled{Shard: all[i], Attempts: c[0].Val() > 0, Doubts: c[1].Val() > 0, Overdue: c[2].Val() > 0}
		if u.Attempts || u.Doubts || u.Overdue {
			some = append(some, u)
		}
	}
	return some, nil
}

// Attempting returns up to limit attempts of a shard that were begun and not finished, the
// oldest first.
func (l *Ledger) Attempting(ctx context.Context, s message.Shard, limit int) ([]message.Open, error) {
	return l.open(ctx, s, message.Attempting, attemptsKey(s), "+inf", limit)
}

// Doubts returns up to limit doubts of a shard whose window ended before until.
func (l *Ledger) Doubts(ctx context.Context, s message.Shard, until time.Time, limit int) ([]message.Open, error) {
	return l.open(ctx, s, message.InDoubt, doubtsKey(s), fmt.Sprint(until.UnixMilli()), limit)
}

// Overdue returns up to limit queued messages of a shard whose deadline passed before now.
func (l *Ledger) Overdue(ctx context.Context, s message.Shard, now time.Time, limit int) ([]message.Open, error) {
	return l.open(ctx, s, message.Queued, waitingKey(s), fmt.Sprint(now.UnixMilli()), limit)
}

// Waiting returns queued messages of a shard, in the order of their deadlines and from the
// offset-th on.
func (l *Ledger) Waiting(ctx context.Context, s message.Shard, offset, limit int) ([]message.Open, error) {
	ids, err := l.db.ZRange(ctx, waitingKey(s), int64(offset), int64(offset+limit-1)).Result()
	if err != nil {
		return nil, fmt.Errorf("read what waits: %w", err)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	return l.opens(ctx, s, ids)
}

func (l *Ledger) open(ctx context.Context, s message.Shard, in message.State, index, until string, limit int) ([]message.Open, error) {
	ids, err := l.db.ZRangeByScore(ctx, index, &redis.ZRangeBy{Min: "-inf", Max: until, Count: int64(limit)}).Result()
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	all, err := l.opens(ctx, s, ids)
	if err != nil {
		return nil, err
	}
	var found []message.Open
	for i, o := range all {
		if o.ID == "" {
			// The record is gone and its index entry is not: nothing refers to it any more.
			if err := l.db.ZRem(ctx, index, ids[i]).Err(); err != nil {
				return nil, fmt.Errorf("drop stale index entry: %w", err)
			}
			continue
		}
		if o.State == in { // else it moved on since the index was read
			found = append(found, o)
		}
	}
	return found, nil
}

// opens reads messages as a guard needs to know them. Those whose records are gone have no id.
func (l *Ledger) opens(ctx context.Context, s message.Shard, ids []string) ([]message.Open, error) {
	cmds := make([]*redis.SliceCmd, len(ids))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			cmds[i] = p.HMGet(ctx, s.Key("m:"+id), "st", "why", "n", "k", "own", "at", "exp", "rs", "next", "c", "ty", "to", "tpl", "x")
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read open messages: %w", err)
	}
	found := make([]message.Open, len(ids))
	for i, c := range cmds {
		v := c.Val()
		o := message.Open{
			ID: ids[i], State: message.State(text(v[0])), Reason: text(v[1]), N: int(number(v[2])), K: int(number(v[3])),
			Since: at(text(v[5])), ExpiresAt: at(text(v[6])), Resent: int(number(v[7])), NextAt: at(text(v[8])),
		}
		o.Worker, _, _ = strings.Cut(text(v[4]), "/")
		if o.State == "" {
			continue
		}
		if o.Message, err = readContext(o.ID, text(v[9]), text(v[10]), text(v[11]), text(v[12]), text(v[13])); err != nil {
			return nil, fmt.Errorf("%s: %w", o.ID, err)
		}
		found[i] = o
	}
	return found, nil
}

// Sweep moves an open message on, provided that nothing happened to it since it was read.
// It tells whether it did.
func (l *Ledger) Sweep(ctx context.Context, o message.Open, m message.Move) (bool, error) {
	keys, args, err := l.moveArgs(o.ID, openGuard(o), m)
	if err != nil {
		return false, fmt.Errorf("sweep %s: %w", o.ID, err)
	}
	f, _, _, err := moved(l.db.Run(ctx, l.move, keys, args...))
	if err != nil {
		return false, fmt.Errorf("sweep %s: %w", o.ID, err)
	}
	return f == message.Applied, nil
}

func openGuard(o message.Open) guard {
	return guard{kind: "sweep", n: o.N, k: o.K, from: o.State}
}

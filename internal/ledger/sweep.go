package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// Unsettled returns the shards in which there may be something to sweep: doubts, or deadlines passed
// before now. One round trip tells for all.
func (l *Ledger) Unsettled(ctx context.Context, now time.Time) ([]message.Unsettled, error) {
	all := l.o.Shards.All()
	counts := make([][2]*redis.IntCmd, len(all))
	due := fmt.Sprint(now.UnixMilli())
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range all {
			counts[i] = [2]*redis.IntCmd{
				p.ZCard(ctx, listKey(s, message.Doubts)),
				p.ZCount(ctx, listKey(s, message.Waiting), "-inf", due),
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look for what is unsettled: %w", err)
	}
	var some []message.Unsettled
	for i, c := range counts {
		u := message.Unsettled{Shard: all[i], Doubts: c[0].Val() > 0, Overdue: c[1].Val() > 0}
		if u.Doubts || u.Overdue {
			some = append(some, u)
		}
	}
	return some, nil
}

// Doubts returns up to limit doubts of a shard whose window ended before until.
func (l *Ledger) Doubts(ctx context.Context, s message.Shard, until time.Time, limit int) ([]message.Open, error) {
	return l.open(ctx, s, message.InDoubt, message.Doubts, until, limit)
}

// Overdue returns up to limit queued messages of a shard whose deadline passed before now.
func (l *Ledger) Overdue(ctx context.Context, s message.Shard, now time.Time, limit int) ([]message.Open, error) {
	return l.open(ctx, s, message.Queued, message.Waiting, now, limit)
}

// Waiting returns messages of a shard that wait for an attempt or for its outcome, in the order of
// their deadlines and from the offset-th on. Those whose records are gone have no id.
func (l *Ledger) Waiting(ctx context.Context, s message.Shard, offset, limit int) ([]message.Open, error) {
	ids, err := l.db.ZRange(ctx, listKey(s, message.Waiting), int64(offset), int64(offset+limit-1)).Result()
	if err != nil {
		return nil, fmt.Errorf("read what waits: %w", err)
	}
	return l.Opens(ctx, s, ids)
}

func (l *Ledger) open(ctx context.Context, s message.Shard, in message.State, list message.List, until time.Time, limit int) ([]message.Open, error) {
	ids, err := l.db.ZRangeByScore(ctx, listKey(s, list), &redis.ZRangeBy{
		Min: "-inf", Max: fmt.Sprint(until.UnixMilli()), Count: int64(limit),
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("read list: %w", err)
	}
	all, err := l.Opens(ctx, s, ids)
	if err != nil {
		return nil, err
	}
	var found []message.Open
	for i, o := range all {
		if o.ID == "" {
			if err := l.dropEntry(ctx, s, list, ids[i]); err != nil {
				return nil, err
			}
			continue
		}
		if o.State == in { // else it moved on since the list was read
			found = append(found, o)
		}
	}
	return found, nil
}

// dropEntry drops the entry of a message from a list, if there is no record of it: its id may have been
// used again since.
func (l *Ledger) dropEntry(ctx context.Context, s message.Shard, list message.List, id string) error {
	key := RecordPrefix(s) + id
	err := l.tx.Do(ctx, 0, store.Change{Keys: []string{key}, Slot: key, Decide: func(values []string, w *store.Writes) error {
		r, err := record.Decode(id, values[0])
		if err == nil && !r.Exists() {
			w.ZRem(listKey(s, list), id)
		}
		return err
	}})
	if err != nil {
		return fmt.Errorf("drop stale entry of a list: %w", err)
	}
	return nil
}

// Opens reads messages of a shard as they are now, for a Sweep of what was seen. Those whose records
// are gone have no id.
func (l *Ledger) Opens(ctx context.Context, s message.Shard, ids []string) ([]message.Open, error) {
	all, err := l.ReadAll(ctx, s, ids)
	if err != nil {
		return nil, fmt.Errorf("read open messages: %w", err)
	}
	found := make([]message.Open, len(ids))
	for i, r := range all {
		if r.Exists() {
			found[i] = r.Open()
		}
	}
	return found, nil
}

// Sweep moves an open message on, provided that nothing happened to it since it was read.
// It tells whether it did.
func (l *Ledger) Sweep(ctx context.Context, o message.Open, m message.Move) (bool, error) {
	return l.Move(ctx, o, m, nil)
}

// Move is Sweep together with further writes, such as the task of a message that goes back to
// queued: number o.K+1. Both happen, or neither.
func (l *Ledger) Move(ctx context.Context, o message.Open, m message.Move, also func(w *store.Writes) error) (bool, error) {
	in, err := asked(record.Seen, m)
	if err != nil {
		return false, err
	}
	in.From, in.Attempt, in.Task, in.Incarnation = o.State, o.N, o.K, o.Accepted
	out, err := l.move(ctx, o.ID, in, 0, also)
	if err != nil {
		return false, fmt.Errorf("move %s: %w", o.ID, err)
	}
	return out.Applied, nil
}

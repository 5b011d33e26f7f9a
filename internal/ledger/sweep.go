package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// Unsettled returns the shards that may have work for a sweeper: in-doubt messages, or deadlines that passed before
// now, by the clock of each shard's server. It needs one round trip for all shards. Shards that cannot be read are
// left out and named in the error.
func (l *Ledger) Unsettled(ctx context.Context, now map[message.Shard]time.Time) ([]message.Unsettled, error) {
	all := slices.Sorted(maps.Keys(now))
	counts := make([][3]*redis.IntCmd, len(all))
	l.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		for i, s := range all {
			counts[i] = [3]*redis.IntCmd{
				p.ZCard(ctx, listKey(s, message.ListInDoubt)),
				p.ZCount(ctx, listKey(s, message.ListWaiting), "-inf", fmt.Sprint(now[s].UnixMilli())),
				p.ZCount(ctx, listKey(s, message.ListParked), "-inf", fmt.Sprint(now[s].Add(-message.ParkedFor).UnixMilli())),
			}
		}
	})
	var some []message.Unsettled
	var errs []error
	for i, c := range counts {
		if err := cmp.Or(c[0].Err(), c[1].Err(), c[2].Err()); err != nil {
			errs = append(errs, fmt.Errorf("look for work in shard %d: %w", all[i], err))
			continue
		}
		u := message.Unsettled{Shard: all[i], InDoubt: c[0].Val() > 0, Overdue: c[1].Val() > 0, ParkedTooLong: c[2].Val() > 0}
		if u.InDoubt || u.Overdue || u.ParkedTooLong {
			some = append(some, u)
		}
	}
	return some, errors.Join(errs...)
}

// WindowEnded returns up to limit messages of a shard whose in-doubt window ended before until.
func (l *Ledger) WindowEnded(ctx context.Context, s message.Shard, until time.Time, limit int) ([]message.Open, error) {
	return l.open(ctx, s, message.InDoubt, message.ListInDoubt, until, limit)
}

// Parked returns up to limit messages of a shard that were parked before a time.
func (l *Ledger) Parked(ctx context.Context, s message.Shard, before time.Time, limit int) ([]message.Open, error) {
	return l.open(ctx, s, message.Parked, message.ListParked, before, limit)
}

// Overdue returns up to limit queued messages of a shard whose deadline passed before now.
func (l *Ledger) Overdue(ctx context.Context, s message.Shard, now time.Time, limit int) ([]message.Open, error) {
	return l.open(ctx, s, message.Queued, message.ListWaiting, now, limit)
}

// Waiting returns messages of a shard that wait for an attempt or for its outcome, ordered by deadline, from the
// offset-th on. A message without a record has no id.
func (l *Ledger) Waiting(ctx context.Context, s message.Shard, offset, limit int) ([]message.Open, error) {
	ids, err := l.db.ZRange(ctx, listKey(s, message.ListWaiting), int64(offset), int64(offset+limit-1)).Result()
	if err != nil {
		return nil, fmt.Errorf("read waiting messages: %w", err)
	}
	return l.ReadOpenAll(ctx, s, ids)
}

func (l *Ledger) open(ctx context.Context, s message.Shard, in message.State, list message.List, until time.Time, limit int) ([]message.Open, error) {
	ids, err := l.db.ZRangeByScore(ctx, listKey(s, list), &redis.ZRangeBy{
		Min: "-inf", Max: fmt.Sprint(until.UnixMilli()), Count: int64(limit),
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("read list: %w", err)
	}
	all, err := l.ReadOpenAll(ctx, s, ids)
	errs := []error{err}
	var found []message.Open
	for i, o := range all {
		switch {
		case o.ID == "" && o.State == unreadable:
		case o.ID == "":
			errs = append(errs, l.dropEntry(ctx, s, list, ids[i]))
		case o.State == in: // otherwise its state has changed since the list was read
			found = append(found, o)
		}
	}
	return found, errors.Join(errs...)
}

// unreadable is the state in which Opens returns a record that cannot be read.
const unreadable message.State = "unreadable"

// dropEntry removes the entry of a message from a list, if there is no record of the message: its id may have been
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

// ReadOpenAll returns the present states of messages of a shard, for a later Sweep. A message whose record does
// not exist or cannot be read has no id; the error names those that cannot be read.
func (l *Ledger) ReadOpenAll(ctx context.Context, s message.Shard, ids []string) ([]message.Open, error) {
	all, unread, err := l.ReadReadable(ctx, s, ids)
	if err != nil {
		return nil, fmt.Errorf("read open messages: %w", err)
	}
	found := make([]message.Open, len(ids))
	var errs []error
	for i, id := range ids {
		switch err := unread[id]; {
		case err != nil:
			found[i].State = unreadable
			errs = append(errs, err)
		case all[i].Exists():
			found[i] = all[i].Open()
		}
	}
	return found, errors.Join(errs...)
}

// Sweep changes the state of an open message, if the message has not changed since it was read. It returns whether
// it did.
func (l *Ledger) Sweep(ctx context.Context, o message.Open, m message.Move) (bool, error) {
	return l.Move(ctx, o, m, nil)
}

// Move is Sweep together with further writes, for example the task of a message that is queued again: number o.K+1.
// Either all of it happens or nothing.
func (l *Ledger) Move(ctx context.Context, o message.Open, m message.Move, also func(w *store.Writes) error) (bool, error) {
	in, err := inputOf(record.Seen, m)
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

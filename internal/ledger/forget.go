package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// Records are forgotten when their lives are over: a message that ends is entered in the list of the
// hour in which that will be, and Forget goes through the hours. Records have no time to live in
// Redis, which would cost as much as a transaction.

// forgetMost is how many records are forgotten at once.
const forgetMost = 100

// forgottenKey is the last hour of a shard whose list Forget has gone through.
func forgottenKey(s message.Shard) string { return s.Key("forgotten") }

// Forget drops the records of a shard whose lives are over, and what refers to them. It returns how
// many, and blocks until no more are due or ctx ends.
func (l *Ledger) Forget(ctx context.Context, s message.Shard) (n int, err error) {
	now := l.db.Clock(ctx, RecordPrefix(s))
	last, err := l.db.Get(ctx, forgottenKey(s)).Int64()
	if errors.Is(err, redis.Nil) {
		last, err = hourOf(now)-1, l.setForgotten(ctx, s, hourOf(now)-1)
	}
	if err != nil {
		return 0, fmt.Errorf("forget records: %w", err)
	}
	for hour := last + 1; hour < hourOf(now) && ctx.Err() == nil; hour++ {
		k, err := l.forgetHour(ctx, s, hour, now)
		if n += k; err != nil {
			return n, fmt.Errorf("forget records: %w", err)
		}
		// Those of whose delivery nothing was ever said are looked for once a day.
		if hour%24 == 0 {
			k, err := l.forgetUndelivered(ctx, s, now)
			if n += k; err != nil {
				return n, fmt.Errorf("forget records that were never delivered: %w", err)
			}
		}
		if err := l.setForgotten(ctx, s, hour); err != nil {
			return n, fmt.Errorf("forget records: %w", err)
		}
	}
	return n, ctx.Err()
}

// setForgotten notes that an hour has been gone through, also in a full Redis.
func (l *Ledger) setForgotten(ctx context.Context, s message.Shard, hour int64) error {
	return l.tx.Do(ctx, 0, store.Change{Slot: forgottenKey(s), Decide: func(_ []string, w *store.Writes) error {
		w.Set(forgottenKey(s), strconv.AppendInt(nil, hour, 10))
		return nil
	}})
}

// forgetHour goes through the list of an hour that is over.
func (l *Ledger) forgetHour(ctx context.Context, s message.Shard, hour int64, now time.Time) (n int, err error) {
	key := s.Key("ended:" + strconv.FormatInt(hour, 10))
	for ctx.Err() == nil {
		var length *redis.IntCmd
		var some *redis.StringSliceCmd
		err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
			length, some = p.LLen(ctx, key), p.LRange(ctx, key, 0, forgetMost-1)
		})
		ids := some.Val()
		if err != nil || len(ids) == 0 {
			return n, err
		}
		_, k, err := l.forget(ctx, s, ids, now)
		if n += k; err != nil {
			return n, err
		}
		// By the length that the list is to have then, so that another worker who does the same does not
		// take away what was not gone through.
		left := length.Val() - int64(len(ids))
		if left <= 0 {
			return n, l.db.Unlink(ctx, key).Err()
		}
		if err := l.db.LTrim(ctx, key, -left, -1).Err(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// forgetUndelivered drops the records of messages that Meta took and never reported an end of, and
// names that lead to no record.
func (l *Ledger) forgetUndelivered(ctx context.Context, s message.Shard, now time.Time) (n int, err error) {
	for day := now.Add(-l.o.OpenLife); now.Sub(day) <= l.longestLife()+7*24*time.Hour; day = day.Add(-24 * time.Hour) {
		key := wamidsKey(s, day)
		for cursor, first := uint64(0), true; first || cursor != 0; first = false {
			var pairs []string
			if pairs, cursor, err = l.db.HScan(ctx, key, cursor, "", forgetMost).Result(); err != nil {
				return n, err
			}
			var names, ids []string
			for i := 0; i+1 < len(pairs); i += 2 {
				names, ids = append(names, pairs[i]), append(ids, pairs[i+1])
			}
			there, k, err := l.forget(ctx, s, ids, now)
			if n += k; err != nil {
				return n, err
			}
			for i, name := range names {
				if !there[i] {
					if err := l.db.HDel(ctx, key, name).Err(); err != nil {
						return n, err
					}
				}
			}
		}
	}
	// A 200 of Meta's that could not be read gives no id.
	awaiting := listKey(s, message.Awaiting)
	for ctx.Err() == nil {
		ids, err := l.db.ZRangeByScore(ctx, awaiting, &redis.ZRangeBy{
			Min: "-inf", Max: fmt.Sprint(now.Add(-l.o.OpenLife).UnixMilli()), Count: forgetMost,
		}).Result()
		if err != nil {
			return n, err
		}
		there, k, err := l.forget(ctx, s, ids, now)
		n += k
		for i, id := range ids {
			if err == nil && !there[i] {
				err = l.dropEntry(ctx, s, message.Awaiting, id)
				k++
			}
		}
		if err != nil || k == 0 {
			return n, err
		}
	}
	return n, nil
}

// forget drops those of some records whose lives are over, n of them, and tells which were there.
func (l *Ledger) forget(ctx context.Context, s message.Shard, ids []string, now time.Time) (there []bool, n int, err error) {
	all, err := l.ReadAll(ctx, s, ids)
	if err != nil {
		return nil, 0, err
	}
	there = make([]bool, len(ids))
	var changes []store.Change
	var over []record.Record
	for i, r := range all {
		there[i] = r.Exists()
		switch {
		case !l.over(&r, now):
		case r.Payload != "": // an operator may send it again at this moment
			changes = append(changes, l.forgetting(s, r.ID, now))
		default: // at worst a late report is lost, to a message whose record's time is over
			over = append(over, r)
		}
	}
	n = len(changes) + len(over)
	changes = append(changes, store.Change{Slot: RecordPrefix(s), Decide: func(_ []string, w *store.Writes) error {
		for _, r := range over {
			l.drop(w, s, &r)
		}
		return nil
	}})
	return there, n, errors.Join(l.tx.DoAll(ctx, 0, changes)...)
}

// over tells whether the life of a record is over.
func (l *Ledger) over(r *record.Record, now time.Time) bool {
	life := l.lifeOf(r.State)
	return r.Exists() && life > 0 && !now.Before(r.Since().Add(life))
}

// forgetting drops one record, unless something has happened to it.
func (l *Ledger) forgetting(s message.Shard, id string, now time.Time) store.Change {
	key := RecordPrefix(s) + id
	return store.Change{Keys: []string{key}, Slot: key, Decide: func(values []string, w *store.Writes) error {
		r, err := record.Decode(id, values[0])
		if err == nil && l.over(&r, now) {
			l.drop(w, s, &r)
		}
		return err
	}}
}

// drop deletes a record and what refers to it.
func (l *Ledger) drop(w *store.Writes, s message.Shard, r *record.Record) {
	w.Delete(RecordPrefix(s) + r.ID)
	if p := r.Place(); p.List != message.NoList {
		w.ZRem(listKey(s, p.List), p.Member)
	}
	for _, wamid := range r.Awaited() {
		w.HDel(wamidsKey(s, r.AcceptedAt), nameOf(wamid))
	}
	if r.Ref != "" {
		w.ZRem(refKey(s, r.From, r.Ref), r.ID)
	}
}

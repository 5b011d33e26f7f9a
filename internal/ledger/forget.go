package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// Records are forgotten when their lives are over: a message that ends is entered in the list of the
// hour in which that will be, and Forget goes through the hours. Records have no time to live in
// Redis, which would cost as much as a transaction. The record of a message with a key leaves a
// tombstone, whose own life ends in the same way.

const (
	// forgetMost is how many records are looked at in one round, and forgetTogether how many of them share
	// a transaction.
	forgetMost     = 100
	forgetTogether = 25
	// forgetBack is how long a message may have waited, from its acceptance, until Meta took it, so that its
	// record is found when Meta reports no end: it may be scheduled for 90 days later, and replayed then.
	forgetBack = 150 * 24 * time.Hour
)

// forgottenKey is the last hour of a shard whose list Forget has gone through.
func forgottenKey(s message.Shard) string { return store.Key(s, "forgotten") }

// Forget ends the records and tombstones of a shard whose lives are over, and drops what refers to them.
// It returns how many, and blocks until no more are due or ctx ends. A record that cannot be read stays and
// keeps no other from being forgotten; the error says so.
func (l *Ledger) Forget(ctx context.Context, s message.Shard) (n int, err error) {
	now := l.db.Clock(ctx, RecordPrefix(s))
	last, err := l.db.Get(ctx, forgottenKey(s)).Int64()
	if errors.Is(err, redis.Nil) || err == nil && last >= hourOf(now) { // Redis's clock was ahead: the hours to come are still to be gone through
		last, err = hourOf(now)-1, l.setForgotten(ctx, s, hourOf(now)-1)
	}
	if err != nil {
		return 0, fmt.Errorf("forget records: %w", err)
	}
	var unreadable []error
	for hour := last + 1; hour < hourOf(now) && ctx.Err() == nil; hour++ {
		k, err := l.forgetHour(ctx, s, hour, now, &unreadable)
		if n += k; err != nil {
			return n, fmt.Errorf("forget records: %w", err)
		}
		// Those of whose delivery nothing was ever said are looked for once a day.
		if hour%24 == 0 {
			k, err := l.forgetUndelivered(ctx, s, now, &unreadable)
			if n += k; err != nil {
				return n, fmt.Errorf("forget records that were never delivered: %w", err)
			}
		}
		if err := l.setForgotten(ctx, s, hour); err != nil {
			return n, fmt.Errorf("forget records: %w", err)
		}
	}
	if err := errors.Join(append(unreadable, ctx.Err())...); err != nil {
		return n, fmt.Errorf("forget records: %w", err)
	}
	return n, nil
}

// setForgotten notes that an hour has been gone through, also in a full Redis.
func (l *Ledger) setForgotten(ctx context.Context, s message.Shard, hour int64) error {
	return l.tx.Do(ctx, 0, store.Change{Slot: forgottenKey(s), Decide: func(_ []string, w *store.Writes) error {
		w.Set(forgottenKey(s), strconv.AppendInt(nil, hour, 10))
		return nil
	}})
}

// forgetHour goes through the list of an hour that is over.
func (l *Ledger) forgetHour(ctx context.Context, s message.Shard, hour int64, now time.Time, unreadable *[]error) (n int, err error) {
	key := hourKey(s, hour)
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
		_, k, err := l.forget(ctx, s, ids, now, unreadable)
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
func (l *Ledger) forgetUndelivered(ctx context.Context, s message.Shard, now time.Time, unreadable *[]error) (n int, err error) {
	for day := now.Add(-l.o.OpenLife); now.Sub(day) <= l.o.OpenLife+forgetBack; day = day.Add(-24 * time.Hour) {
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
			there, k, err := l.forget(ctx, s, ids, now, unreadable)
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
		there, k, err := l.forget(ctx, s, ids, now, unreadable)
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

// forget ends those of some records whose lives are over, n of them, and tells which ids lead to a
// record that is no tombstone. It adds the errors of records that cannot be read to unreadable.
func (l *Ledger) forget(ctx context.Context, s message.Shard, ids []string, now time.Time, unreadable *[]error) (there []bool, n int, err error) {
	there, over, errs := make([]bool, len(ids)), make([]bool, len(ids)), make([]error, len(ids)) // not to be read after an error: a change may be decided on after ctx has ended
	var changes []store.Change
	for from := 0; from < len(ids); from += forgetTogether {
		to := min(from+forgetTogether, len(ids))
		changes = append(changes, l.forgetting(s, ids[from:to], now, there[from:to], over[from:to], errs[from:to]))
	}
	for _, err := range l.tx.DoAll(ctx, 0, changes) {
		if err != nil {
			return nil, 0, err
		}
	}
	for i, is := range over {
		if is {
			n++
		}
		if errs[i] != nil {
			*unreadable = append(*unreadable, errs[i])
		}
	}
	return there, n, nil
}

// forgetting ends those of some records whose lives are over, unless something happens to one meanwhile:
// a report comes, an operator sends a dead letter again, or, after another worker has dropped it, its
// caller uses the key for another message.
func (l *Ledger) forgetting(s message.Shard, ids []string, now time.Time, there, over []bool, errs []error) store.Change {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = RecordPrefix(s) + id
	}
	return store.Change{Keys: keys, Slot: keys[0], Decide: func(values []string, w *store.Writes) error {
		for i, id := range ids {
			if first := slices.Index(ids, id); first < i { // it stands there twice
				there[i], over[i], errs[i] = there[first], false, nil
				continue
			}
			r, err := record.Decode(id, values[i])
			if there[i], over[i], errs[i] = err != nil, false, err; err != nil {
				continue
			}
			there[i] = r.Exists() && !r.Tombstone()
			if over[i] = l.over(&r, now); over[i] {
				l.end(w, s, &r, now)
			}
		}
		return nil
	}}
}

// over tells whether the life of a record is over.
func (l *Ledger) over(r *record.Record, now time.Time) bool {
	end := l.endsAt(r)
	return r.Exists() && !end.IsZero() && !now.Before(end)
}

// end drops a record whose life is over and what refers to it. Of a message that has a key a tombstone
// stays, and is dropped in its turn.
func (l *Ledger) end(w *store.Writes, s message.Shard, r *record.Record, now time.Time) {
	key := RecordPrefix(s) + r.ID
	if until := l.endsAt(r).Add(l.o.KeyLife); r.Hash != "" && !r.Tombstone() && until.After(now) {
		t := r.Entomb(until)
		w.Set(key, t.Encode())
		w.RPush(endedKey(s, until), r.ID)
	} else {
		w.Delete(key)
	}
	if p := r.Place(); p.List != message.NoList {
		w.ZRem(listKey(s, p.List), p.Member)
	}
	for _, wamid := range r.Awaited() {
		w.HDel(wamidsKey(s, r.AcceptedAt), nameOf(wamid))
	}
	if r.Ref != "" && !r.Tombstone() {
		w.ZRem(refKey(s, r.From, r.Ref), r.ID)
	}
}

package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// Purge deletes records when their lives have ended: each ended message is in a list of the hour in which its
// record ends, and Purge reads these lists hour by hour. Records have no TTL in Redis, because that would cost as
// much as a transaction. The record of a message with a key leaves a tombstone, whose life ends in the same way.

const (
	// purgeMost is how many records are read in one round, and purgeTogether how many of them share a transaction.
	purgeMost     = 100
	purgeTogether = 25
	// purgeBack is how long a message may wait, from its acceptance, until Meta takes it, so that its record is found
	// if Meta reports no final status: it may be scheduled 90 days ahead, and replayed after that.
	purgeBack = 150 * 24 * time.Hour
)

// purgedKey has the last hour of a shard whose list Purge has finished.
func purgedKey(s message.Shard) string { return store.Key(s, "forgotten") }

// Purge deletes the records and tombstones of a shard whose lives have ended, with their list and index entries.
// It returns their number, and blocks until none are left or ctx ends. A record that cannot be read stays, does not
// stop the others from being deleted, and is named in the error.
func (l *Ledger) Purge(ctx context.Context, s message.Shard) (n int, err error) {
	now := l.db.Clock(ctx, RecordPrefix(s))
	last, err := l.db.Get(ctx, purgedKey(s)).Int64()
	if errors.Is(err, redis.Nil) || err == nil && last >= hourOf(now) { // Redis's clock was ahead: the following hours have not passed yet
		last, err = hourOf(now)-1, l.setPurged(ctx, s, hourOf(now)-1)
	}
	if err != nil {
		return 0, fmt.Errorf("delete old records: %w", err)
	}
	var unreadable []error
	for hour := last + 1; hour < hourOf(now) && ctx.Err() == nil; hour++ {
		k, err := l.purgeHour(ctx, s, hour, now, &unreadable)
		if n += k; err != nil {
			return n, fmt.Errorf("delete old records: %w", err)
		}
		// Messages without any report about their delivery are looked for once a day.
		if hour%24 == 0 {
			k, err := l.purgeUndelivered(ctx, s, now, &unreadable)
			if n += k; err != nil {
				return n, fmt.Errorf("delete old records of undelivered messages: %w", err)
			}
			if err := l.purgeCampaigns(ctx, s, now); err != nil {
				return n, err
			}
		}
		if err := l.setPurged(ctx, s, hour); err != nil {
			return n, fmt.Errorf("delete old records: %w", err)
		}
	}
	if err := errors.Join(append(unreadable, ctx.Err())...); err != nil {
		return n, fmt.Errorf("delete old records: %w", err)
	}
	return n, nil
}

// setPurged records that the list of an hour is finished, also in a full Redis.
func (l *Ledger) setPurged(ctx context.Context, s message.Shard, hour int64) error {
	return l.tx.Do(ctx, 0, store.Change{Slot: purgedKey(s), Decide: func(_ []string, w *store.Writes) error {
		w.Set(purgedKey(s), strconv.AppendInt(nil, hour, 10))
		return nil
	}})
}

// purgeHour reads the list of an hour that has passed, and deletes its records.
func (l *Ledger) purgeHour(ctx context.Context, s message.Shard, hour int64, now time.Time, unreadable *[]error) (n int, err error) {
	key := hourKey(s, hour)
	for ctx.Err() == nil {
		var length *redis.IntCmd
		var some *redis.StringSliceCmd
		err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
			length, some = p.LLen(ctx, key), p.LRange(ctx, key, 0, purgeMost-1)
		})
		ids := some.Val()
		if err != nil || len(ids) == 0 {
			return n, err
		}
		_, k, err := l.purge(ctx, s, ids, now, unreadable)
		if n += k; err != nil {
			return n, err
		}
		// Trim to the length that the list must have then: if another worker does the same, no unread entry is removed.
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

// purgeUndelivered deletes the records of messages that Meta took without reporting a final status, and index
// entries that lead to no record.
func (l *Ledger) purgeUndelivered(ctx context.Context, s message.Shard, now time.Time, unreadable *[]error) (n int, err error) {
	for day := now.Add(-l.o.OpenLife); now.Sub(day) <= l.o.OpenLife+purgeBack; day = day.Add(-24 * time.Hour) {
		key := wamidsKey(s, day)
		for cursor, first := uint64(0), true; first || cursor != 0; first = false {
			var pairs []string
			if pairs, cursor, err = l.db.HScan(ctx, key, cursor, "", purgeMost).Result(); err != nil {
				return n, err
			}
			var names, ids []string
			for i := 0; i+1 < len(pairs); i += 2 {
				names, ids = append(names, pairs[i]), append(ids, pairs[i+1])
			}
			there, k, err := l.purge(ctx, s, ids, now, unreadable)
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
	// Messages for which Meta's answer 200 could not be read have no id of Meta's.
	awaiting := listKey(s, message.ListAwaiting)
	for ctx.Err() == nil {
		ids, err := l.db.ZRangeByScore(ctx, awaiting, &redis.ZRangeBy{
			Min: "-inf", Max: fmt.Sprint(now.Add(-l.o.OpenLife).UnixMilli()), Count: purgeMost,
		}).Result()
		if err != nil {
			return n, err
		}
		there, k, err := l.purge(ctx, s, ids, now, unreadable)
		n += k
		for i, id := range ids {
			if err == nil && !there[i] {
				err = l.dropEntry(ctx, s, message.ListAwaiting, id)
				k++
			}
		}
		if err != nil || k == 0 {
			return n, err
		}
	}
	return n, nil
}

// purge deletes those of some records whose lives have ended, n of them, and returns which ids lead to a record
// that is not a tombstone. It adds the errors of records that cannot be read to unreadable.
func (l *Ledger) purge(ctx context.Context, s message.Shard, ids []string, now time.Time, unreadable *[]error) (there []bool, n int, err error) {
	there, over, errs := make([]bool, len(ids)), make([]bool, len(ids)), make([]error, len(ids)) // not to be read after an error: Decide may still run after ctx has ended
	var changes []store.Change
	for from := 0; from < len(ids); from += purgeTogether {
		to := min(from+purgeTogether, len(ids))
		changes = append(changes, l.purging(s, ids[from:to], now, there[from:to], over[from:to], errs[from:to]))
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

// purging returns the change that deletes those of some records whose lives have ended, unless a record changes
// first: a status arrives, an operator sends a dead letter again, or, after another worker has deleted it, the
// caller uses the key for another message.
func (l *Ledger) purging(s message.Shard, ids []string, now time.Time, there, over []bool, errs []error) store.Change {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = RecordPrefix(s) + id
	}
	return store.Change{Keys: keys, Slot: keys[0], Decide: func(values []string, w *store.Writes) error {
		for i, id := range ids {
			if first := slices.Index(ids, id); first < i { // it is in the list twice
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

// over reports whether the life of a record has ended.
func (l *Ledger) over(r *record.Record, now time.Time) bool {
	end := l.endsAt(r)
	return r.Exists() && !end.IsZero() && !now.Before(end)
}

// end deletes a record whose life has ended, with its list and index entries. For a message with a key it leaves
// a tombstone, which is deleted later. A message of which Meta reported no end has ended now.
func (l *Ledger) end(w *store.Writes, s message.Shard, r *record.Record, now time.Time) {
	key := RecordPrefix(s) + r.ID
	if f := r.Unended(); f != nil {
		w.Append(events.MessageKey(s), events.Field, r.AppendFinal(nil, now, f))
	}
	if until := l.endsAt(r).Add(l.o.KeyLife); r.Hash != "" && !r.Tombstone() && until.After(now) {
		t := r.ToTombstone(until)
		w.Set(key, t.Encode())
		w.RPush(endedKey(s, until), r.ID)
	} else {
		w.Delete(key)
	}
	if p := r.ListEntry(); p.List != message.NoList {
		w.ZRem(listKey(s, p.List), p.Member)
	}
	for _, wamid := range r.IndexedWAMIDs() {
		w.HDelIf(wamidsKey(s, r.AcceptedAt), nameOf(wamid), r.ID)
	}
	if r.RecipientHash != "" {
		w.Do("lrem", recipientKey(s, r.RecipientHash), 0, r.ID)
	}
	if r.Ref != "" && !r.Tombstone() {
		w.ZRem(refKey(s, r.From, r.Ref), r.ID)
	}
	if r.Campaign != "" && r.State.Undelivered() && !r.Tombstone() {
		w.ZRem(undeliveredKey(s, r.Flow()), r.ID)
	}
}

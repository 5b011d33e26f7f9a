package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// A status without a marker of ours finds its message by Meta's id. If no message has that id yet, the status is
// unmatched: it waits, and is tried again at growing intervals, because the outcome of its attempt may not be recorded
// yet. Most unmatched statuses are about messages that another system sent from the number. So they do not wait for
// long, and the number of them in a shard is limited: the oldest are dropped.

const (
	// unmatchedFirst is when an unmatched status is tried again first. After that, each wait is three times as long as
	// the status has waited so far.
	unmatchedFirst = time.Second
	unmatchedBatch = 200 // together
)

// unmatchedKey has the unmatched statuses of a shard as JSON, ordered by when they are tried again.
func unmatchedKey(s message.Shard) string { return store.Key(s, "orphans") }

// unmatchedSinceKey has the unmatched statuses of a shard, ordered by when they came.
func unmatchedSinceKey(s message.Shard) string { return store.Key(s, "orphans:since") }

// findIDs adds our ids to statuses without a marker, if Meta's id is known.
func (l *Ledger) findIDs(ctx context.Context, s message.Shard, reports []message.MarkedReport) error {
	var places []int
	for i, e := range reports {
		if _, known := e.State(); known && e.ID == "" && e.WAMID != "" {
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		return nil
	}
	names := make([]string, len(places))
	for i, p := range places {
		names[i] = nameOf(reports[p].WAMID)
	}
	var days []*redis.SliceCmd
	now := l.db.Clock(ctx, RecordPrefix(s))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		days = nil
		for at := now; now.Sub(at) <= l.longestLife(); at = at.Add(-24 * time.Hour) {
			days = append(days, p.HMGet(ctx, wamidsKey(s, at), names...))
		}
	})
	if err != nil {
		return fmt.Errorf("find messages by Meta's ids: %w", err)
	}
	for _, day := range days {
		for i, v := range day.Val() {
			if id := text(v); id != "" {
				reports[places[i]].ID = id
			}
		}
	}
	return nil
}

// longestLife is the time from the acceptance of a message until Meta reports nothing more about it.
func (l *Ledger) longestLife() time.Duration { return l.o.OpenLife + 7*24*time.Hour }

// waitingStatus is an unmatched status as it is stored: with what Meta charges, which is no member of the status.
type waitingStatus struct {
	message.StatusReport
	message.Charge
}

// addUnmatched stores statuses that wait for their message. The same status waits once.
func (l *Ledger) addUnmatched(ctx context.Context, s message.Shard, unmatched []message.MarkedReport) store.Change {
	key := unmatchedKey(s)
	return store.Change{Slot: key, Decide: func(_ []string, w *store.Writes) error {
		now := l.db.Clock(ctx, key)
		for _, e := range unmatched {
			o, err := json.Marshal(waitingStatus{e.StatusReport, e.Charge})
			if err != nil {
				return err
			}
			w.Do("zadd", key, "nx", now.Add(unmatchedFirst).UnixMilli(), o)
			w.Do("zadd", unmatchedSinceKey(s), "nx", now.UnixMilli(), o)
		}
		return nil
	}}
}

// ApplyAllUnmatched is ApplyUnmatched for all shards that have unmatched statuses to try again, and it limits how
// many wait. One round trip finds these shards. It returns how many statuses it dropped without applying them. A shard
// that fails stops no other: it is named in the error.
func (l *Ledger) ApplyAllUnmatched(ctx context.Context) (dropped int, err error) {
	now := make([]time.Time, l.o.Shards)
	due, waiting := make([]*redis.IntCmd, l.o.Shards), make([]*redis.IntCmd, l.o.Shards)
	l.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		for i, s := range l.o.Shards.All() {
			now[i] = l.db.Clock(ctx, unmatchedKey(s))
			due[i] = p.ZCount(ctx, unmatchedKey(s), "-inf", strconv.FormatInt(now[i].UnixMilli(), 10))
			waiting[i] = p.ZCard(ctx, unmatchedKey(s))
		}
	})
	var errs []error
	for i, s := range l.o.Shards.All() {
		err := cmp.Or(due[i].Err(), waiting[i].Err())
		if err == nil && due[i].Val() > 0 {
			var n int
			_, n, err = l.ApplyUnmatched(ctx, s, now[i])
			dropped += n
		}
		if over := waiting[i].Val() - int64(l.o.UnmatchedMost); err == nil && over > 0 {
			var n int
			n, err = l.dropOldest(ctx, s, over)
			dropped += n
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("unmatched statuses of shard %d: %w", s, err))
		}
	}
	return dropped, errors.Join(errs...)
}

// dropOldest drops the n oldest unmatched statuses of a shard.
func (l *Ledger) dropOldest(ctx context.Context, s message.Shard, n int64) (dropped int, err error) {
	for n > 0 {
		texts, err := l.db.ZRange(ctx, unmatchedSinceKey(s), 0, min(n, unmatchedBatch)-1).Result()
		if err != nil || len(texts) == 0 {
			return dropped, err
		}
		if err := l.dropUnmatched(ctx, s, texts); err != nil {
			return dropped, err
		}
		n, dropped = n-int64(len(texts)), dropped+len(texts)
	}
	return dropped, nil
}

// dropUnmatched drops some unmatched statuses, also on a full Redis.
func (l *Ledger) dropUnmatched(ctx context.Context, s message.Shard, texts []string) error {
	return l.tx.Do(ctx, 0, store.Change{Slot: unmatchedKey(s), Decide: func(_ []string, w *store.Writes) error {
		removeUnmatched(w, s, texts)
		return nil
	}})
}

// removeUnmatched adds to a transaction that some statuses are removed.
func removeUnmatched(w *store.Writes, s message.Shard, texts []string) {
	for _, t := range texts {
		w.ZRem(unmatchedKey(s), t)
		w.ZRem(unmatchedSinceKey(s), t)
	}
}

// ApplyUnmatched applies the unmatched statuses of a shard whose message is known now. It returns how many it
// applied, and how many it dropped because they had waited long enough.
func (l *Ledger) ApplyUnmatched(ctx context.Context, s message.Shard, now time.Time) (applied, dropped int, err error) {
	texts, err := l.db.ZRangeByScore(ctx, unmatchedKey(s), &redis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(now.UnixMilli(), 10), Count: unmatchedBatch,
	}).Result()
	if err != nil || len(texts) == 0 {
		return 0, 0, err
	}
	since, err := l.db.ZMScore(ctx, unmatchedSinceKey(s), texts...).Result() // 0: unknown
	if err != nil {
		return 0, 0, err
	}
	reports := make([]message.MarkedReport, len(texts))
	var unreadable []string
	for i, t := range texts {
		var err error
		if reports[i].StatusReport, err = message.DecodeStatusReport([]byte(t)); err == nil {
			err = json.Unmarshal([]byte(t), &reports[i].Charge)
		}
		if err != nil {
			unreadable = append(unreadable, t)
		}
	}
	if len(unreadable) > 0 { // the next call handles the others
		return 0, len(unreadable), l.dropUnmatched(ctx, s, unreadable)
	}
	if err := l.findIDs(ctx, s, reports); err != nil {
		return 0, 0, err
	}
	found := slices.DeleteFunc(slices.Clone(reports), func(e message.MarkedReport) bool { return e.ID == "" })
	if len(found) > 0 {
		if _, err := l.Apply(ctx, s, found, nil); err != nil {
			return 0, 0, err
		}
	}
	var over []string
	wait := map[string]int64{}
	for i, t := range texts {
		waited := now.Sub(time.UnixMilli(int64(since[i])))
		switch {
		case reports[i].ID != "":
			over = append(over, t)
		case waited >= l.o.UnmatchedLife:
			over, dropped = append(over, t), dropped+1
		default:
			wait[t] = now.Add(min(max(3*waited, unmatchedFirst), l.o.UnmatchedLife-waited)).UnixMilli()
		}
	}
	return len(found), dropped, l.tx.Do(ctx, 0, store.Change{Slot: unmatchedKey(s), Decide: func(_ []string, w *store.Writes) error {
		removeUnmatched(w, s, over)
		for t, at := range wait {
			w.ZAdd(unmatchedKey(s), at, t)
		}
		return nil
	}})
}

package ledger

import (
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

// A report without our marker finds its message by Meta's id. Where no message has that id yet, the
// report is an orphan: it waits, and is looked at again at growing intervals, because its message's
// outcome may be on its way; most are of messages that somebody else sent from the number.

const (
	// orphanLife is how long an orphan waits: longer than any worker takes to write down an answer.
	orphanLife = 24 * time.Hour
	// orphanFirst is when it is looked at again first; each time after that it has waited three times
	// as long again.
	orphanFirst = time.Second
	orphanMost  = 200 // at once
)

// orphansKey is a shard's orphans, receipts as JSON, by when they are to be looked at again.
func orphansKey(s message.Shard) string { return s.Key("orphans") }

// orphansSinceKey is a shard's orphans by when they came.
func orphansSinceKey(s message.Shard) string { return s.Key("orphans:since") }

// name fills in our ids of reports that carry no marker, where Meta's id is known.
func (l *Ledger) name(ctx context.Context, s message.Shard, evidence []message.Evidence) error {
	var places []int
	for i, e := range evidence {
		if _, known := e.State(); known && e.ID == "" && e.WAMID != "" {
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		return nil
	}
	names := make([]string, len(places))
	for i, p := range places {
		names[i] = nameOf(evidence[p].WAMID)
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
				evidence[places[i]].ID = id
			}
		}
	}
	return nil
}

// longestLife is from the acceptance of a message to the end of its wait for reports.
func (l *Ledger) longestLife() time.Duration { return l.o.OpenLife + 7*24*time.Hour }

// orphaned lets reports wait. The same report waits once.
func (l *Ledger) orphaned(ctx context.Context, s message.Shard, orphans []message.Evidence) store.Change {
	key := orphansKey(s)
	return store.Change{Slot: key, Decide: func(_ []string, w *store.Writes) error {
		now := l.db.Clock(ctx, key)
		for _, e := range orphans {
			o, err := json.Marshal(e.Receipt)
			if err != nil {
				return err
			}
			w.Do("zadd", key, "nx", now.Add(orphanFirst).UnixMilli(), o)
			w.Do("zadd", orphansSinceKey(s), "nx", now.UnixMilli(), o)
		}
		return nil
	}}
}

// RejoinAll is Rejoin for all shards that have orphans to look at again. One round trip says which.
func (l *Ledger) RejoinAll(ctx context.Context) error {
	now := make([]time.Time, l.o.Shards)
	due := make([]*redis.IntCmd, l.o.Shards)
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range l.o.Shards.All() {
			now[i] = l.db.Clock(ctx, orphansKey(s))
			due[i] = p.ZCount(ctx, orphansKey(s), "-inf", strconv.FormatInt(now[i].UnixMilli(), 10))
		}
	})
	if err != nil {
		return fmt.Errorf("count orphans: %w", err)
	}
	for i, s := range l.o.Shards.All() {
		if due[i].Val() == 0 {
			continue
		}
		if _, err := l.Rejoin(ctx, s, now[i]); err != nil {
			return fmt.Errorf("apply orphans: %w", err)
		}
	}
	return nil
}

// Rejoin applies the orphans of a shard whose message is known by now, and returns how many reports
// it applied.
func (l *Ledger) Rejoin(ctx context.Context, s message.Shard, now time.Time) (int, error) {
	texts, err := l.db.ZRangeByScore(ctx, orphansKey(s), &redis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(now.UnixMilli(), 10), Count: orphanMost,
	}).Result()
	if err != nil || len(texts) == 0 {
		return 0, err
	}
	since, err := l.db.ZMScore(ctx, orphansSinceKey(s), texts...).Result() // 0: it is not known
	if err != nil {
		return 0, err
	}
	evidence := make([]message.Evidence, len(texts))
	for i, t := range texts {
		if err := json.Unmarshal([]byte(t), &evidence[i].Receipt); err != nil {
			return 0, errors.Join(fmt.Errorf("orphan: %w", err), l.db.ZRem(ctx, orphansKey(s), t).Err())
		}
	}
	if err := l.name(ctx, s, evidence); err != nil {
		return 0, err
	}
	found := slices.DeleteFunc(slices.Clone(evidence), func(e message.Evidence) bool { return e.ID == "" })
	if len(found) > 0 {
		if _, err := l.Fold(ctx, s, found, nil); err != nil {
			return 0, err
		}
	}
	return len(found), l.tx.Do(ctx, 0, store.Change{Slot: orphansKey(s), Decide: func(_ []string, w *store.Writes) error {
		for i, t := range texts {
			waited := now.Sub(time.UnixMilli(int64(since[i])))
			if evidence[i].ID != "" || waited > orphanLife {
				w.ZRem(orphansKey(s), t)
				w.ZRem(orphansSinceKey(s), t)
			} else {
				w.ZAdd(orphansKey(s), now.Add(max(3*waited, orphanFirst)).UnixMilli(), t)
			}
		}
		return nil
	}})
}

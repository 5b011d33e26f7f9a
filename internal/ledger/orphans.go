package ledger

import (
	"context"
	"encoding/json"
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
// outcome may be on its way. Most are of messages that another system sent from the number, so orphans
// do not wait for long, and a shard has a limited number of them: the oldest give way.

const (
	// orphanFirst is when it is looked at again first; each time after that it has waited three times
	// as long again.
	orphanFirst = time.Second
	orphanSome  = 200 // at once
)

// orphansKey is a shard's orphans, receipts as JSON, by when they are to be looked at again.
func orphansKey(s message.Shard) string { return store.Key(s, "orphans") }

// orphansSinceKey is a shard's orphans by when they came.
func orphansSinceKey(s message.Shard) string { return store.Key(s, "orphans:since") }

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

// RejoinAll is Rejoin for all shards that have orphans to look at again, and limits how many wait. One
// round trip says which. It returns how many orphans it dropped, unapplied.
func (l *Ledger) RejoinAll(ctx context.Context) (dropped int, err error) {
	now := make([]time.Time, l.o.Shards)
	due, waiting := make([]*redis.IntCmd, l.o.Shards), make([]*redis.IntCmd, l.o.Shards)
	err = l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range l.o.Shards.All() {
			now[i] = l.db.Clock(ctx, orphansKey(s))
			due[i] = p.ZCount(ctx, orphansKey(s), "-inf", strconv.FormatInt(now[i].UnixMilli(), 10))
			waiting[i] = p.ZCard(ctx, orphansKey(s))
		}
	})
	if err != nil {
		return 0, fmt.Errorf("count orphans: %w", err)
	}
	for i, s := range l.o.Shards.All() {
		if due[i].Val() > 0 {
			_, n, err := l.Rejoin(ctx, s, now[i])
			if dropped += n; err != nil {
				return dropped, fmt.Errorf("apply orphans: %w", err)
			}
		}
		if over := waiting[i].Val() - int64(l.o.OrphanMost); over > 0 {
			n, err := l.dropOldest(ctx, s, over)
			if dropped += n; err != nil {
				return dropped, fmt.Errorf("drop the oldest orphans: %w", err)
			}
		}
	}
	return dropped, nil
}

// dropOldest drops the n orphans of a shard that came first.
func (l *Ledger) dropOldest(ctx context.Context, s message.Shard, n int64) (dropped int, err error) {
	for n > 0 {
		texts, err := l.db.ZRange(ctx, orphansSinceKey(s), 0, min(n, orphanSome)-1).Result()
		if err != nil || len(texts) == 0 {
			return dropped, err
		}
		if err := l.dropOrphans(ctx, s, texts); err != nil {
			return dropped, err
		}
		n, dropped = n-int64(len(texts)), dropped+len(texts)
	}
	return dropped, nil
}

// dropOrphans drops some orphans, also on a full Redis.
func (l *Ledger) dropOrphans(ctx context.Context, s message.Shard, texts []string) error {
	return l.tx.Do(ctx, 0, store.Change{Slot: orphansKey(s), Decide: func(_ []string, w *store.Writes) error {
		remOrphans(w, s, texts)
		return nil
	}})
}

// remOrphans adds to a transaction that some orphans wait no more.
func remOrphans(w *store.Writes, s message.Shard, texts []string) {
	for _, t := range texts {
		w.ZRem(orphansKey(s), t)
		w.ZRem(orphansSinceKey(s), t)
	}
}

// Rejoin applies the orphans of a shard whose message is known by now. It returns how many reports it
// applied, and how many it dropped because they had waited for long enough.
func (l *Ledger) Rejoin(ctx context.Context, s message.Shard, now time.Time) (applied, dropped int, err error) {
	texts, err := l.db.ZRangeByScore(ctx, orphansKey(s), &redis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(now.UnixMilli(), 10), Count: orphanSome,
	}).Result()
	if err != nil || len(texts) == 0 {
		return 0, 0, err
	}
	since, err := l.db.ZMScore(ctx, orphansSinceKey(s), texts...).Result() // 0: it is not known
	if err != nil {
		return 0, 0, err
	}
	evidence := make([]message.Evidence, len(texts))
	var unreadable []string
	for i, t := range texts {
		var err error
		if evidence[i].Receipt, err = message.DecodeReceipt([]byte(t)); err != nil {
			unreadable = append(unreadable, t)
		}
	}
	if len(unreadable) > 0 { // the others have their turn in the next call
		return 0, len(unreadable), l.dropOrphans(ctx, s, unreadable)
	}
	if err := l.name(ctx, s, evidence); err != nil {
		return 0, 0, err
	}
	found := slices.DeleteFunc(slices.Clone(evidence), func(e message.Evidence) bool { return e.ID == "" })
	if len(found) > 0 {
		if _, err := l.Fold(ctx, s, found, nil); err != nil {
			return 0, 0, err
		}
	}
	var over []string
	wait := map[string]int64{}
	for i, t := range texts {
		waited := now.Sub(time.UnixMilli(int64(since[i])))
		switch {
		case evidence[i].ID != "":
			over = append(over, t)
		case waited >= l.o.OrphanLife:
			over, dropped = append(over, t), dropped+1
		default:
			wait[t] = now.Add(min(max(3*waited, orphanFirst), l.o.OrphanLife-waited)).UnixMilli()
		}
	}
	return len(found), dropped, l.tx.Do(ctx, 0, store.Change{Slot: orphansKey(s), Decide: func(_ []string, w *store.Writes) error {
		remOrphans(w, s, over)
		for t, at := range wait {
			w.ZAdd(orphansKey(s), at, t)
		}
		return nil
	}})
}

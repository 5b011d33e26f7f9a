package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/store"
)

// clean removes what format 1 had besides the records, once these are converted, and keeps the statuses that wait
// for their message.
func (m *migration) clean(ctx context.Context) error {
	for _, prefix := range []string{payloadPrefix, wamidPrefix, pairPrefix} {
		if err := m.db.EachKey(ctx, pattern(prefix), "string", func(keys []string) error { return m.unlink(ctx, keys, prefix) }); err != nil {
			return err
		}
	}
	err := m.db.EachKey(ctx, pattern(unmatchedPrefix), "list", func(keys []string) error {
		for s, wamids := range byShard(keys, unmatchedPrefix) {
			for _, wamid := range wamids {
				if err := m.unmatched(ctx, s, store.Key(s, unmatchedPrefix+wamid)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = m.db.EachKey(ctx, pattern(refPrefix), "zset", func(keys []string) error {
		for s, refs := range byShard(keys, refPrefix) {
			for _, ref := range refs {
				if err := m.reference(ctx, store.Key(s, refPrefix+ref)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range m.o.Shards.All() {
		if err := m.db.Unlink(ctx, store.Key(s, oldAttempts), store.Key(s, oldSent), store.Key(s, oldGaps), store.Key(s, oldReaders)).Err(); err != nil {
			return err
		}
	}
	return nil
}

// unlink removes keys. A payload stays until its message is converted.
func (m *migration) unlink(ctx context.Context, keys []string, prefix string) error {
	for s, names := range byShard(keys, prefix) {
		types := make([]*redis.StatusCmd, len(names))
		err := m.db.Pipe(ctx, func(p redis.Pipeliner) {
			for i, name := range names {
				types[i] = p.Type(ctx, store.Key(s, recordPrefix+name))
			}
		})
		if err != nil {
			return err
		}
		var gone []string
		for i, name := range names {
			if types[i].Val() != "hash" {
				gone = append(gone, store.Key(s, prefix+name))
			}
		}
		for some := range slices.Chunk(gone, batchMost) {
			if err := m.db.Unlink(ctx, some...).Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// unmatched moves the statuses of one of Meta's ids to the new list of statuses that wait.
func (m *migration) unmatched(ctx context.Context, s message.Shard, key string) error {
	texts, err := m.db.LRange(ctx, key, 0, -1).Result()
	if err != nil {
		return err
	}
	left, err := m.db.PTTL(ctx, key).Result()
	if err != nil {
		return err
	}
	waited := min(max(0, unmatchedLife-left), unmatchedLife)
	n := 0
	err = m.tx.Do(ctx, 0, store.Change{Slot: key, Durable: true, Decide: func(_ []string, w *store.Writes) error {
		n = 0
		since := m.db.Clock(ctx, key).Add(-waited)
		for _, text := range texts {
			e, err := message.DecodeEvent([]byte(text))
			if err != nil || e.Report == nil {
				w.Do("xadd", events.DeadKey(s), "*", "why", "not a status", oldField, text)
				continue
			}
			n++
			if err := m.ledger.ImportUnmatched(w, s, *e.Report, since.Truncate(time.Millisecond)); err != nil {
				return err
			}
		}
		w.Delete(key)
		return nil
	}})
	if err == nil {
		m.n.Unmatched += n
	}
	return err
}

// reference removes the remaining members of an old index: they have no records.
func (m *migration) reference(ctx context.Context, key string) error {
	members, err := m.db.ZRange(ctx, key, 0, -1).Result()
	if err != nil {
		return err
	}
	var stale []any
	for _, member := range members {
		if !strings.Contains(member, "-") { // new members are whole ids
			stale = append(stale, member)
		}
	}
	return m.db.Tx(ctx, func(p redis.Pipeliner) error {
		if len(stale) > 0 {
			p.ZRem(ctx, key, stale...)
		}
		p.Persist(ctx, key)
		return nil
	})
}

// count is Run with DryRun.
func (m *migration) count(ctx context.Context) error {
	if err := m.stopped(ctx); err != nil {
		m.say("At present a migration would be refused: %v.", err)
	}
	tasks, err := queue.CountActive(ctx, m.db)
	if err != nil {
		return err
	}
	m.n.Tasks = int(tasks)
	for _, s := range m.o.Shards.All() {
		n, err := m.unhandled(ctx, s)
		if m.n.Events += n; err != nil {
			return fmt.Errorf("count events: %w", err)
		}
	}
	err = m.db.EachKey(ctx, pattern(recordPrefix), "hash", func(keys []string) error {
		states := make([]*redis.StringCmd, len(keys))
		err := m.db.Pipe(ctx, func(p redis.Pipeliner) {
			for i, key := range keys {
				states[i] = p.HGet(ctx, key, "st")
			}
		})
		if err != nil {
			return err
		}
		for _, c := range states {
			m.n.States[message.State(c.Val())]++
			m.n.Converted++
		}
		m.report("counted %d messages", m.n.Converted)
		return nil
	})
	if err != nil {
		return err
	}
	err = m.db.EachKey(ctx, pattern(unmatchedPrefix), "list", func(keys []string) error {
		for _, key := range keys {
			n, err := m.db.LLen(ctx, key).Result()
			if m.n.Unmatched += int(n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count unmatched statuses: %w", err)
	}
	m.table("The store has format 1. A migration would convert:")
	return nil
}

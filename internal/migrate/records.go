package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// batchMost is how many messages are read, and written in one transaction.
const batchMost = 100

// records converts all messages.
func (m *migration) records(ctx context.Context) error {
	err := m.db.EachKey(ctx, pattern(recordPrefix), "hash", func(keys []string) error {
		for s, ids := range byShard(keys, recordPrefix) {
			for some := range slices.Chunk(ids, batchMost) {
				if err := m.convert(ctx, s, some); err != nil {
					return err
				}
				m.report("converted %d messages", m.n.Converted)
			}
		}
		return ctx.Err()
	})
	if err == nil && len(m.bad) > 0 {
		slices.Sort(m.bad)
		m.bad = slices.Compact(m.bad)
		return fmt.Errorf("%w: %d, for example %s. Examine them with `redis-cli HGETALL`, delete those that you do not need, and run this again",
			ErrUnreadable, len(m.bad), strings.Join(m.bad[:min(len(m.bad), 5)], ", "))
	}
	return err
}

// byShard returns what follows a prefix in keys, by shard and without duplicates. It leaves out keys of other systems.
func byShard(keys []string, prefix string) map[message.Shard][]string {
	by := map[message.Shard][]string{}
	for _, key := range keys {
		if s, rest, ok := splitKey(key); ok && strings.HasPrefix(rest, prefix) {
			by[s] = append(by[s], strings.TrimPrefix(rest, prefix))
		}
	}
	for s, names := range by {
		slices.Sort(names)
		by[s] = slices.Compact(names)
	}
	return by
}

// found is what format 1 had of a message.
type found struct {
	hash    *redis.MapStringStringCmd
	payload *redis.StringCmd
	left    *redis.DurationCmd
	ref     *redis.FloatCmd // nil: it has no reference
	member  string          // in the index of its reference

	record record.Record
}

// convert converts some messages of a shard.
func (m *migration) convert(ctx context.Context, s message.Shard, ids []string) error {
	all, err := m.lookUp(ctx, s, ids)
	if err != nil || len(all) == 0 {
		return err
	}
	err = m.tx.Do(ctx, 0, store.Change{
		Slot: ledger.RecordPrefix(s), Durable: true,
		Decide: func(_ []string, w *store.Writes) error {
			now := m.db.Clock(ctx, ledger.RecordPrefix(s))
			for _, f := range all {
				f.write(m.ledger, w, s, now)
			}
			return nil
		},
	})
	if err == nil {
		m.n.Converted += len(all)
	}
	return err
}

// lookUp reads messages in the old format, and records the ids of those that cannot be read.
func (m *migration) lookUp(ctx context.Context, s message.Shard, ids []string) ([]*found, error) {
	all := make([]*found, len(ids))
	err := m.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			all[i] = &found{
				hash: p.HGetAll(ctx, store.Key(s, recordPrefix+id)), payload: p.Get(ctx, store.Key(s, payloadPrefix+id)),
				left: p.PTTL(ctx, store.Key(s, recordPrefix+id)),
			}
		}
	})
	if err != nil {
		return nil, err
	}
	var good []*found
	for i, f := range all {
		if len(f.hash.Val()) == 0 {
			continue // it expired at this moment
		}
		f.record, err = read(ids[i], f.hash.Val(), f.payload.Val())
		if err != nil || m.o.Shards.Of(f.record.From) != s {
			m.bad = append(m.bad, ids[i])
			continue
		}
		good = append(good, f)
	}
	err = m.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, f := range good {
			if r := f.record; r.Ref != "" {
				_, f.member, _ = strings.Cut(r.ID, "-")
				f.ref = p.ZScore(ctx, ledger.ReferenceKey(s, r.From, r.Ref), f.member)
			}
		}
	})
	return good, err
}

// write writes a message in the new format and removes what the old format had of it alone.
func (f *found) write(l *ledger.Ledger, w *store.Writes, s message.Shard, now time.Time) {
	endsAt := now
	if left := f.left.Val(); left > 0 {
		endsAt = now.Add(left)
	}
	l.Import(w, s, f.record, endsAt)
	if f.ref != nil && f.ref.Err() == nil { // otherwise later messages had replaced it there
		l.ImportReference(w, s, f.record, f.member)
	}
	w.Delete(store.Key(s, payloadPrefix+f.record.ID))
	for _, wamid := range f.record.WAMIDs() {
		w.Delete(store.Key(s, wamidPrefix+wamid))
	}
}

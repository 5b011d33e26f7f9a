package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// With this file, package migrate writes what an older version stored. So the rules about what belongs to a
// record are in this package alone.

// OldFormat is the format before record.Format: a hash and a payload for each message.
const OldFormat = 1

// migrating replaces the format in the layout while records are converted: old and new programs refuse to start
// on it.
const migrating = "migrating"

// Format returns the format of the store's records: 0 if the store has none yet, OldFormat also while a migration
// runs. It returns ErrShards if the store has another number of shards.
func (l *Ledger) Format(ctx context.Context) (int, error) {
	found, err := l.db.Get(ctx, layoutKey).Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the layout of the store: %w", err)
	}
	shards, rest, newer := strings.Cut(found, "/")
	if n, err := strconv.Atoi(shards); err != nil || n != int(l.o.Shards) {
		return 0, fmt.Errorf("%w: it has %s, and the configuration says shards: %d. Set shards back", ErrShards, shards, l.o.Shards)
	}
	if !newer || rest == migrating {
		return OldFormat, nil
	}
	format, err := strconv.Atoi(rest)
	if err != nil {
		return 0, fmt.Errorf("%w: its layout is %q", record.ErrFormat, found)
	}
	return format, nil
}

// BeginMigration marks the store, durably, so that neither old nor new programs start on it.
func (l *Ledger) BeginMigration(ctx context.Context) error {
	return l.setLayout(ctx, strconv.Itoa(int(l.o.Shards))+"/"+migrating)
}

// EndMigration removes that mark: new programs can start on the store.
func (l *Ledger) EndMigration(ctx context.Context) error { return l.setLayout(ctx, layout(l.o.Shards)) }

func (l *Ledger) setLayout(ctx context.Context, text string) error {
	err := l.db.Durably(ctx, func(p redis.Pipeliner) { p.Set(ctx, layoutKey, text, 0) })
	if err != nil {
		return fmt.Errorf("write the layout of the store: %w", err)
	}
	return nil
}

// Import writes a record that was stored in another format, with everything that belongs to it except its entry
// in the index of its reference, see ImportReference. The record of an ended message is kept at least until endsAt.
func (l *Ledger) Import(w *store.Writes, s message.Shard, r record.Record, endsAt time.Time) {
	w.Set(RecordPrefix(s)+r.ID, r.Encode())
	if p := r.ListEntry(); p.List != message.NoList {
		w.ZAdd(listKey(s, p.List), p.Score, p.Member)
	}
	l.writeNames(w, s, record.Record{}, r)
	if r.State.Final() {
		// In an earlier hour Purge would ignore it, because its life has not ended.
		if end := l.endsAt(&r); endsAt.Before(end) {
			endsAt = end
		}
		w.RPush(endedKey(s, endsAt), r.ID)
	}
}

// ImportReference adds a message to the index of its reference, in the place of another member.
func (l *Ledger) ImportReference(w *store.Writes, s message.Shard, r record.Record, member string) {
	key := ReferenceKey(s, r.From, r.Ref)
	w.ZAdd(key, r.AcceptedAt.UnixMilli(), r.ID)
	w.ZRem(key, member)
	w.Do("persist", key)
}

// ReferenceKey is the index of a number's reference.
func ReferenceKey(s message.Shard, number, ref string) string { return refKey(s, number, ref) }

// ImportUnmatched stores a status that has waited for its message since a time.
func (l *Ledger) ImportUnmatched(w *store.Writes, s message.Shard, r message.StatusReport, since time.Time) error {
	o, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode an unmatched status: %w", err)
	}
	w.ZAdd(unmatchedKey(s), since.Add(unmatchedFirst).UnixMilli(), string(o))
	w.ZAdd(unmatchedSinceKey(s), since.UnixMilli(), string(o))
	return nil
}

// ImportPurging makes Purge begin with the present hour: it skips no list of a later hour, even if it takes
// long until a worker starts.
func (l *Ledger) ImportPurging(ctx context.Context, s message.Shard) error {
	now := l.db.Clock(ctx, RecordPrefix(s))
	if err := l.db.SetNX(ctx, purgedKey(s), hourOf(now)-1, 0).Err(); err != nil {
		return fmt.Errorf("set where purging begins: %w", err)
	}
	return nil
}

// pruneMost is how many entries of a list are read together.
const pruneMost = 200

// Prune removes the entries of a shard's lists that belong to no record, and returns how many. It is for a store
// that no other program changes.
func (l *Ledger) Prune(ctx context.Context, s message.Shard) (n int, err error) {
	for _, list := range lists {
		for cursor, first := uint64(0), true; first || cursor != 0; first = false {
			var pairs []string
			if pairs, cursor, err = l.db.ZScan(ctx, listKey(s, list), cursor, "", pruneMost).Result(); err != nil {
				return n, fmt.Errorf("read list: %w", err)
			}
			k, err := l.prune(ctx, s, list, pairs)
			if n += k; err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// prune is Prune for some entries, each a member and its score.
func (l *Ledger) prune(ctx context.Context, s message.Shard, list message.List, pairs []string) (n int, err error) {
	var members, ids []string
	for i := 0; i+1 < len(pairs); i += 2 {
		id := pairs[i]
		if list == message.ListDead {
			_, _, id, _ = record.DeadLetter(id)
		}
		members, ids = append(members, pairs[i]), append(ids, id)
	}
	all, err := l.ReadAll(ctx, s, ids)
	if err != nil {
		return 0, err
	}
	var stale []any
	for i, r := range all {
		if p := r.ListEntry(); !r.Exists() || p.List != list || p.Member != members[i] {
			stale = append(stale, members[i])
		}
	}
	for some := range slices.Chunk(stale, pruneMost) {
		if err := l.db.ZRem(ctx, listKey(s, list), some...).Err(); err != nil {
			return n, fmt.Errorf("drop stale entries of a list: %w", err)
		}
		n += len(some)
	}
	return n, nil
}

// Misplaced returns the id of a record that is not in the list where it belongs; "" when there is none.
func (l *Ledger) Misplaced(ctx context.Context, s message.Shard, all []record.Record) (string, error) {
	scores := make([]*redis.FloatCmd, len(all))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, r := range all {
			if at := r.ListEntry(); at.List != message.NoList {
				scores[i] = p.ZScore(ctx, listKey(s, at.List), at.Member)
			}
		}
	})
	if err != nil {
		return "", fmt.Errorf("read lists: %w", err)
	}
	for i, c := range scores {
		if c != nil && (c.Err() != nil || int64(c.Val()) != all[i].ListEntry().Score) {
			return all[i].ID, nil
		}
	}
	return "", nil
}

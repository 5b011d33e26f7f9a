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

// This file lets package migrate write what an older version stored. So the rules of what belongs
// to a record stand in this package alone.

// OldFormat is the format before record.Format: a hash and a payload for each message.
const OldFormat = 1

// migrating stands in the layout in place of the format while records are converted: old and new
// programs refuse to start on it.
const migrating = "migrating"

// Format returns the format of the store's records: 0 when the store has none yet, OldFormat also
// while a migration is under way. It is ErrShards when the store has another number of shards.
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
		return 0, fmt.Errorf("%w: it has %s, the configuration says shards: %d; set shards back", ErrShards, shards, l.o.Shards)
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

// EndMigration lets new programs start on the store.
func (l *Ledger) EndMigration(ctx context.Context) error { return l.setLayout(ctx, layout(l.o.Shards)) }

func (l *Ledger) setLayout(ctx context.Context, text string) error {
	err := l.db.Durably(ctx, func(p redis.Pipeliner) { p.Set(ctx, layoutKey, text, 0) })
	if err != nil {
		return fmt.Errorf("write the layout of the store: %w", err)
	}
	return nil
}

// Import writes a record that another format held, with all that belongs to it except its place
// among those of its reference, see ImportReference. The record of a message that ended stays until
// endsAt at least.
func (l *Ledger) Import(w *store.Writes, s message.Shard, r record.Record, endsAt time.Time) {
	w.Set(RecordPrefix(s)+r.ID, r.Encode())
	if p := r.Place(); p.List != message.NoList {
		w.ZAdd(listKey(s, p.List), p.Score, p.Member)
	}
	l.writeNames(w, s, record.Record{}, r)
	if r.State.Final() {
		// In an earlier hour Forget would pass over it: its life would not be over.
		if end := l.endsAt(&r); endsAt.Before(end) {
			endsAt = end
		}
		w.RPush(endedKey(s, endsAt), r.ID)
	}
}

// ImportReference enters a message into the index of its reference in the place of another member.
func (l *Ledger) ImportReference(w *store.Writes, s message.Shard, r record.Record, member string) {
	key := ReferenceKey(s, r.From, r.Ref)
	w.ZAdd(key, r.AcceptedAt.UnixMilli(), r.ID)
	w.ZRem(key, member)
	w.Do("persist", key)
}

// ReferenceKey is the index of a number's reference.
func ReferenceKey(s message.Shard, number, ref string) string { return refKey(s, number, ref) }

// ImportOrphan lets a report wait for its message that has waited since a time.
func (l *Ledger) ImportOrphan(w *store.Writes, s message.Shard, r message.Receipt, since time.Time) error {
	o, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("orphan: %w", err)
	}
	w.ZAdd(orphansKey(s), since.Add(orphanFirst).UnixMilli(), string(o))
	w.ZAdd(orphansSinceKey(s), since.UnixMilli(), string(o))
	return nil
}

// ImportForgetting lets Forget begin with the present hour: no list of an earlier one is passed over,
// however long it takes until a worker starts.
func (l *Ledger) ImportForgetting(ctx context.Context, s message.Shard) error {
	now := l.db.Clock(ctx, RecordPrefix(s))
	if err := l.db.SetNX(ctx, forgottenKey(s), hourOf(now)-1, 0).Err(); err != nil {
		return fmt.Errorf("set where forgetting begins: %w", err)
	}
	return nil
}

// pruneMost is how many entries of a list are looked at together.
const pruneMost = 200

// Prune drops the entries of a shard's lists that no record belongs to, and returns how many. It is
// for a store that nobody else changes.
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
		if list == message.Graves {
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
		if p := r.Place(); !r.Exists() || p.List != list || p.Member != members[i] {
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

// Misplaced returns the id of a record that is not where it belongs in the lists; "" when all are.
func (l *Ledger) Misplaced(ctx context.Context, s message.Shard, all []record.Record) (string, error) {
	scores := make([]*redis.FloatCmd, len(all))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, r := range all {
			if at := r.Place(); at.List != message.NoList {
				scores[i] = p.ZScore(ctx, listKey(s, at.List), at.Member)
			}
		}
	})
	if err != nil {
		return "", fmt.Errorf("read lists: %w", err)
	}
	for i, c := range scores {
		if c != nil && (c.Err() != nil || int64(c.Val()) != all[i].Place().Score) {
			return all[i].ID, nil
		}
	}
	return "", nil
}

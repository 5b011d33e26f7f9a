package ledger

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// OfRecipients returns the records of all messages to recipients, by their keyed hashes, without tombstones, the latest first.
func (l *Ledger) OfRecipients(ctx context.Context, hashes []string) ([]record.Record, error) {
	found := map[message.Shard][]*redis.StringSliceCmd{}
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		clear(found)
		for _, s := range l.o.Shards.All() {
			for _, hash := range hashes {
				found[s] = append(found[s], p.LRange(ctx, recipientKey(s, hash), 0, -1))
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find messages by recipient: %w", err)
	}
	var all []record.Record
	for s, lists := range found {
		var ids []string
		for _, c := range lists {
			ids = append(ids, c.Val()...)
		}
		slices.Sort(ids)
		for some := range slices.Chunk(slices.Compact(ids), 500) {
			records, _, err := l.ReadReadable(ctx, s, some)
			if err != nil {
				return nil, err
			}
			for i := range records {
				if r := &records[i]; r.Exists() && !r.Tombstone() && slices.Contains(hashes, r.RecipientHash) {
					all = append(all, *r)
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b record.Record) int { return b.AcceptedAt.Compare(a.AcceptedAt) })
	return all, nil
}

// Forget deletes the record of a message that has ended, or that Meta has accepted, with its list and index entries, before its
// life ends. The tombstone of a message with a key stays, without its recipient and its reference: nothing else may get the
// key. Forget returns false if there is no such record. A status that Meta sends later finds no record.
func (l *Ledger) Forget(ctx context.Context, id string) (forgotten bool, err error) {
	s, key, err := l.shardOf(id)
	if err != nil {
		return false, err
	}
	now := l.db.Clock(ctx, key)
	err = l.tx.Do(ctx, 0, store.Change{Keys: []string{key}, Slot: key, Decide: func(values []string, w *store.Writes) error {
		r, err := record.Decode(id, values[0])
		forgotten = err == nil && r.Exists() && !r.Tombstone() && (r.State.Final() || r.State.AtMeta())
		if !forgotten {
			return err
		}
		until := l.endsAt(&r).Add(l.o.KeyLife)
		r.To = ""
		l.end(w, s, &r, now)
		if r.Hash != "" && until.After(now) {
			t := r.ToTombstone(until)
			t.Ref = ""
			w.Set(key, t.Encode())
		}
		return nil
	}})
	if err != nil {
		return false, fmt.Errorf("forget %s: %w", id, err)
	}
	return forgotten, nil
}

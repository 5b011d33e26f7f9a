package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// refKey is the index of a number's reference, with the hash of the reference in its name: the ids of its messages,
// ordered by when they were accepted.
func refKey(s message.Shard, number, ref string) string {
	sum := sha256.Sum256([]byte(number + "\x00" + ref))
	return store.Key(s, "r:"+hex.EncodeToString(sum[:8]))
}

// ByRef returns the messages of a number with a reference whose records still exist, the latest first: at most one
// hundred.
func (l *Ledger) ByRef(ctx context.Context, number, ref string) ([]message.Record, error) {
	s := l.o.Shards.Of(number)
	ids, err := l.db.ZRevRange(ctx, refKey(s, number, ref), 0, refsMost-1).Result()
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	found, _, err := l.ReadReadable(ctx, s, ids)
	if err != nil {
		return nil, err
	}
	return records(slices.DeleteFunc(found, func(r record.Record) bool { return !r.Exists() || r.Ref != ref })), nil
}

// records returns the parts of records that people see.
func records(all []record.Record) []message.Record {
	out := make([]message.Record, len(all))
	for i, r := range all {
		out[i] = r.Record
	}
	return out
}

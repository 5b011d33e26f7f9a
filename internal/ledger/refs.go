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

// refKey is the index of a number's reference, which it names by a hash: the ids of the messages
// that have it, by when they were accepted.
func refKey(s message.Shard, number, ref string) string {
	sum := sha256.Sum256([]byte(number + "\x00" + ref))
	return store.Key(s, "r:"+hex.EncodeToString(sum[:8]))
}

// ByRef returns the messages of a number that were accepted with a reference and whose records
// live, the latest first: the latest hundred at most.
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

// records returns what people see of records.
func records(all []record.Record) []message.Record {
	out := make([]message.Record, len(all))
	for i, r := range all {
		out[i] = r.Record
	}
	return out
}

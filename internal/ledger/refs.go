package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// refName names a number's reference in its index's key; empty for none.
func refName(number, ref string) string {
	if ref == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(number + "\x00" + ref))
	return hex.EncodeToString(sum[:8])
}

// ByRef returns the messages of a number that were accepted with a reference and whose records
// live, the latest first: the latest hundred at most.
func (l *Ledger) ByRef(ctx context.Context, number, ref string) ([]message.Record, error) {
	s := l.o.Shards.Of(number)
	key := s.Key("r:" + refName(number, ref))
	now, err := l.db.Now(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read the store's clock: %w", err)
	}
	rests, err := l.db.ZRangeByScore(ctx, key, &redis.ZRangeBy{
		Min: fmt.Sprint(now.UnixMilli()), Max: "+inf",
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	for i, rest := range rests {
		rests[i] = number + "-" + rest
	}
	found, err := l.getAll(ctx, s, rests)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(r message.Record) bool { return r.Ref != ref }) // another of the same name
	slices.SortStableFunc(found, func(a, b message.Record) int { return b.AcceptedAt.Compare(a.AcceptedAt) })
	return found, nil
}

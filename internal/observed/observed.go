// Package observed stores in Redis what workers observe of each number, for the console of the producers: the requests
// to Meta with their latency, and what Meta says of the number.
package observed

import (
	"context"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// Store reads and writes what workers observed. It is safe for concurrent use.
type Store struct {
	db     *store.DB
	shards message.Shards
}

// New returns the Store of an installation.
func New(db *store.DB, shards message.Shards) *Store { return &Store{db, shards} }

// readAll reads a hash of each shard, with one command for each.
func (s *Store) readAll(ctx context.Context, keyOf func(message.Shard) string) ([]map[string]string, error) {
	var replies []*redis.MapStringStringCmd
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		replies = nil
		for _, shard := range s.shards.All() {
			replies = append(replies, p.HGetAll(ctx, keyOf(shard)))
		}
	})
	all := make([]map[string]string, len(replies))
	for i, reply := range replies {
		all[i] = reply.Val()
	}
	return all, err
}

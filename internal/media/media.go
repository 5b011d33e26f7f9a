// Package media remembers which files were uploaded to Meta from which numbers, by the SHA-256 hash of their content, so that a file is
// uploaded once and many messages name it.
package media

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// Known is how long an upload is remembered. Meta deletes uploaded media after 30 days; a message that is accepted at the end of this time still
// has 8 days to be sent.
// https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media
const Known = 22 * 24 * time.Hour

// cachedFor is how long a Store uses an id that it has read, and cachedMost how many it keeps.
const (
	cachedFor  = time.Minute
	cachedMost = 1000
)

// Store has the uploads of all numbers in Redis. It is safe for concurrent use.
type Store struct {
	db     *store.DB
	shards message.Shards

	mu     sync.Mutex
	cached map[upload]cached
}

// upload is a file that was uploaded from a number.
type upload struct{ number, hash string }

type cached struct {
	id    string
	until time.Time
}

// New returns a Store.
func New(db *store.DB, shards message.Shards) *Store {
	return &Store{db: db, shards: shards, cached: map[upload]cached{}}
}

// key is Meta's id of a file with a hash, 64 lower-case hexadecimal digits, that was uploaded from a number.
func (s *Store) key(number, hash string) string {
	return store.Key(s.shards.Of(number), "media:"+number+":"+hash)
}

// Add remembers Meta's id of a file that was uploaded from a number now.
func (s *Store) Add(ctx context.Context, number, hash, id string) error {
	if err := s.db.Set(ctx, s.key(number, hash), id, Known).Err(); err != nil {
		return fmt.Errorf("remember an upload: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cached, upload{number, hash})
	return nil
}

// Find returns Meta's id of each file at a number, by the hashes of the files; empty: it is not known. It is one round trip, or none if all
// were read in the last minute.
func (s *Store) Find(ctx context.Context, number string, hashes []string) ([]string, error) {
	ids, now := make([]string, len(hashes)), time.Now()
	var ask []int
	s.mu.Lock()
	for i, hash := range hashes {
		if c := s.cached[upload{number, hash}]; now.Before(c.until) {
			ids[i] = c.id
		} else {
			ask = append(ask, i)
		}
	}
	s.mu.Unlock()
	if len(ask) == 0 {
		return ids, nil
	}
	cmds := make([]*redis.StringCmd, len(ask))
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for k, i := range ask {
			cmds[k] = p.Get(ctx, s.key(number, hashes[i]))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find uploads: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cached) > cachedMost {
		clear(s.cached)
	}
	for k, i := range ask {
		if ids[i] = cmds[k].Val(); ids[i] != "" {
			s.cached[upload{number, hashes[i]}] = cached{ids[i], now.Add(cachedFor)}
		}
	}
	return ids, nil
}

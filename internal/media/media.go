// Package media remembers which files were uploaded to Meta from which numbers, by the SHA-256 hash of their content, so that a file is
// uploaded once and many messages name it.
package media

import (
	"context"
	"errors"
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
	failedFor  = 2 * time.Second // how long an error of Redis is returned again: each message of a batch would wait for another one
)

// Store has the uploads of all numbers in Redis. It is safe for concurrent use.
type Store struct {
	db     *store.DB
	shards message.Shards

	mu     sync.Mutex
	cached map[upload]cached
	failed error // of the last reading, until
	until  time.Time
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

// hashKey is the hash of a file by Meta's id.
func (s *Store) hashKey(number, id string) string {
	return store.Key(s.shards.Of(number), "media:"+number+":id:"+id)
}

// Add remembers Meta's id of a file that was uploaded from a number now.
func (s *Store) Add(ctx context.Context, number, hash, id string) error {
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		p.Set(ctx, s.key(number, hash), id, Known)
		p.Set(ctx, s.hashKey(number, id), hash, Known)
	})
	if err != nil {
		return fmt.Errorf("remember an upload: %w", err)
	}
	s.forget(number, hash)
	return nil
}

// Remove forgets a file by Meta's id, because it was deleted at Meta. Other processes use it for up to a minute.
func (s *Store) Remove(ctx context.Context, number, id string) error {
	hash, err := s.db.Get(ctx, s.hashKey(number, id)).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err == nil {
		err = s.db.Pipe(ctx, func(p redis.Pipeliner) { p.Del(ctx, s.key(number, hash), s.hashKey(number, id)) })
	}
	if err != nil {
		return fmt.Errorf("forget an upload: %w", err)
	}
	s.forget(number, hash)
	return nil
}

// forget removes a file from memory.
func (s *Store) forget(number, hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cached, upload{number, hash})
}

// Find returns Meta's id of each file at a number, by the hashes of the files; empty: it is not known. It is one round trip, or none if all
// were read in the last minute, or if Redis did not answer a moment ago.
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
	failed := s.failed
	if now.After(s.until) {
		failed = nil
	}
	s.mu.Unlock()
	if len(ask) == 0 || failed != nil {
		return ids, failed
	}
	cmds := make([]*redis.StringCmd, len(ask))
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for k, i := range ask {
			cmds[k] = p.Get(ctx, s.key(number, hashes[i]))
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed, s.until = fmt.Errorf("find uploads: %w", err), time.Now().Add(failedFor)
		return nil, s.failed
	}
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

package directory

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/store"
)

// usesEvery is how often a process stores when API keys were last used.
const usesEvery = 30 * time.Second

// usesKey is the Redis key of when API keys were last used: a hash by name, in Unix seconds. It also has the keys of configuration files.
func usesKey() string { return store.Key(place, "directory:used") }

// Uses stores when the API keys of a process were last used. It is safe for concurrent use.
type Uses struct {
	db  *store.DB
	log *slog.Logger

	mu  sync.Mutex
	all map[string]*use
}

// use is the last use of an API key.
type use struct {
	at     atomic.Int64 // in Unix seconds; 0: it was not used
	stored int64        // what Redis has of it; only Run uses it
}

// NewUses returns Uses. Call Run too: without it nothing is stored.
func NewUses(db *store.DB, log *slog.Logger) *Uses {
	return &Uses{db: db, log: log, all: map[string]*use{}}
}

// Of returns where the last use of an API key goes, in Unix seconds.
func (u *Uses) Of(name string) *atomic.Int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all[name] == nil {
		u.all[name] = &use{}
	}
	return &u.all[name].at
}

// Run stores every 30 s what is new, and once more when ctx ends. It returns nil.
func (u *Uses) Run(ctx context.Context) error {
	tick := time.NewTicker(usesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			u.keep(last)
			return nil
		case <-tick.C:
			u.keep(ctx)
		}
	}
}

// keep stores what is new. Of two processes the later one wins, so a time in Redis can be up to usesEvery too early.
func (u *Uses) keep(ctx context.Context) {
	u.mu.Lock()
	all := maps.Clone(u.all)
	u.mu.Unlock() // Of must not wait for Redis
	next := map[string]any{}
	for name, one := range all {
		if at := one.at.Load(); at != one.stored {
			next[name] = at
		}
	}
	if len(next) == 0 {
		return
	}
	if err := u.db.HSet(ctx, usesKey(), next).Err(); err != nil {
		u.log.Warn("cannot store when API keys were last used, will retry", "err", err)
		return
	}
	for name, at := range next {
		all[name].stored = at.(int64)
	}
}

// addUses adds when they were last used to API keys.
func (s *Store) addUses(ctx context.Context, keys []APIKey) error {
	if len(keys) == 0 {
		return nil
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Name
	}
	values, err := s.o.DB.HMGet(ctx, usesKey(), names...).Result()
	if err != nil {
		return fmt.Errorf("read when API keys were last used: %w", err)
	}
	for i := range keys {
		text, _ := values[i].(string)
		if at, err := strconv.ParseInt(text, 10, 64); err == nil {
			keys[i].LastUsed = time.Unix(at, 0).UTC()
		}
	}
	return nil
}

package relay

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/store"
)

var (
	//go:embed lua/save.lua
	saveLua string
	//go:embed lua/forget.lua
	forgetLua string
)

// progressKey is the Redis key of what the targets have got of a shard: a hash from their names to their progress.
func progressKey(s message.Shard) string { return store.Key(s, "relay") }

// leaseKey is the Redis key of the name of the worker that relays a shard: a string that ends with the lease.
func leaseKey(s message.Shard) string { return store.Key(s, "relay:lease") }

// asideKey is the Redis key of the events of a shard that wait for another try while later events are relayed: a hash
// from their places to the events.
func asideKey(s message.Shard, target string) string { return store.Key(s, "relay:aside:"+target) }

// deadKey is the Redis key of the events of a shard that were given up: a stream.
func deadKey(s message.Shard, target string) string { return store.Key(s, "relay:dead:"+target) }

// progress is what a target has got of a shard, and how it is doing there.
type progress struct {
	Born       int64  `json:"born"`       // of the target
	Generation int64  `json:"generation"` // of the target
	Requeued   int64  `json:"requeued,omitempty"`
	Message    string `json:"message"` // the place in the stream of message events
	Meta       string `json:"meta"`    // the place in the stream of events from Meta

	Oldest  int64  `json:"oldest,omitempty"` // when the oldest waiting event was written, Unix milliseconds; 0: none waits
	Aside   int    `json:"aside,omitempty"`
	Failing int64  `json:"failing,omitempty"` // when the first of the last failures was, Unix milliseconds; 0: the last request was taken
	Paused  bool   `json:"paused,omitempty"`  // it is in the state failing
	Error   string `json:"error,omitempty"`
	Next    int64  `json:"next,omitempty"` // no request before, Unix milliseconds

	Gaps    int   `json:"gaps,omitempty"`     // how often events were dropped before they were relayed
	GapFrom int64 `json:"gap_from,omitempty"` // the times of the last such events, Unix milliseconds
	GapTo   int64 `json:"gap_to,omitempty"`
}

// aside is an event that was set aside, or given up.
type aside struct {
	Key     string `json:"key"` // the stream
	Place   string `json:"place"`
	Text    string `json:"event"`
	Tries   int    `json:"tries"`
	Against int    `json:"against,omitempty"`
	First   int64  `json:"first,omitempty"` // when it first failed, Unix milliseconds
	Next    int64  `json:"next,omitempty"`  // when the next try is due, Unix milliseconds
	Error   string `json:"error,omitempty"`
}

// field names the event among those that are set aside.
func (a aside) field() string { return a.Key + " " + a.Place }

func readAside(value any) (one aside, ok bool) {
	text, _ := value.(string)
	return one, json.Unmarshal([]byte(text), &one) == nil
}

// loaded is what is stored of a target in a shard.
type loaded struct {
	progress progress
	aside    []aside // in the order of their streams
}

// changes are what to store of a target in a shard.
type changes struct {
	progress progress
	put      []aside  // set aside
	gone     []string // fields that are no longer set aside
	dead     []aside  // given up
	deadEnd  string   // remove the dead letters up to this entry, because put has them; empty: none
}

// states stores what targets have got. All writes need the lease of the shard.
type states struct {
	db           *store.DB
	worker       string
	save, forget store.Script
}

func newStates(db *store.DB, worker string) *states {
	return &states{db: db, worker: worker, save: db.Script(saveLua), forget: db.Script(forgetLua)}
}

// Load returns what is stored of a target in a shard. It is empty for a new target.
func (s *states) Load(ctx context.Context, shard message.Shard, target string) (loaded, error) {
	var found loaded
	var text *redis.StringCmd
	var rest *redis.MapStringStringCmd
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		text, rest = p.HGet(ctx, progressKey(shard), target), p.HGetAll(ctx, asideKey(shard, target))
	})
	if err == nil && text.Val() != "" {
		err = json.Unmarshal([]byte(text.Val()), &found.progress)
	}
	if err != nil {
		return found, fmt.Errorf("read the progress of relay target %s: %w", target, err)
	}
	for _, value := range rest.Val() {
		if one, ok := readAside(value); ok {
			found.aside = append(found.aside, one)
		}
	}
	sortAside(found.aside)
	return found, nil
}

// sortAside sorts events by stream and place.
func sortAside(all []aside) {
	slices.SortFunc(all, func(a, b aside) int {
		p, _ := events.ParsePlace(a.Place)
		q, _ := events.ParsePlace(b.Place)
		return cmp.Or(cmp.Compare(a.Key, b.Key), compareEntries(p.Entry, q.Entry), cmp.Compare(p.N, q.N))
	})
}

// Dead returns the dead letters of a target in a shard, in the order of their streams, and the last entry that holds one.
func (s *states) Dead(ctx context.Context, shard message.Shard, target string) (all []aside, last string, err error) {
	found, err := s.db.XRange(ctx, deadKey(shard, target), "-", "+").Result()
	if err != nil {
		return nil, "", fmt.Errorf("read the dead letters of relay target %s: %w", target, err)
	}
	for _, x := range found {
		last = x.ID
		if one, ok := readAside(x.Values["event"]); ok {
			all = append(all, one)
		}
	}
	sortAside(all)
	return all, last, nil
}

// Save stores changes. It returns false, and stores nothing, if this worker has lost the lease. dropped is how many dead
// letters it removed because there were too many.
func (s *states) Save(ctx context.Context, shard message.Shard, target string, c changes) (owned bool, dropped int, err error) {
	text, err := json.Marshal(c.progress)
	if err != nil {
		return false, 0, err
	}
	keep := "" // the first dead letter that stays
	if c.deadEnd != "" {
		ms, n := splitEntry(c.deadEnd)
		keep = fmt.Sprintf("%d-%d", ms, n+1)
	}
	args := []any{s.worker, target, text, keep, len(c.put)}
	for _, one := range c.put {
		text, err := json.Marshal(one)
		if err != nil {
			return false, 0, err
		}
		args = append(args, one.field(), text)
	}
	args = append(args, len(c.gone))
	for _, field := range c.gone {
		args = append(args, field)
	}
	for _, one := range c.dead {
		text, err := json.Marshal(one)
		if err != nil {
			return false, 0, err
		}
		args = append(args, text)
	}
	n, err := s.run(ctx, s.save, shard, target, args)
	return n >= 0 && err == nil, max(n, 0), err
}

// Forget removes what is stored of a target in a shard. It returns false, and removes nothing, without the lease.
func (s *states) Forget(ctx context.Context, shard message.Shard, target string) (owned bool, err error) {
	n, err := s.run(ctx, s.forget, shard, target, []any{s.worker, target})
	return n == 1, err
}

// Targets returns the names of the targets of which something is stored in a shard.
func (s *states) Targets(ctx context.Context, shard message.Shard) ([]string, error) {
	return s.db.HKeys(ctx, progressKey(shard)).Result()
}

func (s *states) run(ctx context.Context, script store.Script, shard message.Shard, target string, args []any) (int, error) {
	keys := []string{leaseKey(shard), progressKey(shard), asideKey(shard, target), deadKey(shard, target)}
	n, err := s.db.Run(ctx, script, keys, args...).Int()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("store the progress of relay target %s: %w", target, err)
	}
	return n, nil
}

func boolean(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// compareEntries compares the ids of two entries of a stream, like cmp.Compare.
func compareEntries(a, b string) int {
	am, an := splitEntry(a)
	bm, bn := splitEntry(b)
	return cmp.Or(cmp.Compare(am, bm), cmp.Compare(an, bn))
}

// splitEntry returns the time of an entry in Unix milliseconds, and its number within the millisecond.
func splitEntry(id string) (ms, n int64) {
	for i := range len(id) {
		if id[i] == '-' {
			ms, _ = strconv.ParseInt(id[:i], 10, 64)
			n, _ = strconv.ParseInt(id[i+1:], 10, 64)
			return ms, n
		}
	}
	return 0, 0
}

package events

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

//go:embed lua/measure.lua
var measureLua string

const (
	// leastMemory is the least memory for events, in bytes, whatever Redis may use.
	leastMemory = 16 << 20
	// maxCuts is how often one Trim drops events for lack of memory. If that is not enough, the next Trim goes on.
	maxCuts = 4
	// fill is how full the memory is after a cut, so that not every small growth demands another one.
	fill = 0.98
)

// Kept says how much memory events use and how long they are kept, as the worker that trims the streams found it.
type Kept struct {
	At        time.Time     `json:"at"`        // when; zero: no worker has measured the streams yet
	Bytes     int64         `json:"bytes"`     // of memory that they use
	Budget    int64         `json:"budget"`    // bytes of memory that they may use
	Retention time.Duration `json:"retention"` // events.retention
	Effective time.Duration `json:"effective"` // how long events are kept: Retention, or less for lack of memory
}

// Short reports whether events are dropped before their time, for lack of memory.
func (k Kept) Short() bool { return k.Effective < k.Retention }

// keptState is what the worker that trims stores, for the others and for the worker that replaces it.
type keptState struct {
	Kept
	Since  int64  `json:"since"` // Unix milliseconds: older events were dropped for lack of memory; 0: none were
	Growth growth `json:"growth"`
}

// KeptKey returns the Redis key of a JSON text: a Kept, and what the worker that trims must know.
func KeptKey() string { return store.Key(message.Shard(0), "events:kept") }

// Kept reads how much memory events use and how long they are kept. It is zero if no worker has measured them yet.
func (s *Stream) Kept(ctx context.Context) (Kept, error) {
	k, err := s.readKept(ctx)
	return k.Kept, err
}

func (s *Stream) readKept(ctx context.Context) (k keptState, err error) {
	text, err := s.db.Get(ctx, KeptKey()).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return k, fmt.Errorf("read how long events are kept: %w", err)
	}
	if json.Unmarshal(text, &k) != nil { // there is none, or another version wrote it
		return keptState{}, nil
	}
	return k, nil
}

// CheckMemory returns an error if Redis has not enough memory for events.memory. Events may use half of what Redis has:
// above 75 % the API accepts no messages, and messages that wait need memory too. It does not look at what Redis has now,
// because workers must start when a backlog fills Redis.
func CheckMemory(ctx context.Context, db *store.DB, memory int64) error {
	all := slices.Collect(maps.Values(db.Memory(ctx)))
	if len(all) == 0 {
		return nil
	}
	least := slices.MinFunc(all, func(a, b store.Memory) int { return cmp.Compare(a.Limit(), b.Limit()) })
	limit := least.Limit() * int64(len(all)) // the shards are spread over the masters
	if limit == 0 || memory <= limit/2 {
		return nil
	}
	has := "a maxmemory of " + store.Size(limit)
	if least.Max == 0 {
		has = "no maxmemory, and its machine has " + store.Size(limit)
	}
	return fmt.Errorf("events.memory: %s does not fit. Redis has %s, and events may use half of it. Set events.memory to %s or less, or raise maxmemory",
		store.Size(memory), has, store.Size(limit/2))
}

// budgets returns how much memory the events on each master may use, by address. It is empty where Redis does not say
// how much memory it may use, as the Redis of the demo.
func (s *Stream) budgets(ctx context.Context) map[string]int64 {
	budgets := map[string]int64{}
	all := s.db.Memory(ctx)
	for addr, m := range all {
		if limit := m.Limit(); limit > 0 {
			budgets[addr] = cmp.Or(s.o.Memory/int64(len(all)), max(limit/4, leastMemory))
		}
	}
	return budgets
}

// usage is what the streams use.
type usage struct {
	now, oldest int64   // Unix milliseconds, by the clock of the master of shard 0; oldest is now without an entry
	bytes       int64   // of all streams
	share       float64 // of the budget, at the master where it is the greatest
}

// use measures all streams.
func (s *Stream) use(ctx context.Context, budgets map[string]int64) (u usage, err error) {
	all := s.streams()
	var replies []*redis.Cmd
	err = s.db.Pipe(ctx, func(p redis.Pipeliner) {
		replies = nil
		for _, keys := range all {
			replies = append(replies, s.measure.Add(ctx, p, keys[:1]))
		}
	})
	if err != nil {
		return u, err
	}
	onMaster := map[string]int64{}
	for i, r := range replies {
		v, err := r.Int64Slice()
		if err != nil || len(v) != 3 {
			return u, fmt.Errorf("unexpected reply: %w", err)
		}
		bytes, oldest, now := v[0], v[1], v[2]
		if i == 0 {
			u.now, u.oldest = now, now
		}
		if oldest > 0 {
			u.oldest = min(u.oldest, oldest)
		}
		addr, err := s.db.Master(ctx, all[i][0])
		if err != nil {
			return u, err
		}
		u.bytes += bytes
		onMaster[addr] += bytes
		if budget := budgets[addr]; budget > 0 {
			u.share = max(u.share, float64(onMaster[addr])/float64(budget))
		}
	}
	return u, nil
}

// fit drops the oldest events of all streams while they use more memory than they may, and stores how long events are kept.
func (s *Stream) fit(ctx context.Context) error {
	budgets := s.budgets(ctx)
	if len(budgets) == 0 {
		return nil
	}
	k, err := s.readKept(ctx)
	if err != nil {
		return err
	}
	wasShort := k.Short()
	u, err := s.use(ctx, budgets)
	if err != nil {
		return err
	}
	k.Since = min(k.Since, u.now) // the clock may have been set back
	k.Growth = k.Growth.note(max(u.oldest, k.Since, u.now-s.o.Retention.Milliseconds()), u.now, u.bytes)
	for n := 0; n < maxCuts && u.share > 1; n++ {
		since := k.Growth.last(int64(float64(k.Growth.since(k.Since)) * fill / u.share))
		dropped, err := s.dropOlder(ctx, time.Duration(u.now-since)*time.Millisecond)
		if err != nil {
			return err
		}
		if dropped == 0 {
			break // what is left is not applied, or in one node with later entries
		}
		k.Since = since
		if u, err = s.use(ctx, budgets); err != nil {
			return err
		}
	}
	k.At, k.Bytes, k.Budget = time.UnixMilli(u.now).UTC(), u.bytes, 0
	for _, b := range budgets {
		k.Budget += b
	}
	k.Retention, k.Effective = s.o.Retention, min(s.o.Retention, time.Duration(u.now-k.Since)*time.Millisecond)
	if k.Short() && !wasShort {
		s.log.Warn("events are dropped before events.retention, because they use all their memory",
			slog.Float64("kept_seconds", k.Effective.Seconds()), slog.Int64("budget_bytes", k.Budget))
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return s.db.Run(ctx, s.save, []string{KeptKey()}, text).Err() // on a full Redis too
}

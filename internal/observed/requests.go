package observed

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// Every is the length of a slot: requests are counted for each slot of Redis's clock.
const Every = 10 * time.Second

const (
	// slotLife is how long the counts of a slot are kept.
	slotLife = 2 * time.Minute
	// lateness is how long after the end of a slot a worker may take to store its counts.
	lateness = 2 * time.Second
)

// Requests are the requests of a number to Meta that ended in one slot.
type Requests struct {
	Count     int
	Throttled int           // refused because the number was too fast
	Failed    int           // not accepted for another reason
	Latency   time.Duration // the sum
	Longest   time.Duration // the longest latency
}

func (r *Requests) add(o Requests) {
	r.Count += o.Count
	r.Throttled += o.Throttled
	r.Failed += o.Failed
	r.Latency += o.Latency
	r.Longest = max(r.Longest, o.Longest)
}

// slotKey is the hash of the requests of a slot in a shard: the values are those of one number and one worker.
func slotKey(s message.Shard, slot int64) string {
	return store.Key(s, "requests:"+strconv.FormatInt(slot, 10))
}

// now returns Redis's time.
func (s *Store) now(ctx context.Context) time.Time { return s.db.Clock(ctx, slotKey(0, 0)) }

func slotOf(t time.Time) int64 { return t.UnixMilli() / Every.Milliseconds() }

// Latest returns the latest slot whose counts are complete.
func (s *Store) Latest(ctx context.Context) int64 { return slotOf(s.now(ctx).Add(-lateness)) - 1 }

// Requests returns the requests of all numbers in a slot, with one command for each shard. A number without requests is absent.
func (s *Store) Requests(ctx context.Context, slot int64) (map[string]Requests, error) {
	replies, err := s.readAll(ctx, func(shard message.Shard) string { return slotKey(shard, slot) })
	if err != nil {
		return nil, fmt.Errorf("read requests to Meta: %w", err)
	}
	all := map[string]Requests{}
	for _, reply := range replies {
		for field, text := range reply {
			var one Requests
			if _, err := fmt.Sscan(text, &one.Count, &one.Throttled, &one.Failed, (*int64)(&one.Latency), (*int64)(&one.Longest)); err != nil {
				continue // of another version
			}
			number, _, _ := strings.Cut(field, "/")
			sum := all[number]
			sum.add(one)
			all[number] = sum
		}
	}
	return all, nil
}

// Recorder counts the requests of one worker. It is safe for concurrent use.
type Recorder struct {
	store  *Store
	worker string
	log    *slog.Logger

	mu      sync.Mutex
	numbers map[string]Requests // since the last write
}

// NewRecorder returns a Recorder. Call its Run too.
func (s *Store) NewRecorder(worker string, log *slog.Logger) *Recorder {
	return &Recorder{store: s, worker: worker, log: log, numbers: map[string]Requests{}}
}

// Add counts a request that has ended, with its latency. It does not block.
func (r *Recorder) Add(number string, out message.Outcome, latency time.Duration) {
	one := Requests{Count: 1, Latency: latency, Longest: latency}
	switch {
	case out.Kind == message.Throttled && out.Limit != message.LimitPair:
		one.Throttled = 1
	case out.Kind != message.Accepted:
		one.Failed = 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := r.numbers[number]
	sum.add(one)
	r.numbers[number] = sum
}

// Run stores the counts at the end of each slot until ctx ends, and returns nil. A failure loses the counts of one slot,
// and so does the end of the worker.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		now := r.store.now(ctx)
		slot := slotOf(now)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.UnixMilli((slot + 1) * Every.Milliseconds()).Sub(now)):
		}
		if err := r.Write(ctx, slot); err != nil && ctx.Err() == nil {
			r.log.Warn("cannot store the counts of requests to Meta", "err", err)
		}
	}
}

// Write stores the counts since the last call as those of a slot, with two commands for each shard that has any.
func (r *Recorder) Write(ctx context.Context, slot int64) error {
	ctx, cancel := context.WithTimeout(ctx, lateness)
	defer cancel()
	r.mu.Lock()
	numbers := r.numbers
	r.numbers = map[string]Requests{}
	r.mu.Unlock()
	pairs := map[string][]any{}
	for number, n := range numbers {
		key := slotKey(r.store.shards.Of(number), slot)
		pairs[key] = append(pairs[key], number+"/"+r.worker, fmt.Sprint(n.Count, n.Throttled, n.Failed, int64(n.Latency), int64(n.Longest)))
	}
	if len(pairs) == 0 {
		return nil
	}
	return r.store.db.Pipe(ctx, func(p redis.Pipeliner) {
		for key, values := range pairs {
			p.HSet(ctx, key, values...)
			p.Expire(ctx, key, slotLife)
		}
	})
}

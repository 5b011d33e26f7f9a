// Package backlog reads what waits to be sent, how fast it leaves, and when a message will have left.
package backlog

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
	"sluice/internal/store"
)

//go:embed read.lua
var readLua string

// Reader reads the backlogs of numbers. It is safe for concurrent use.
type Reader struct {
	db     *store.DB
	shards message.Shards
	rate   func(number string) int
	tasks  *queue.Client
	read   store.Script
}

// New returns a reader of an installation. rate returns the configured rate of a number.
func New(db *store.DB, shards message.Shards, rate func(number string) int) *Reader {
	return &Reader{db, shards, rate, queue.NewClient(db, shards), db.Script(ratelimit.RateLua + readLua)}
}

// Number is how fast a number sends and what waits for it.
type Number struct {
	Number     string
	Configured int
	Ordered    int       // the rate set at run time in place of the configured one; 0: none
	Rate       float64   // effective, messages a second now
	Full       float64   // the rate when Meta refused nothing lately
	Ramp       time.Time // until when the rate increases to the one set at run time; zero: it does not
	Ceiling    int       // the rate at which Meta last refused; 0: never
	Pause      time.Time // nothing is sent before; zero: no pause
	Waiting    []Waiting // by class, the most urgent first
}

// Waiting is what waits in one class.
type Waiting struct {
	Class   message.Class
	Pending int       // for a slot
	Paused  bool      // in asynq: nothing of it is sent
	Delayed int       // for their time: retries, scheduled, set aside
	Active  int       // fetched by a worker
	Done    int       // finished tasks since the number's first
	Oldest  time.Time // since when the longest waiting of the pending does, about; zero: none
}

// Age returns how long the longest waiting has waited; 0 when none waits.
func (w Waiting) Age() time.Duration {
	if w.Oldest.IsZero() {
		return 0
	}
	return max(0, time.Since(w.Oldest))
}

// Read returns how fast a number sends and what waits for it.
func (r *Reader) Read(ctx context.Context, number string) (Number, error) {
	all, err := r.ReadAll(ctx, []string{number})
	if err != nil {
		return Number{}, err
	}
	return all[0], nil
}

// ReadAll is Read for several numbers, in two round trips. The results are in their order. Of
// thousands few have work or anything learned about their rate: only those are read.
func (r *Reader) ReadAll(ctx context.Context, numbers []string) ([]Number, error) {
	indexes := map[string]*redis.StringSliceCmd{}
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		clear(indexes)
		for _, number := range numbers {
			s := r.shards.Of(number)
			for _, key := range []string{queue.WorkKey(s), ratelimit.IndexKey(s)} {
				if indexes[key] == nil {
					indexes[key] = p.SMembers(ctx, key)
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read backlog: %w", err)
	}
	some := map[string]*redis.Cmd{}
	for _, c := range indexes {
		for _, number := range c.Val() {
			some[number] = nil
		}
	}
	err = r.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, number := range numbers {
			if _, ok := some[number]; ok {
				some[number] = r.addRead(ctx, p, number)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read backlog: %w", err)
	}
	all := make([]Number, len(numbers))
	for i, number := range numbers {
		c := some[number]
		if c == nil {
			rate := strconv.Itoa(r.rate(number))
			all[i] = r.parse(number, []string{rate, rate, "0", "0", "0", "0"})
			continue
		}
		reply, err := c.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("read backlog: %w", err)
		}
		all[i] = r.parse(number, reply)
	}
	return all, nil
}

// addRead adds the reading of one number to a pipeline.
func (r *Reader) addRead(ctx context.Context, p redis.Pipeliner, number string) *redis.Cmd {
	s := r.shards.Of(number)
	keys, args := []string{ratelimit.RateKey(s, number), queue.WorkKey(s)}, []any{r.rate(number), number}
	for _, c := range message.Classes() {
		k := queue.KeysOf(s, number, c)
		keys = append(keys, k.Pending, k.Paused, k.Scheduled, k.Retry, k.Active, k.Processed)
		args = append(args, k.Task)
	}
	return r.read.Add(ctx, p, keys, args...)
}

// parse reads the reply of read.lua.
func (r *Reader) parse(number string, reply []string) Number {
	out := Number{
		Number: number, Configured: r.rate(number), Rate: float(reply[0]), Full: float(reply[1]),
		Ordered: int(float(reply[2])), Ramp: ahead(reply[3]), Ceiling: int(float(reply[4])), Pause: ahead(reply[5]),
	}
	for i, c := range message.Classes() {
		if len(reply) == 6 { // it has no work
			out.Waiting = append(out.Waiting, Waiting{Class: c})
			continue
		}
		v := reply[6+6*i:]
		w := Waiting{
			Class: c, Pending: int(float(v[0])), Paused: v[1] == "1", Delayed: int(float(v[2])),
			Active: int(float(v[3])), Done: int(float(v[4])),
		}
		if ns := int64(float(v[5])); ns > 0 {
			w.Oldest = time.Unix(0, ns)
		}
		out.Waiting = append(out.Waiting, w)
	}
	return out
}

// ahead reads a time in Unix microseconds; zero when it has passed.
func ahead(us string) time.Time {
	if t := time.UnixMicro(int64(float(us))); t.After(time.Now()) {
		return t
	}
	return time.Time{}
}

func float(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return f
}

// Working returns the numbers of a shard that have tasks, whether they are configured or not.
func (r *Reader) Working(ctx context.Context, s message.Shard) ([]string, error) {
	numbers, err := r.db.SMembers(ctx, queue.WorkKey(s)).Result()
	if err != nil {
		return nil, fmt.Errorf("read which numbers have work: %w", err)
	}
	return slices.DeleteFunc(numbers, func(id string) bool { return !message.IsNumberID(id) }), nil
}

// Unserved returns the numbers that have tasks and are not known, with what waits for them.
func (r *Reader) Unserved(ctx context.Context, known func(number string) bool) ([]Number, error) {
	var all []*redis.StringSliceCmd
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		all = all[:0]
		for _, s := range r.shards.All() {
			all = append(all, p.SMembers(ctx, queue.WorkKey(s)))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read which numbers have work: %w", err)
	}
	var numbers []string
	for _, c := range all {
		for _, id := range c.Val() {
			if message.IsNumberID(id) && !known(id) {
				numbers = append(numbers, id)
			}
		}
	}
	return r.ReadAll(ctx, numbers)
}

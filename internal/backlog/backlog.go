// Package backlog reads what waits to be sent, how fast it leaves, and when a message will have left.
package backlog

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/portfolio"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
	"sluice/internal/store"
)

//go:embed read.lua
var readLua string

//go:embed held.lua
var heldLua string

// readMost is how many numbers one script reads. With four deep queues each it keeps Redis busy for about 4 ms.
const readMost = 50

// flowsMost is how many flows of a number and class are read: those that have sent the least.
const flowsMost = 100

// Reader reads the backlogs of numbers. It is safe for concurrent use.
type Reader struct {
	db     *store.DB
	shards message.Shards
	rate   func(number string) int
	weigh  message.Weigh
	rates  Rates
	tasks  *queue.Client

	read, held store.Script
	limits     *portfolio.Ledger // nil: no portfolio is limited
}

// New returns a reader of an installation. rate returns the configured rate of a number.
func New(db *store.DB, shards message.Shards, rate func(number string) int) *Reader {
	lua := queue.NamesLua + queue.FlowsLua + fmt.Sprintf("local FLOWS = %d\n", flowsMost)
	return &Reader{
		db: db, shards: shards, rate: rate, tasks: queue.NewClient(db, shards),
		read: db.Script(ratelimit.RateLua + lua + readLua), held: db.Script(lua + heldLua),
	}
}

// WithLimits returns a reader that reads the messaging limits of portfolios too.
func (r *Reader) WithLimits(l *portfolio.Ledger) *Reader {
	limited := *r
	limited.limits = l
	return &limited
}

// Weigh sets the weights of flows, by which estimates share the slots of a number. Without them all weights are 1.
func (r *Reader) Weigh(w message.Weigh) { r.weigh = w }

// Rates returns the settings of a campaign, of which estimates use the rate.
type Rates func(message.Flow) message.CampaignSettings

// RateCampaigns sets the settings of campaigns. Without them no campaign has a rate.
func (r *Reader) RateCampaigns(of Rates) { r.rates = of }

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
	Elsewhere  int       // people whose messages wait because another app owns the conversation

	weigh     message.Weigh
	rates     Rates
	Portfolio *portfolio.State // how much of the messaging limit of its portfolio is used; nil: there is none
	Others    int              // messages of other numbers of the portfolio that wait, of classes that need capacity
}

// Waiting is what waits in one class.
type Waiting struct {
	Class   message.Class
	Pending int       // for a slot
	Paused  bool      // in asynq: nothing of it is sent
	Delayed int       // for their time: retries, scheduled, set aside
	Limited int       // of Delayed: for capacity under the messaging limit of the portfolio
	Active  int       // fetched by a worker
	Done    int       // finished tasks since the number's first
	Slowed  int       // of Pending: of campaigns with a rate or a cap per day, which may keep them
	Oldest  time.Time // since when the longest waiting of the other pending does, about; zero: none
	Flows   []Flow    // those with a name that have pending tasks
}

// Flow is how many of the pending tasks of a class are of a flow.
type Flow struct {
	message.Flow
	Pending int
}

// since notes since when a message waits, in Unix nanoseconds; 0: none does.
func (w *Waiting) since(ns string) {
	if n := int64(float(ns)); n > 0 && (w.Oldest.IsZero() || n < w.Oldest.UnixNano()) {
		w.Oldest = time.Unix(0, n)
	}
}

// Age returns how long the longest waiting has waited, without messages of campaigns with a rate or a cap; 0 when none waits.
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
	some, err := r.some(ctx, numbers)
	if err != nil {
		return nil, fmt.Errorf("read backlog: %w", err)
	}
	replies, err := r.eachNumber(ctx, r.read, some, func(number string) []any { return []any{number, r.rate(number)} })
	if err != nil {
		return nil, fmt.Errorf("read backlog: %w", err)
	}
	all := make([]Number, len(numbers))
	for i, number := range numbers {
		reply := replies[number]
		if reply == nil {
			rate := strconv.Itoa(r.rate(number))
			reply = []string{rate, rate, "0", "0", "0", "0"}
		}
		all[i] = r.parse(number, reply)
	}
	if err := r.readLimits(ctx, all); err != nil {
		return nil, fmt.Errorf("read backlog: %w", err)
	}
	return all, nil
}

// some returns those of the numbers that have work, or of whose rate something was learned, by shard.
func (r *Reader) some(ctx context.Context, numbers []string) (map[message.Shard][]string, error) {
	indexes := map[message.Shard][]*redis.StringSliceCmd{}
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		clear(indexes)
		for _, number := range numbers {
			if s := r.shards.Of(number); indexes[s] == nil {
				indexes[s] = []*redis.StringSliceCmd{p.SMembers(ctx, queue.WorkKey(s)), p.SMembers(ctx, ratelimit.IndexKey(s))}
			}
		}
	})
	if err != nil {
		return nil, err
	}
	indexed := map[string]bool{}
	for _, cmds := range indexes {
		for _, c := range cmds {
			for _, number := range c.Val() {
				indexed[number] = true
			}
		}
	}
	some := map[message.Shard][]string{}
	for _, number := range numbers {
		if indexed[number] {
			some[r.shards.Of(number)] = append(some[r.shards.Of(number)], number)
		}
	}
	return some, nil
}

// eachNumber runs a script that reads several numbers of a shard, in one round trip, and returns its reply by number. args
// returns the arguments for a number.
func (r *Reader) eachNumber(ctx context.Context, script store.Script, byShard map[message.Shard][]string, args func(number string) []any) (map[string][]string, error) {
	type call struct {
		numbers []string
		reply   *redis.Cmd
	}
	var calls []call
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		calls = nil
		for s, numbers := range byShard {
			for some := range slices.Chunk(numbers, readMost) {
				var all []any
				for _, number := range some {
					all = append(all, args(number)...)
				}
				calls = append(calls, call{some, script.Add(ctx, p, []string{queue.WorkKey(s)}, all...)})
			}
		}
	})
	if err != nil {
		return nil, err
	}
	replies := map[string][]string{}
	for _, c := range calls {
		all, err := c.reply.Slice()
		if err != nil || len(all) != len(c.numbers) {
			return nil, fmt.Errorf("%d replies for %d numbers: %w", len(all), len(c.numbers), err)
		}
		for i, one := range all {
			values, _ := one.([]any)
			reply := make([]string, len(values))
			for k, v := range values {
				reply[k], _ = v.(string)
			}
			replies[c.numbers[i]] = reply
		}
	}
	return replies, nil
}

// parse reads the reply of read.lua.
func (r *Reader) parse(number string, reply []string) Number {
	out := Number{
		Number: number, Configured: r.rate(number), Rate: float(reply[0]), Full: float(reply[1]),
		Ordered: int(float(reply[2])), Ramp: ahead(reply[3]), Ceiling: int(float(reply[4])), Pause: ahead(reply[5]), weigh: r.weigh, rates: r.rates,
	}
	for i, c := range message.Classes() {
		if len(reply) == 6 { // it has no work
			out.Waiting = append(out.Waiting, Waiting{Class: c})
			continue
		}
		v := reply[6+8*i:]
		w := Waiting{
			Class: c, Pending: int(float(v[0])), Paused: v[1] == "1", Delayed: int(float(v[2])),
			Active: int(float(v[3])), Done: int(float(v[4])), Limited: int(float(v[6])),
		}
		w.since(v[5])
		for line := range strings.Lines(v[7]) {
			n, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			since, name, _ := strings.Cut(rest, "\t")
			f := Flow{message.FlowOf(name), int(float(n))}
			w.Flows = append(w.Flows, f)
			if r.rates != nil && r.rates(f.Flow).Set() {
				w.Slowed += f.Pending
			} else {
				w.since(since)
			}
		}
		out.Waiting = append(out.Waiting, w)
	}
	if len(reply) > 6 {
		out.Elsewhere = int(float(reply[len(reply)-1]))
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

// workingAll returns the numbers that have tasks, by shard.
func (r *Reader) workingAll(ctx context.Context) (map[message.Shard][]string, error) {
	shards := r.shards.All()
	members := make([]*redis.StringSliceCmd, len(shards))
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			members[i] = p.SMembers(ctx, queue.WorkKey(s))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read which numbers have work: %w", err)
	}
	work := map[message.Shard][]string{}
	for i, c := range members {
		work[shards[i]] = slices.DeleteFunc(c.Val(), func(id string) bool { return !message.IsNumberID(id) })
	}
	return work, nil
}

// Unserved returns the numbers that have tasks and are not known, with what waits for them.
func (r *Reader) Unserved(ctx context.Context, known func(number string) bool) ([]Number, error) {
	work, err := r.workingAll(ctx)
	if err != nil {
		return nil, err
	}
	var numbers []string
	for _, s := range r.shards.All() {
		numbers = append(numbers, slices.DeleteFunc(work[s], known)...)
	}
	return r.ReadAll(ctx, numbers)
}

package queue

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/pacing"
	"sluice/internal/store"
)

var (
	//go:embed cut.lua
	cutLua string
	//go:embed debit.lua
	debitLua string
	//go:embed read.lua
	readLua string
)

// Paces changes and tells how fast numbers go, for all workers at once. It is safe for
// concurrent use.
type Paces struct {
	db     *store.DB
	shards message.Shards
	rate   func(number string) int

	cut, debit, read, missing store.Script
}

// NewPaces returns the paces of an installation. Rate is a number's configured rate.
func NewPaces(db *store.DB, shards message.Shards, rate func(number string) int) *Paces {
	return &Paces{
		db: db, shards: shards, rate: rate,
		cut: db.Script(pacing.PaceLua + cutLua), debit: db.Script(pacing.PaceLua + debitLua), read: db.Script(pacing.PaceLua + readLua),
		missing: db.Script(missingScript),
	}
}

func lineKey(s message.Shard, number string) string { return store.Key(s, "line:"+number) }
func paceKey(s message.Shard, number string) string { return store.Key(s, "pace:"+number) }

// pacedKey is the index of a shard's numbers about whose pace anything was learned or ordered.
func pacedKey(s message.Shard) string { return store.Key(s, "paced") }

// Throttled halves a number's pace and lets it rest for a moment: Meta said that it was too
// fast. From there it climbs back. It is true unless the pace was cut a moment before.
func (p *Paces) Throttled(ctx context.Context, number string) (bool, error) {
	s := p.shards.Of(number)
	cut, err := p.db.Run(ctx, p.cut, []string{paceKey(s, number), pacedKey(s)},
		p.rate(number), pacing.Climb, pacing.Breath.Microseconds(), number).Bool()
	if err != nil {
		return false, fmt.Errorf("slow number down: %w", err)
	}
	return cut, nil
}

// debitMost is how far ahead of now Debit pushes a number's send schedule at most.
const debitMost = time.Second

// Debit takes n slots off a number's send schedule for messages that people wrote to it, but none that is
// more than a second ahead.
func (p *Paces) Debit(ctx context.Context, number string, n int) error {
	s := p.shards.Of(number)
	err := p.db.Run(ctx, p.debit, []string{lineKey(s, number), paceKey(s, number)},
		p.rate(number), pacing.Climb, pacing.Slack.Microseconds(), n, debitMost.Microseconds()).Err()
	if err != nil {
		return fmt.Errorf("debit number: %w", err)
	}
	return nil
}

// Pause lets a number send nothing for d.
func (p *Paces) Pause(ctx context.Context, number string, d time.Duration) error {
	if err := p.until(ctx, number, "pause", d); err != nil {
		return fmt.Errorf("pause number: %w", err)
	}
	return nil
}

// Probe lets a number send one message a second for d, or until Recovered: Meta does not
// answer, and each further message would only be in doubt.
func (p *Paces) Probe(ctx context.Context, number string, d time.Duration) error {
	if err := p.until(ctx, number, "probe", d); err != nil {
		return fmt.Errorf("let number probe: %w", err)
	}
	return nil
}

// until sets a time of a number's pace to d from now.
func (p *Paces) until(ctx context.Context, number, field string, d time.Duration) error {
	s := p.shards.Of(number)
	now, err := p.db.Now(ctx, paceKey(s, number))
	if err != nil {
		return err
	}
	return p.db.Pipe(ctx, func(t redis.Pipeliner) {
		t.HSet(ctx, paceKey(s, number), field, now.Add(d).UnixMicro())
		t.SAdd(ctx, pacedKey(s), number)
	})
}

// Recovered ends Probe and wakes the number's workers.
func (p *Paces) Recovered(ctx context.Context, number string) error {
	s := p.shards.Of(number)
	err := p.db.Pipe(ctx, func(t redis.Pipeliner) {
		t.HDel(ctx, paceKey(s, number), "probe")
		t.Publish(ctx, store.WakeChannel(s), number)
	})
	if err != nil {
		return fmt.Errorf("end probing of number: %w", err)
	}
	return nil
}

// Order sets a number's rate at run time in place of the configured one, from the next slots
// on; 0 takes the order back. With over the rate climbs there evenly from the rate from.
func (p *Paces) Order(ctx context.Context, number string, rate, from int, over time.Duration) error {
	s := p.shards.Of(number)
	key := paceKey(s, number)
	now, err := p.db.Now(ctx, key)
	if err != nil {
		return fmt.Errorf("order a rate: %w", err)
	}
	err = p.db.Tx(ctx, func(t redis.Pipeliner) error {
		t.SAdd(ctx, pacedKey(s), number)
		t.HDel(ctx, key, "order", "ramp_from", "ramp_at", "ramp_us", "cut", "cut_at", "pause", "probe")
		if rate > 0 {
			t.HSet(ctx, key, "order", rate)
		}
		if rate > 0 && over > 0 {
			t.HSet(ctx, key, "ramp_from", from, "ramp_at", now.UnixMicro(), "ramp_us", over.Microseconds())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("order a rate: %w", err)
	}
	return nil
}

// Levels notes what Meta lets numbers send, in messages a second, in place of the rates that
// processes are configured with; 0 forgets it.
func (p *Paces) Levels(ctx context.Context, rates map[string]int) error {
	err := p.db.Pipe(ctx, func(t redis.Pipeliner) {
		for number, rate := range rates {
			s := p.shards.Of(number)
			if rate == 0 {
				t.HDel(ctx, paceKey(s, number), "level")
				continue
			}
			t.HSet(ctx, paceKey(s, number), "level", rate)
			t.SAdd(ctx, pacedKey(s), number)
		}
	})
	if err != nil {
		return fmt.Errorf("note what Meta lets numbers send: %w", err)
	}
	return nil
}

// Pace is how fast a number goes and what waits for it.
type Pace struct {
	Number     string
	Configured int
	Ordered    int       // what Order set in place of the configured rate; 0: nothing
	Rate       float64   // messages a second now
	Full       float64   // when nothing was refused lately
	Ramp       time.Time // until when the rate climbs to the one ordered; zero: it does not
	Ceiling    int       // the pace at which Meta last refused; 0: never
	Pause      time.Time // nothing is sent before; zero: no pause
	Waiting    []Waiting // by class, the most urgent first
}

// Waiting is what waits in one class.
type Waiting struct {
	Class   message.Class
	Pending int       // for a slot
	Paused  bool      // in asynq: nothing of it is sent
	Delayed int       // for their time: retries, scheduled, set aside
	Active  int       // in a worker's hands
	Done    int       // tasks done with since the number's first
	Oldest  time.Time // since when the longest waiting of the pending does, about; zero: none
}

// Age is how long the longest waiting has waited; 0 when none waits.
func (w Waiting) Age() time.Duration {
	if w.Oldest.IsZero() {
		return 0
	}
	return max(0, time.Since(w.Oldest))
}

// Read tells how fast a number goes and what waits for it.
func (p *Paces) Read(ctx context.Context, number string) (Pace, error) {
	all, err := p.ReadAll(ctx, []string{number})
	if err != nil {
		return Pace{}, err
	}
	return all[0], nil
}

// ReadAll is Read for several numbers, in two round trips. The paces come in their order. Of
// thousands few have work or anything learned about their pace: only those are asked about.
func (p *Paces) ReadAll(ctx context.Context, numbers []string) ([]Pace, error) {
	indexes := map[string]*redis.StringSliceCmd{}
	err := p.db.Pipe(ctx, func(t redis.Pipeliner) {
		clear(indexes)
		for _, number := range numbers {
			s := p.shards.Of(number)
			for _, key := range []string{workKey(s), pacedKey(s)} {
				if indexes[key] == nil {
					indexes[key] = t.SMembers(ctx, key)
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read paces: %w", err)
	}
	some := map[string]*redis.Cmd{}
	for _, c := range indexes {
		for _, number := range c.Val() {
			some[number] = nil
		}
	}
	err = p.db.Pipe(ctx, func(t redis.Pipeliner) {
		for _, number := range numbers {
			if _, ok := some[number]; ok {
				some[number] = p.addRead(ctx, t, number)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read paces: %w", err)
	}
	paces := make([]Pace, len(numbers))
	for i, number := range numbers {
		c := some[number]
		if c == nil {
			rate := strconv.Itoa(p.rate(number))
			paces[i] = p.parse(number, []string{rate, rate, "0", "0", "0", "0"})
			continue
		}
		r, err := c.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("read pace: %w", err)
		}
		paces[i] = p.parse(number, r)
	}
	return paces, nil
}

// addRead adds the reading of one number to a pipeline.
func (p *Paces) addRead(ctx context.Context, t redis.Pipeliner, number string) *redis.Cmd {
	s := p.shards.Of(number)
	keys, args := []string{paceKey(s, number), workKey(s)}, []any{p.rate(number), pacing.Climb, number}
	for _, c := range message.Classes() {
		k := asynqKeys(name(s, number, c))
		keys = append(keys, k.pending, k.paused, k.scheduled, k.retry, k.active, k.processed)
		args = append(args, k.task)
	}
	return p.read.Add(ctx, t, keys, args...)
}

// parse reads the reply of read.lua.
func (p *Paces) parse(number string, r []string) Pace {
	out := Pace{
		Number: number, Configured: p.rate(number), Rate: float(r[0]), Full: float(r[1]),
		Ordered: int(float(r[2])), Ramp: ahead(r[3]), Ceiling: int(float(r[4])), Pause: ahead(r[5]),
	}
	for i, c := range message.Classes() {
		if len(r) == 6 { // it has no work
			out.Waiting = append(out.Waiting, Waiting{Class: c})
			continue
		}
		v := r[6+6*i:]
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

// Goal is where the rate climbs to.
func (p Pace) Goal() float64 {
	if p.Ordered > 0 {
		return float64(p.Ordered)
	}
	return p.Full
}

// Messages returns how many messages of all classes there are, in workers' hands too.
func (p Pace) Messages() (n int) {
	for _, w := range p.Waiting {
		n += w.Pending + w.Delayed + w.Active
	}
	return n
}

// leastShare is the share of the slots that each class has at least, whatever waits in more
// urgent ones: every 20th slot goes to the three others in turn.
const leastShare = 1. / 60

// Drain estimates how long until a new message of class c would leave, if nothing more urgent
// came meanwhile.
func (p Pace) Drain(c message.Class) time.Duration {
	own, all := 0, 0
	for _, w := range p.Waiting {
		if w.Class == c {
			own = w.Pending
		}
		if w.Class == c || w.Class.Order() < c.Order() && !w.Paused {
			all += w.Pending
		}
	}
	n := float64(all)
	if c.Order() > 0 {
		n = min(n, float64(own+1)/leastShare)
	}
	return p.during(n) + max(0, time.Until(p.Pause))
}

// Empty estimates how long until all that is pending now would have left.
func (p Pace) Empty() time.Duration {
	n := 0
	for _, w := range p.Waiting {
		if !w.Paused {
			n += w.Pending
		}
	}
	return p.during(float64(n)) + max(0, time.Until(p.Pause))
}

// during is how long n sends take while the rate climbs evenly to its goal.
func (p Pace) during(n float64) time.Duration {
	rate, goal, full := max(p.Rate, 1), max(p.Goal(), 1), max(p.Full, 1)
	climb := max(time.Until(p.Ramp).Seconds(), (full-rate)/(full*pacing.Climb))
	var seconds float64
	if climbing := (rate + goal) / 2 * climb; n < climbing {
		growth := (goal - rate) / climb
		seconds = 2 * n / (rate + math.Sqrt(rate*rate+2*growth*n))
	} else {
		seconds = climb + (n-climbing)/goal
	}
	return time.Duration(seconds * float64(time.Second))
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

package queue

import (
	"context"
	_ "embed"
	"fmt"
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

	cut, debit, read store.Script
}

// NewPaces returns the paces of an installation. Rate is a number's configured rate.
func NewPaces(db *store.DB, shards message.Shards, rate func(number string) int) *Paces {
	return &Paces{
		db: db, shards: shards, rate: rate,
		cut: db.Script(pacing.PaceLua + cutLua), debit: db.Script(pacing.PaceLua + debitLua), read: db.Script(pacing.PaceLua + readLua),
	}
}

func lineKey(s message.Shard, number string) string { return s.Key("line:" + number) }
func paceKey(s message.Shard, number string) string { return s.Key("pace:" + number) }

// Throttled halves a number's pace and lets it rest for a moment: Meta said that it was too
// fast. From there it climbs back. It is true unless the pace was cut a moment before.
func (p *Paces) Throttled(ctx context.Context, number string) (bool, error) {
	cut, err := p.db.Run(ctx, p.cut, []string{paceKey(p.shards.Of(number), number)},
		p.rate(number), pacing.Climb, pacing.Breath.Microseconds()).Bool()
	if err != nil {
		return false, fmt.Errorf("slow number down: %w", err)
	}
	return cut, nil
}

// Debit takes n slots off a number's line for messages that people wrote to it.
func (p *Paces) Debit(ctx context.Context, number string, n int) error {
	s := p.shards.Of(number)
	err := p.db.Run(ctx, p.debit, []string{lineKey(s, number), paceKey(s, number)},
		p.rate(number), pacing.Climb, pacing.Slack.Microseconds(), n).Err()
	if err != nil {
		return fmt.Errorf("debit number: %w", err)
	}
	return nil
}

// Pause lets a number send nothing for d.
func (p *Paces) Pause(ctx context.Context, number string, d time.Duration) error {
	now, err := p.db.Now(ctx)
	if err == nil {
		err = p.db.HSet(ctx, paceKey(p.shards.Of(number), number), "pause", now.Add(d).UnixMicro()).Err()
	}
	if err != nil {
		return fmt.Errorf("pause number: %w", err)
	}
	return nil
}

// Order sets a number's rate at run time in place of the configured one, from the next slots
// on; 0 takes the order back. With over the rate climbs there evenly from the rate from.
func (p *Paces) Order(ctx context.Context, number string, rate, from int, over time.Duration) error {
	now, err := p.db.Now(ctx)
	if err != nil {
		return fmt.Errorf("order a rate: %w", err)
	}
	key := paceKey(p.shards.Of(number), number)
	err = p.db.Tx(ctx, func(t redis.Pipeliner) error {
		t.HDel(ctx, key, "order", "ramp_from", "ramp_at", "ramp_us", "cut", "cut_at", "pause")
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

// Pace is how fast a number goes and what waits for it.
type Pace struct {
	Number  string
	Rate    float64   // messages a second now
	Full    float64   // when nothing was refused lately
	Ceiling int       // the pace at which Meta last refused; 0: never
	Pause   time.Time // nothing is sent before; zero: no pause
	Waiting []Waiting // by class, the most urgent first
}

// Waiting is what waits in one class.
type Waiting struct {
	Class   message.Class
	Pending int       // for a slot
	Delayed int       // for their time: retries, scheduled, set aside
	Active  int       // in a worker's hands
	Oldest  time.Time // since when the first of the pending waits; zero: none
}

// Read tells how fast a number goes and what waits for it.
func (p *Paces) Read(ctx context.Context, number string) (Pace, error) {
	s := p.shards.Of(number)
	keys, args := []string{paceKey(s, number)}, []any{p.rate(number), pacing.Climb}
	for _, c := range message.Classes() {
		k := asynqKeys(name(s, number, c))
		keys = append(keys, k.pending, k.scheduled, k.retry, k.active)
		args = append(args, k.task)
	}
	r, err := p.db.Run(ctx, p.read, keys, args...).StringSlice()
	if err != nil {
		return Pace{}, fmt.Errorf("read pace: %w", err)
	}
	out := Pace{Number: number, Ceiling: int(float(r[2]))}
	out.Rate, out.Full = float(r[0]), float(r[1])
	if us := int64(float(r[3])); us > time.Now().UnixMicro() {
		out.Pause = time.UnixMicro(us)
	}
	for i, c := range message.Classes() {
		v := r[4+4*i:]
		w := Waiting{Class: c, Pending: int(float(v[0])), Delayed: int(float(v[1])), Active: int(float(v[2]))}
		if ns := int64(float(v[3])); ns > 0 {
			w.Oldest = time.Unix(0, ns)
		}
		out.Waiting = append(out.Waiting, w)
	}
	return out, nil
}

// Drain estimates how long until a new message of class c would leave.
func (p Pace) Drain(c message.Class) time.Duration {
	ahead := 0
	for _, w := range p.Waiting {
		if w.Class.Order() <= c.Order() {
			ahead += w.Pending
		}
	}
	wait := time.Duration(float64(ahead) / max(p.Rate, 1) * float64(time.Second))
	if !p.Pause.IsZero() {
		wait += max(0, time.Until(p.Pause))
	}
	return wait
}

func float(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return f
}

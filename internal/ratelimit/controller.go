package ratelimit

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

var (
	//go:embed decrease.lua
	decreaseLua string
	//go:embed debit.lua
	debitLua string
)

// Controller changes the effective rates of numbers, for all workers at once. It is safe for concurrent use.
type Controller struct {
	db     *store.DB
	shards message.Shards
	rate   func(number string) int

	decrease, debit store.Script
}

// NewController returns the rate controller of an installation. rate returns the configured rate of a number.
func NewController(db *store.DB, shards message.Shards, rate func(number string) int) *Controller {
	return &Controller{
		db: db, shards: shards, rate: rate,
		decrease: db.Script(RateLua + decreaseLua), debit: db.Script(RateLua + debitLua),
	}
}

// Throttled halves the effective rate of a number and pauses it for RefusalPause: Meta said that it was too
// fast. From there the rate increases again. It is true unless the rate was halved a moment before.
func (c *Controller) Throttled(ctx context.Context, number string) (bool, error) {
	s := c.shards.Of(number)
	halved, err := c.db.Run(ctx, c.decrease, []string{RateKey(s, number), IndexKey(s)}, c.rate(number), number).Bool()
	if err != nil {
		return false, fmt.Errorf("decrease rate of number: %w", err)
	}
	return halved, nil
}

// debitMost is how far ahead of now Debit moves the end of a number's send schedule at most.
const debitMost = time.Second

// Debit takes n slots off a number's send schedule for messages that the number received, but none that is
// more than a second ahead.
func (c *Controller) Debit(ctx context.Context, number string, n int) error {
	s := c.shards.Of(number)
	err := c.db.Run(ctx, c.debit, []string{ScheduleKey(s, number), RateKey(s, number)}, c.rate(number), n, debitMost.Microseconds()).Err()
	if err != nil {
		return fmt.Errorf("debit number: %w", err)
	}
	return nil
}

// Pause lets a number send nothing for d.
func (c *Controller) Pause(ctx context.Context, number string, d time.Duration) error {
	if err := c.until(ctx, number, "pause", d); err != nil {
		return fmt.Errorf("pause number: %w", err)
	}
	return nil
}

// Probe lets a number send one message a second for d, or until Recovered: Meta does not
// answer, and each further message would only become in-doubt.
func (c *Controller) Probe(ctx context.Context, number string, d time.Duration) error {
	if err := c.until(ctx, number, "probe", d); err != nil {
		return fmt.Errorf("let number probe: %w", err)
	}
	return nil
}

// ProbeStatus lets a number send one message a second for d, or until StatusRecovered: Meta takes its messages
// and then reports them as failed, so that an answer proves nothing.
func (c *Controller) ProbeStatus(ctx context.Context, number string, d time.Duration) error {
	if err := c.until(ctx, number, "probe_status", d); err != nil {
		return fmt.Errorf("let number probe until a status: %w", err)
	}
	return nil
}

// until sets a field of a number's rate to the time d from now.
func (c *Controller) until(ctx context.Context, number, field string, d time.Duration) error {
	s := c.shards.Of(number)
	now, err := c.db.Now(ctx, RateKey(s, number))
	if err != nil {
		return err
	}
	return c.db.Pipe(ctx, func(p redis.Pipeliner) {
		p.HSet(ctx, RateKey(s, number), field, now.Add(d).UnixMicro(), field+"_at", now.UnixMicro())
		p.SAdd(ctx, IndexKey(s), number)
	})
}

// Recovered ends Probe and wakes the number's workers.
func (c *Controller) Recovered(ctx context.Context, number string) error {
	return c.recovered(ctx, number, "probe")
}

// StatusRecovered ends ProbeStatus and wakes the number's workers.
func (c *Controller) StatusRecovered(ctx context.Context, number string) error {
	return c.recovered(ctx, number, "probe_status")
}

// recovered deletes a field of a number's rate that until set.
func (c *Controller) recovered(ctx context.Context, number, field string) error {
	s := c.shards.Of(number)
	err := c.db.Pipe(ctx, func(p redis.Pipeliner) {
		p.HDel(ctx, RateKey(s, number), field, field+"_at")
		p.Publish(ctx, store.WakeChannel(s), number)
	})
	if err != nil {
		return fmt.Errorf("end probing of number: %w", err)
	}
	return nil
}

// Set sets a number's rate at run time in place of the configured one, from the next slots on; 0 returns to
// the configured one. With over the rate increases to it evenly from the rate from.
func (c *Controller) Set(ctx context.Context, number string, rate, from int, over time.Duration) error {
	s := c.shards.Of(number)
	key := RateKey(s, number)
	now, err := c.db.Now(ctx, key)
	if err != nil {
		return fmt.Errorf("set rate: %w", err)
	}
	err = c.db.Tx(ctx, func(p redis.Pipeliner) error {
		p.SAdd(ctx, IndexKey(s), number)
		p.HDel(ctx, key, "order", "ramp_from", "ramp_at", "ramp_us", "cut", "cut_at", "pause", "pause_at",
			"probe", "probe_at", "probe_status", "probe_status_at")
		if rate > 0 {
			p.HSet(ctx, key, "order", rate)
		}
		if rate > 0 && over > 0 {
			p.HSet(ctx, key, "ramp_from", from, "ramp_at", now.UnixMicro(), "ramp_us", over.Microseconds())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set rate: %w", err)
	}
	return nil
}

// SetLevels stores what Meta lets numbers send, in messages a second, in place of the rates that
// processes are configured with; 0 deletes it.
func (c *Controller) SetLevels(ctx context.Context, rates map[string]int) error {
	err := c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for number, rate := range rates {
			s := c.shards.Of(number)
			if rate == 0 {
				p.HDel(ctx, RateKey(s, number), "level")
				continue
			}
			p.HSet(ctx, RateKey(s, number), "level", rate)
			p.SAdd(ctx, IndexKey(s), number)
		}
	})
	if err != nil {
		return fmt.Errorf("store what Meta lets numbers send: %w", err)
	}
	return nil
}

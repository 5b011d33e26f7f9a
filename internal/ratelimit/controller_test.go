package ratelimit_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/backlog"
	"sluice/internal/message"
	"sluice/internal/ratelimit"
	"sluice/internal/store"
)

const phone = "106540352242922"

// stopped is a rate controller, a reader of rates, and the clock of their Redis, which moves only when a test sets it.
type stopped struct {
	*ratelimit.Controller
	*backlog.Reader
	mini *miniredis.Miniredis
	base time.Time
}

func (c *stopped) set(d time.Duration) { c.mini.SetTime(c.base.Add(d)) }

func setupStopped(t *testing.T) *stopped {
	t.Helper()
	mini := miniredis.RunT(t)
	db, err := store.New(t.Context(), redis.NewClient(&redis.Options{Addr: mini.Addr(), DisableIdentity: true}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	configured := func(string) int { return 80 }
	c := &stopped{
		ratelimit.NewController(db, message.DefaultShards, configured), backlog.New(db, message.DefaultShards, configured),
		mini, time.Now().Truncate(time.Second),
	}
	c.set(0)
	return c
}

func TestTheRateIsHalvedAndIncreasesAgain(t *testing.T) {
	t.Parallel()
	p := setupStopped(t)
	for _, step := range []struct {
		at        time.Duration
		throttled bool // Meta says so then
		cut       bool
		rate      float64
		ceiling   int
	}{
		{at: 0, rate: 80},
		{at: 0, throttled: true, cut: true, rate: 40, ceiling: 80},
		{at: 400 * time.Millisecond, throttled: true, rate: 40, ceiling: 80}, // the same second's
		{at: ratelimit.RefusalPause, rate: 40, ceiling: 80},
		{at: ratelimit.RefusalPause + 10*time.Second, rate: 56, ceiling: 80}, // 10 times 2 % of 80
		{at: ratelimit.RefusalPause + 10*time.Second, throttled: true, cut: true, rate: 28, ceiling: 56},
		{at: 2*ratelimit.RefusalPause + 20*time.Second, rate: 44, ceiling: 56},
		{at: 2*ratelimit.RefusalPause + 43*time.Second, rate: 80, ceiling: 56},
		{at: time.Hour, rate: 80, ceiling: 56},
	} {
		p.set(step.at)
		if step.throttled {
			if cut, err := p.Throttled(t.Context(), phone); err != nil || cut != step.cut {
				t.Errorf("after %v: cut %t (%v), want %t", step.at, cut, err, step.cut)
			}
		}
		got, err := p.Read(t.Context(), phone)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(got.Rate-step.rate) > .01 || got.Full != 80 || got.Ceiling != step.ceiling {
			t.Errorf("after %v: %+v, want the rate %v of 80, ceiling %d", step.at, got, step.rate, step.ceiling)
		}
	}
}

// rate returns the effective rate at a time.
func (c *stopped) rate(t *testing.T, at time.Duration) float64 {
	t.Helper()
	c.set(at)
	got, err := c.Read(t.Context(), phone)
	if err != nil || got.Full != 80 {
		t.Fatalf("%+v, %v", got, err)
	}
	return got.Rate
}

// TestANumberProbes: one message a second, until Meta answers again, or for so long. Where an answer proves nothing, only
// a status ends it.
func TestANumberProbes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ probe, other, end func(*stopped) error }{
		"until an answer": {
			func(c *stopped) error { return c.Probe(t.Context(), phone, time.Minute) },
			func(c *stopped) error { return c.StatusRecovered(t.Context(), phone) },
			func(c *stopped) error { return c.Recovered(t.Context(), phone) },
		},
		"until a status": {
			func(c *stopped) error { return c.ProbeStatus(t.Context(), phone, time.Minute) },
			func(c *stopped) error { return c.Recovered(t.Context(), phone) },
			func(c *stopped) error { return c.StatusRecovered(t.Context(), phone) },
		},
	} {
		p := setupStopped(t)
		if err := errors.Join(tt.probe(p), tt.other(p)); err != nil {
			t.Fatal(err)
		}
		if got := p.rate(t, 55*time.Second); got != 1 {
			t.Errorf("%s: while it probes: %v a second", name, got)
		}
		if got := p.rate(t, 65*time.Second); got != 80 {
			t.Errorf("%s: after the probing's end: %v a second", name, got)
		}
		if err := tt.end(p); err != nil {
			t.Fatal(err)
		}
		if got := p.rate(t, 55*time.Second); got != 80 {
			t.Errorf("%s: well again: %v a second", name, got)
		}
	}
}

// TestRatesAfterTheClockOfRedisIsSetBack: what was learned by the clock before does not apply. A new refusal does.
func TestRatesAfterTheClockOfRedisIsSetBack(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*stopped) error{
		"a refusal":              func(c *stopped) error { _, err := c.Throttled(t.Context(), phone); return err },
		"a probe":                func(c *stopped) error { return c.Probe(t.Context(), phone, time.Minute) },
		"a probe until a status": func(c *stopped) error { return c.ProbeStatus(t.Context(), phone, time.Minute) },
		"a pause":                func(c *stopped) error { return c.Pause(t.Context(), phone, time.Minute) },
	} {
		p := setupStopped(t)
		if err := set(p); err != nil {
			t.Fatal(err)
		}
		if got := p.rate(t, -time.Minute); got != 80 {
			t.Errorf("after %s and a clock that is set back: %v a second", name, got)
		}
		if got, err := p.Read(t.Context(), phone); err != nil || !got.Pause.IsZero() {
			t.Errorf("after %s and a clock that is set back: paused until %s (%v)", name, got.Pause, err)
		}
		if cut, err := p.Throttled(t.Context(), phone); err != nil || !cut {
			t.Errorf("after %s and a clock that is set back: a refusal halves the rate: %t (%v)", name, cut, err)
		}
		if got := p.rate(t, -time.Minute+ratelimit.RefusalPause); got != 40 {
			t.Errorf("after %s, a clock that is set back and a refusal: %v a second", name, got)
		}
	}
}

package ratelimit_test

import (
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

// TestANumberProbes: one message a second, until Meta answers again, or for so long.
func TestANumberProbes(t *testing.T) {
	t.Parallel()
	p := setupStopped(t)
	rate := func(at time.Duration) float64 {
		p.set(at)
		got, err := p.Read(t.Context(), phone)
		if err != nil || got.Full != 80 {
			t.Fatalf("%+v, %v", got, err)
		}
		return got.Rate
	}
	if err := p.Probe(t.Context(), phone, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := rate(55 * time.Second); got != 1 {
		t.Errorf("while it probes: %v a second", got)
	}
	if got := rate(65 * time.Second); got != 80 {
		t.Errorf("after the probing's end: %v a second", got)
	}
	if err := p.Recovered(t.Context(), phone); err != nil {
		t.Fatal(err)
	}
	if got := rate(55 * time.Second); got != 80 {
		t.Errorf("well again: %v a second", got)
	}
}

package store_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/redistest"
	"sluice/internal/store"
)

// clock is a server with a clock of the test's, and this machine's clocks.
type clock struct {
	db    *store.DB
	mini  *miniredis.Miniredis
	mono  time.Duration
	wall  time.Time
	reads atomic.Int64
}

func newClock(t *testing.T) *clock {
	c := &clock{mini: miniredis.RunT(t), wall: time.Unix(1_800_000_000, 0)}
	client := redis.NewClient(&redis.Options{Addr: c.mini.Addr(), DisableIdentity: true})
	c.db = open(t, client)
	t.Cleanup(func() { c.db.Close() })
	store.SetClock(c.db, func() time.Duration { return c.mono }, func() time.Time { return c.wall })
	c.db.AddHook(around{func(cmds []redis.Cmder, next func() error) error {
		if named(cmds, "time") != nil {
			c.reads.Add(1)
		}
		return next()
	}})
	return c
}

// pass lets a time go by on all clocks.
func (c *clock) pass(d time.Duration) { c.mono, c.wall = c.mono+d, c.wall.Add(d) }

func (c *clock) want(t *testing.T, when string, want time.Time) {
	t.Helper()
	if got := c.db.Clock(t.Context(), "k"); !got.Equal(want) {
		t.Errorf("%s: %s, want %s", when, got.UTC(), want.UTC())
	}
}

func (c *clock) change(t *testing.T) {
	t.Helper()
	if err := c.db.Transactions(false).Do(t.Context(), 0, add("k")); err != nil {
		t.Fatal(err)
	}
}

// The time is Redis's, whatever the clock of this machine says.
func TestClock(t *testing.T) {
	t.Parallel()
	c := newClock(t)
	redis := time.Unix(1_700_000_000, 0)
	c.mini.SetTime(redis)
	c.want(t, "at first", redis)

	c.pass(3 * time.Second) // without a question to Redis
	c.want(t, "3 s later", redis.Add(3*time.Second))
	c.mini.SetTime(redis.Add(3 * time.Second))
	c.wall = c.wall.Add(-time.Hour)
	c.want(t, "after somebody set the wall clock", redis.Add(3*time.Second))
	if n := c.reads.Load(); n != 0 {
		t.Errorf("%d transactions read the clock, and there was none", n)
	}

	c.pass(400 * time.Millisecond)
	c.change(t)
	c.pass(400 * time.Millisecond)
	c.change(t)
	c.pass(400 * time.Millisecond)
	c.change(t)
	if n := c.reads.Load(); n != 1 {
		t.Errorf("three transactions in 0.8 s read the clock %d times, want once", n)
	}
}

// Redis's clock may be set, and another server that takes its place has a clock of its own: the next
// transaction finds out.
func TestClockOfAnotherServer(t *testing.T) {
	t.Parallel()
	c := newClock(t)
	first := time.Unix(1_700_000_000, 0)
	c.mini.SetTime(first)
	c.change(t)
	for _, step := range []time.Duration{time.Hour, -2 * time.Hour, 3 * time.Second} {
		first = first.Add(step)
		c.mini.SetTime(first)
		c.pass(time.Second)
		c.change(t)
		c.want(t, step.String(), first)
	}
}

// A machine that was suspended, or idle for long, reads the clock again before it uses its estimate.
func TestClockAfterAPause(t *testing.T) {
	t.Parallel()
	c := newClock(t)
	redis := time.Unix(1_700_000_000, 0)
	c.mini.SetTime(redis)
	c.want(t, "at first", redis)
	c.mini.SetTime(redis.Add(time.Hour))
	c.wall = c.wall.Add(time.Hour) // the monotonic clock stood still
	c.want(t, "after a suspension", redis.Add(time.Hour))
	c.pass(11 * time.Second)
	c.mini.SetTime(redis.Add(time.Hour + 10*time.Second))
	c.want(t, "after a long time", redis.Add(time.Hour+10*time.Second))
	c.mini.Close()
	c.pass(time.Minute)
	c.want(t, "without an answer", redis.Add(time.Hour+70*time.Second))
}

// An answer that came late says little, and does not spoil what is known better.
func TestClockIsAsExactAsItsBestReading(t *testing.T) {
	t.Parallel()
	c := newClock(t)
	redis := time.Unix(1_700_000_000, 0)
	c.mini.SetTime(redis)
	c.want(t, "at first", redis)
	c.pass(time.Second)
	c.mini.SetTime(redis.Add(time.Second))
	slow := add("k")
	c.db.AddHook(around{func(cmds []goredis, next func() error) error {
		err := next()
		c.pass(time.Second) // the answer is on its way
		return err
	}})
	if err := c.db.Transactions(false).Do(t.Context(), 0, slow); err != nil {
		t.Fatal(err)
	}
	since := c.mono
	got := c.db.Clock(t.Context(), "k")
	if diff := got.Sub(redis.Add(since)).Abs(); diff > time.Millisecond {
		t.Errorf("%s off", diff)
	}
}

type goredis = redis.Cmder

// A real Redis: the estimate is right to the time of a round trip.
func TestClockOfRedis(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	for range 20 {
		if err := db.Transactions(false).Do(t.Context(), 0, add("k")); err != nil {
			t.Fatal(err)
		}
		before, _ := db.Now(t.Context(), "k")
		got := db.Clock(t.Context(), "k")
		after, _ := db.Now(t.Context(), "k")
		if slack := 200 * time.Millisecond; got.Before(before.Add(-slack)) || got.After(after.Add(slack)) {
			t.Errorf("%s is not between %s and %s", got, before, after)
		}
	}
}

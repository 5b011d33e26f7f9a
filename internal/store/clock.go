package store

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// clockFresh is how old a reading of Redis's clock may be before the next transaction reads it again.
	clockFresh = 500 * time.Millisecond
	// clockOld is how old a reading may be when a caller asks for the time: an older one is read again.
	clockOld = 10 * time.Second
	// clockDrift limits how much the speeds of two clocks differ: 1 in clockDrift.
	clockDrift = 5000
	// clockJump is how far this machine's wall clock may move away from its monotonic clock before Redis's clock is read
	// again. The monotonic clock stops while a machine is suspended.
	clockJump = time.Second
)

// clocks estimates the time of the servers' clocks, from their latest reading and the monotonic clock of this
// process: setting the wall clock of this machine has no effect. In a Cluster each slot has its own estimate. The zero
// value is ready.
type clocks struct {
	mu   sync.Mutex
	read map[string]reading

	mono    func() time.Duration // for tests; nil: the monotonic clock
	wall    func() time.Time     // for tests; nil: the wall clock
	instead func() time.Time     // for tests: see UseClock
}

// started is the time at which the monotonic clock is 0.
var started = time.Now()

func (c *clocks) monotonic() time.Duration {
	if c.mono != nil {
		return c.mono()
	}
	return time.Since(started)
}

// skew returns the time of the wall clock at which the monotonic clock was 0, by their present difference.
func (c *clocks) skew() time.Time {
	if c.wall != nil {
		return c.wall().Add(-c.monotonic())
	}
	return time.Now().Round(0).Add(-c.monotonic())
}

// reading is what is known of a server's clock. When the monotonic clock was 0, the server's clock was between low
// and high.
type reading struct {
	low, high time.Time
	at        time.Duration // by the monotonic clock
	skew      time.Time
}

// older reports whether a slot's clock was read longer ago than d, or before this machine was suspended.
func (c *clocks) older(slot string, d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.read[slot]
	return !ok || c.monotonic()-r.at > d || c.skew().Sub(r.skew).Abs() > clockJump
}

// note adds an answer to TIME, which was given between sent and now by the monotonic clock. An earlier reading makes
// it more exact, unless the two contradict each other: then the clock was set, or another server has replaced the first.
func (c *clocks) note(slot string, sent time.Duration, server time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.monotonic()
	r := reading{server.Add(-now), server.Add(-sent), now, c.skew()}
	if old, ok := c.read[slot]; ok {
		drift := (now - old.at) / clockDrift
		low, high := old.low.Add(-drift), old.high.Add(drift)
		if !r.low.After(high) && !low.After(r.high) {
			if low.After(r.low) {
				r.low = low
			}
			if high.Before(r.high) {
				r.high = high
			}
		}
	}
	if c.read == nil {
		c.read = map[string]reading{}
	}
	c.read[slot] = r
}

func (c *clocks) now(slot string) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.read[slot]
	return r.low.Add(r.high.Sub(r.low)/2 + c.monotonic()), ok
}

// slotOf returns the part of data kept by server to which a key belongs: "" if there is only one server.
func (db *DB) slotOf(key string) string {
	if db.oneServer() {
		return ""
	}
	return tagOf(key)
}

// Clock returns the present time of the clock of the master of key, by an estimate that transactions keep exact to
// a part of a round trip. It asks Redis if there was no transaction for some time. It returns this machine's time if
// Redis has never answered.
func (db *DB) Clock(ctx context.Context, key string) time.Time {
	if db.clocks.instead != nil {
		return db.clocks.instead()
	}
	slot := db.slotOf(key)
	if db.clocks.older(slot, clockOld) {
		sent := db.clocks.monotonic()
		if server, err := db.Now(ctx, key); err == nil {
			db.clocks.note(slot, sent, server)
		}
	}
	if now, ok := db.clocks.now(slot); ok {
		return now
	}
	return time.Now()
}

// UseClock makes Clock return the result of a function. It is for tests, and must be called before any use.
func (db *DB) UseClock(now func() time.Time) { db.clocks.instead = now }

// addTime adds TIME to a pipeline to a slot's server, if a reading is due; pass the result to noteTime. It returns
// nil if none is due. A proxy would answer with its own time.
func (db *DB) addTime(ctx context.Context, p redis.Pipeliner, slot string) *redis.TimeCmd {
	if db.scripted || !db.clocks.older(slot, clockFresh) {
		return nil
	}
	return p.Time(ctx)
}

func (db *DB) noteTime(slot string, sent time.Duration, cmd *redis.TimeCmd) {
	if cmd != nil && cmd.Err() == nil {
		db.clocks.note(slot, sent, cmd.Val())
	}
}

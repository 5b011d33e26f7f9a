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
	// clockOld is when whoever asks for the time has it read.
	clockOld = 10 * time.Second
	// clockDrift is by how much two clocks may differ in their speed: 1 in so many.
	clockDrift = 5000
	// clockJump is how far this machine's wall clock may move from its monotonic clock before the clock
	// is read again. The monotonic clock stands still while a machine is suspended.
	clockJump = time.Second
)

// clocks estimates what the clocks of the servers say, from what they said last and the monotonic
// clock of this process: whoever sets the wall clock of a machine changes nothing. In a Cluster each
// slot has an estimate of its own. The zero value is ready.
type clocks struct {
	mu   sync.Mutex
	read map[string]reading

	mono    func() time.Duration // of a test; nil: the monotonic clock
	wall    func() time.Time     // of a test; nil: the wall clock
	instead func() time.Time     // of a test: see UseClock
}

// started is when the monotonic clock is 0.
var started = time.Now()

func (c *clocks) monotonic() time.Duration {
	if c.mono != nil {
		return c.mono()
	}
	return time.Since(started)
}

// skew is what the wall clock said when the monotonic clock was 0, as it goes now.
func (c *clocks) skew() time.Time {
	if c.wall != nil {
		return c.wall().Add(-c.monotonic())
	}
	return time.Now().Round(0).Add(-c.monotonic())
}

// reading is what is known of a server's clock. What it said when the monotonic clock was 0, lies
// between low and high.
type reading struct {
	low, high time.Time
	at        time.Duration // by the monotonic clock
	skew      time.Time
}

// older tells whether a slot's clock was read longer ago than d, or before this machine was suspended.
func (c *clocks) older(slot string, d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.read[slot]
	return !ok || c.monotonic()-r.at > d || c.skew().Sub(r.skew).Abs() > clockJump
}

// note takes in an answer to TIME, which was given between sent and now by the monotonic clock. What
// was known before makes it more exact, unless it contradicts that: then the clock was set, or another
// server has taken the place of the first.
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

// slotOf names the server of a key for what is kept by server: "" where there is one.
func (db *DB) slotOf(key string) string {
	if db.oneServer() {
		return ""
	}
	return tagOf(key)
}

// Clock is what the clock of the master of key says now, by an estimate that transactions keep right to
// a part of a round trip. It asks Redis when there was no transaction for a while. It is this machine's
// clock when Redis has never answered.
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

// UseClock lets Clock return what a function returns. It is for tests, and must come before any use.
func (db *DB) UseClock(now func() time.Time) { db.clocks.instead = now }

// addTime lets a pipeline to a slot's server read its clock, when that is due; the result must be
// given to noteTime. It is nil when nothing is due. A proxy would answer for itself.
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

// Package pacing says how fast we may go: the send slots of each number, booked on one time
// line in Redis that all workers share.
package pacing

import (
	_ "embed"
	"sync"
	"time"
)

// SlotsLua defines slots(), the booking of slots, for scripts that book and take in one step.
//
//go:embed slots.lua
var SlotsLua string

// PaceLua defines pace(), how fast a number may go now, for the same scripts.
//
//go:embed pace.lua
var PaceLua string

const (
	// Horizon is how far ahead slots are booked. Longer saves calls to Redis, shorter lets
	// an urgent message wait less behind what was booked for others.
	Horizon = 100 * time.Millisecond
	// Lead is the least time from booking to slot: what the answer needs to come back.
	Lead = 2 * time.Millisecond
	// Cap is how late a slot may be used. It is at least Horizon, see slots.lua.
	Cap = 100 * time.Millisecond

	// guard is kept, beyond one second, between a send and the rate-th send before it: the
	// request is stamped just before it is written, not when it arrives.
	guard = 7 * time.Millisecond
	// Slack is spread over the slots of a second: they are (1 s + Slack)/rate apart. It exceeds
	// guard, or lateness would never decay.
	Slack = 9 * time.Millisecond

	// Early is how long before its slot a message is told of it: what it takes to write the
	// attempt down, together with those of its neighbours. Where Redis is far it is longer, as
	// long as that was seen to take, but for mostPrep at most.
	Early    = 10 * time.Millisecond
	mostPrep = 500 * time.Millisecond
	// Patience is how much longer than a message of the next more urgent class one may wait
	// in hand: an urgent one overtakes what is there, and nobody is overtaken for ever.
	Patience = 200 * time.Millisecond

	// Climb is the share of the full pace that a number wins back each second after Meta
	// refused it as too fast and its pace was halved.
	Climb = 0.02
	// Breath is how long a number sends nothing after such a refusal.
	Breath = time.Second
)

// Further is how much further ahead than usual slots must be booked where Redis is far, so that
// they are not missed: an answer takes half a round trip to come, and a message prep to be
// written down. What a slot may be late makes up for half of Cap.
func Further(trip, prep time.Duration) time.Duration { return max(0, trip/2+prep-Cap/2) }

// Clock converts the Redis server's clock to the local one. The zero value is ready; it is
// safe for concurrent use.
type Clock struct {
	mu     sync.Mutex
	trips  [64]time.Duration
	offset [64]time.Duration
	n      int
}

// Local converts at, a time of the server's clock in Unix microseconds, told in an answer
// that was asked for at sent, took trip, and was made when the server's clock read now. The
// quickest of the last 64 trips gives the offset: it was disturbed least.
func (c *Clock) Local(sent time.Time, trip time.Duration, now, at int64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	offset := time.Duration(sent.Add(trip/2).UnixMicro()-now) * time.Microsecond
	// Each trip bounds the offset to half of it on either side. When two contradict each other
	// a clock was set, or another server answers: what was learned before is void.
	if best := c.best(); c.n > 0 && (offset-c.offset[best]).Abs() > (trip+c.trips[best])/2+time.Millisecond {
		c.n = 0
	}
	i := c.n % len(c.trips)
	c.trips[i], c.offset[i] = trip, offset
	c.n++
	// Adding to sent keeps its monotonic reading: a step of the local clock moves no slot.
	return sent.Add(time.Duration(at-sent.UnixMicro())*time.Microsecond + c.offset[c.best()])
}

// best is the place of the quickest trip.
func (c *Clock) best() int {
	best := 0
	for i := range min(c.n, len(c.trips)) {
		if c.trips[i] < c.trips[best] {
			best = i
		}
	}
	return best
}

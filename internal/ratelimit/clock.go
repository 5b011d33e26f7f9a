package ratelimit

import (
	"sync"
	"time"
)

// Clock converts the Redis server's clock to the local one. The zero value is ready; it is
// safe for concurrent use.
type Clock struct {
	mu     sync.Mutex
	trips  [64]time.Duration
	offset [64]time.Duration
	n      int
}

// Local converts at, a time of the server's clock in Unix microseconds, from an answer
// to a question that was sent at sent, took trip, and was made when the server's clock read now. The
// quickest of the last 64 trips gives the offset, because its error is the smallest.
func (c *Clock) Local(sent time.Time, trip time.Duration, now, at int64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	offset := time.Duration(sent.Add(trip/2).UnixMicro()-now) * time.Microsecond
	// Each trip bounds the offset to half of it on either side. When two contradict each other
	// a clock was set, or another server answers: what was learned before no longer holds.
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

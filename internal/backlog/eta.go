package backlog

import (
	"math"
	"slices"
	"time"

	"sluice/internal/message"
	"sluice/internal/ratelimit"
)

// Goal is the rate that the effective rate increases to.
func (n Number) Goal() float64 {
	if n.Ordered > 0 {
		return float64(n.Ordered)
	}
	return n.Full
}

// Messages returns how many messages of all classes there are, with those that workers have fetched.
func (n Number) Messages() (total int) {
	for _, w := range n.Waiting {
		total += w.Pending + w.Delayed + w.Active
	}
	return total
}

// leastShare is the share of the slots that each class has at least, whatever waits in more
// urgent ones: every 20th slot goes to the three others in turn.
const leastShare = 1. / 60

// ETA estimates how long until a new message of class c would leave, if nothing more urgent
// came meanwhile. It needs a slot, and where its portfolio has a messaging limit, room.
func (n Number) ETA(c message.Class) time.Duration { return max(n.SlotETA(c), n.LimitWait(c)) }

// SlotETA is ETA without the messaging limit.
func (n Number) SlotETA(c message.Class) time.Duration {
	own, all := 0, 0
	for _, w := range n.Waiting {
		if w.Class == c {
			own = w.Pending
		}
		if w.Class == c || w.Class.Order() < c.Order() && !w.Paused {
			all += w.Pending
		}
	}
	before := float64(all)
	if c.Order() > 0 {
		before = min(before, float64(own+1)/leastShare)
	}
	return n.during(before) + max(0, time.Until(n.Pause))
}

// ETAAll estimates how long until all that is pending now would have left.
func (n Number) ETAAll() time.Duration {
	all := 0
	for _, w := range n.Waiting {
		if !w.Paused {
			all += w.Pending
		}
	}
	return max(n.during(float64(all))+max(0, time.Until(n.Pause)), n.LimitWaitAll())
}

// LimitWaitAll is LimitWait for all that waits now.
func (n Number) LimitWaitAll() time.Duration { return n.limitWait(len(n.Waiting), false, 0) }

// LimitWait estimates how long a new message of class c would wait for room under the messaging limit of its portfolio, if each
// message of the classes other than service goes to another person who is not counted; 0: there is room, or no limit.
func (n Number) LimitWait(c message.Class) time.Duration {
	if c == message.Service {
		return 0
	}
	return n.limitWait(c.Order()+1, c.Order() == 0, 1)
}

// limitWait estimates how long the messages of so many classes wait for room, and some more.
func (n Number) limitWait(classes int, urgent bool, more int) time.Duration {
	if n.Portfolio == nil {
		return 0
	}
	for _, w := range n.Waiting[:min(classes, len(n.Waiting))] {
		if w.Class != message.Service {
			more += w.Pending + w.Limited
		}
	}
	if !urgent {
		more += n.Others
	}
	return n.Portfolio.Wait(more, max(n.Goal(), 1), urgent)
}

// behind is ETA for a message with so many of its class before it.
func (n Number) behind(c message.Class, ahead int) time.Duration {
	n.Waiting = slices.Clone(n.Waiting)
	for i, w := range n.Waiting {
		if w.Class == c {
			n.Waiting[i].Pending = ahead
		}
	}
	return n.ETA(c)
}

// during is how long so many sends take while the rate increases evenly to its goal.
func (n Number) during(sends float64) time.Duration {
	rate, goal, full := max(n.Rate, 1), max(n.Goal(), 1), max(n.Full, 1)
	rise := max(time.Until(n.Ramp).Seconds(), (full-rate)/(full*ratelimit.Increase)) // how long the rate increases
	var seconds float64
	if meanwhile := (rate + goal) / 2 * rise; sends < meanwhile {
		growth := (goal - rate) / rise
		seconds = 2 * sends / (rate + math.Sqrt(rate*rate+2*growth*sends))
	} else {
		seconds = rise + (sends-meanwhile)/goal
	}
	return time.Duration(seconds * float64(time.Second))
}

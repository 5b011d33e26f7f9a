package backlog

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/queue"
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

// ETA estimates how long until all messages of class c that wait now would have left, if nothing more urgent came meanwhile. They
// need slots, and where their portfolio has a messaging limit, capacity.
func (n Number) ETA(c message.Class) time.Duration {
	own, rates := 0, time.Duration(0)
	for _, w := range n.Waiting {
		if w.Class == c {
			own, rates = w.Pending, n.rateWaitAll(w)
		}
	}
	return max(n.after(c, float64(own)), n.LimitWait(c), rates)
}

// SlotETA estimates how long until a new message of class c and a flow would get a slot, if nothing more urgent came meanwhile.
func (n Number) SlotETA(c message.Class, f message.Flow) time.Duration {
	return n.behind(c, f, n.Pending(c, f))
}

// SendETA estimates how long until a new message of class c and a flow would be sent, if so many other new messages of its class and flow
// came before it, each to another person, and nothing more urgent.
func (n Number) SendETA(c message.Class, f message.Flow, ahead int) time.Duration {
	wait := n.behind(c, f, n.Pending(c, f)+ahead)
	if c == message.Service {
		return wait
	}
	return max(wait, n.limitWait(c.Order()+1, c.Order() == 0, 1+ahead))
}

// Pending returns how many tasks of a class and flow are pending.
func (n Number) Pending(c message.Class, f message.Flow) int {
	for _, w := range n.Waiting {
		if w.Class == c {
			return w.of(f)
		}
	}
	return 0
}

// FlowETA returns how many messages of a flow wait for a slot at some numbers. in estimates how long until one would leave that has so many of
// them before it, if nothing more urgent came meanwhile.
func FlowETA(all []Number, f message.Flow) (pending int, in func(ahead int) time.Duration) {
	for _, n := range all {
		for _, w := range n.Waiting {
			pending += w.of(f)
		}
	}
	return pending, func(ahead int) (in time.Duration) {
		for _, n := range all {
			for _, w := range n.Waiting {
				if own := w.of(f); own > 0 {
					in = max(in, n.behind(w.Class, f, own*ahead/pending), n.LimitWait(w.Class))
				}
			}
		}
		return in
	}
}

// Next returns the ids of the messages of a flow that leave next, up to most of each number and class. It is one round trip.
func (r *Reader) Next(ctx context.Context, all []Number, f message.Flow, most int) (ids []string, err error) {
	var lists []*redis.StringSliceCmd
	err = r.db.Pipe(ctx, func(p redis.Pipeliner) {
		lists = nil
		for _, n := range all {
			for _, w := range n.Waiting {
				if w.of(f) > 0 {
					lists = append(lists, p.LRange(ctx, queue.FlowKey(r.shards.Of(n.Number), n.Number, w.Class.Order(), f), int64(-most), -1)) // the head is at the right end
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read which messages of a flow leave next: %w", err)
	}
	for _, list := range lists {
		for _, task := range list.Val() {
			if t, ok := queue.ParseTaskID(task); ok {
				ids = append(ids, t.Message)
			}
		}
	}
	return ids, nil
}

// of returns how many pending tasks are of a flow.
func (w Waiting) of(f message.Flow) int {
	rest := w.Pending
	for _, other := range w.Flows {
		if other.Flow == f {
			return other.Pending
		}
		rest -= other.Pending
	}
	if f == (message.Flow{}) {
		return max(0, rest)
	}
	return 0
}

// before returns how many tasks of a class leave before a task of a flow that has so many of its own flow ahead: of each other flow
// as many as its weight lets it send until then.
func (w Waiting) before(f message.Flow, ahead int, weigh message.Weigh) float64 {
	if len(w.Flows) == 0 && f == (message.Flow{}) {
		return float64(ahead)
	}
	if weigh == nil {
		weigh = func(message.Flow) (int, int) { return 1, 1 }
	}
	flows := append(slices.Clone(w.Flows), Flow{Pending: w.of(message.Flow{})})
	if !slices.ContainsFunc(flows, func(other Flow) bool { return other.Flow == f }) {
		flows = append(flows, Flow{Flow: f})
	}
	parts := map[string]int{} // by client: the weights of its campaigns that wait
	for _, other := range flows {
		if _, part := weigh(other.Flow); other.Pending > 0 || other.Flow == f {
			parts[other.Client] += part
		}
	}
	share := func(f message.Flow) float64 {
		client, part := weigh(f)
		return float64(client) * float64(part) / float64(parts[f.Client])
	}
	total := float64(ahead)
	for _, other := range flows {
		if other.Flow != f && other.Pending > 0 {
			total += min(float64(other.Pending), float64(ahead+1)*share(other.Flow)/share(f))
		}
	}
	return total
}

// ETAAll estimates how long until all that is pending now would have left.
func (n Number) ETAAll() time.Duration {
	all, rates := 0, time.Duration(0)
	for _, w := range n.Waiting {
		if !w.Paused {
			all += w.Pending
			rates = max(rates, n.rateWaitAll(w))
		}
	}
	return max(n.during(float64(all))+max(0, time.Until(n.Pause)), n.LimitWaitAll(), rates)
}

// LimitWaitAll is LimitWait for all that waits now.
func (n Number) LimitWaitAll() time.Duration { return n.limitWait(len(n.Waiting), false, 0) }

// LimitWait estimates how long a new message of class c would wait for capacity under the messaging limit of its portfolio, if each
// message of the classes other than service goes to another person who is not counted; 0: there is capacity, or no limit.
func (n Number) LimitWait(c message.Class) time.Duration {
	if c == message.Service {
		return 0
	}
	return n.limitWait(c.Order()+1, c.Order() == 0, 1)
}

// limitWait estimates how long the messages of so many classes wait for capacity, and some more.
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

// behind is ETA for a message with so many of its class and flow before it.
func (n Number) behind(c message.Class, f message.Flow, ahead int) time.Duration {
	own := float64(ahead)
	for _, w := range n.Waiting {
		if w.Class == c {
			own = w.before(f, ahead, n.weigh)
		}
	}
	return max(n.after(c, own), n.rateWait(f, ahead))
}

// rateWait estimates how long the rate of a campaign keeps a message with so many of its flow before it; 0: it has no rate.
func (n Number) rateWait(f message.Flow, ahead int) time.Duration {
	if n.rate(f) == 0 {
		return 0
	}
	s, now := n.rates(f), time.Now()
	return rising(s.RateAt(now), s.Rate, max(s.RampUntil().Sub(now).Seconds(), 0), float64(ahead))
}

// rate returns the rate of a campaign at each number, without its ramp; 0: it has none.
func (n Number) rate(f message.Flow) float64 {
	if n.rates == nil || f.Campaign == "" {
		return 0
	}
	return n.rates(f).Rate
}

// rateWaitAll estimates how long the rates of campaigns keep what waits in a class.
func (n Number) rateWaitAll(w Waiting) (most time.Duration) {
	for _, f := range w.Flows {
		most = max(most, n.rateWait(f.Flow, f.Pending))
	}
	return most
}

// after estimates how long until a message leaves that has so many of its class before it.
func (n Number) after(c message.Class, own float64) time.Duration {
	before := own
	for _, w := range n.Waiting {
		if w.Class.Order() < c.Order() && !w.Paused {
			before += float64(w.Pending - w.Slowed)
		}
	}
	if c.Order() > 0 {
		before = min(before, (own+1)/leastShare)
	}
	return n.during(before) + max(0, time.Until(n.Pause))
}

// during is how long so many sends take while the rate increases evenly to its goal.
func (n Number) during(sends float64) time.Duration {
	rate, goal, full := max(n.Rate, 1), max(n.Goal(), 1), max(n.Full, 1)
	return rising(rate, goal, max(time.Until(n.Ramp).Seconds(), (full-rate)/(full*ratelimit.Increase)), sends)
}

// rising is how long so many sends take while a rate grows evenly to a goal, for so many seconds.
func rising(rate, goal, rise, sends float64) time.Duration {
	var seconds float64
	if meanwhile := (rate + goal) / 2 * rise; sends < meanwhile {
		growth := (goal - rate) / rise
		seconds = 2 * sends / (rate + math.Sqrt(rate*rate+2*growth*sends))
	} else {
		seconds = rise + (sends-meanwhile)/goal
	}
	return time.Duration(seconds * float64(time.Second))
}

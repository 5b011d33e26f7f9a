package relay

import (
	"cmp"
	"container/heap"
	"log/slog"
	"time"

	"sluice/internal/retry"
)

const (
	// An event that the target refuses while it takes others is given up after so many such tries, but not before it has
	// been tried for so long.
	triesAgainst = 6
	triedFor     = time.Hour
	// slowAfter is how long an event may hold the position of a full stream while the target takes others.
	slowAfter = 500 * time.Millisecond
)

// itemPauses are the pauses between the tries of one event: about a dozen in the first hour.
var itemPauses = retry.Pauses{First: 2 * time.Second, Max: 20 * time.Minute, Jitter: 0.3}

// failed applies a failure to the first event of a group. others: the target took other events since the last try. It
// returns true if the event was given up.
func (c *courier) failed(g *group, b *batch, a answer, others bool, began, now time.Time) bool {
	it := g.items[0]
	if len(b.items) > 1 { // only alone an event shows that it is the cause
		for _, it := range b.items {
			it.alone = true
		}
		it.next = now
		return false
	}
	it.tries++
	it.failure = a.failure
	if it.first.IsZero() {
		it.first = now
	}
	against := others && a.reached && !a.crowded
	if against {
		it.against++
	}
	it.since = began
	it.next = now.Add(max(itemPauses.After(it.tries), a.wait))
	if c.tooOld(it, now) || against && it.against >= triesAgainst && now.Sub(it.first) >= triedFor {
		c.giveUpFirst(g)
		return true
	}
	if others {
		c.setAside(g, now)
	}
	return false
}

// tooOld reports whether an event is to be given up because of its age: whether GiveUpAfter has passed since it failed, or
// since it waits for a target that takes nothing. Time before a release or an order to replay does not count.
func (c *courier) tooOld(it *item, now time.Time) bool {
	since := it.first
	if down := c.health.since; !down.IsZero() {
		if it.written.After(down) {
			down = it.written
		}
		if since.IsZero() || down.Before(since) {
			since = down
		}
	}
	if order := time.UnixMilli(max(c.target.Generation, c.target.Requeued, c.target.Released)); order.After(since) {
		since = order
	}
	return now.Sub(since) >= c.target.GiveUpAfter
}

// setAside lets the position pass the events of a group. When too many events are set aside, it gives up one that the
// target refused for each. If there is none, it returns false: the rest of the group stays, and holds the position.
func (c *courier) setAside(g *group, now time.Time) bool {
	p := g.part
	for _, it := range g.items {
		switch {
		case it.setAside || it.putting:
		case len(p.aside) >= asideEvents && !c.makeRoom(p, g, now):
			return false
		default:
			p.setAside(it)
		}
	}
	return true
}

// makeRoom gives up the event that was refused most often among those that are set aside, apart from those of one group.
// It returns false if there is none.
func (c *courier) makeRoom(p *part, without *group, now time.Time) bool {
	var worst *group
	for _, g := range p.groups {
		if g == without || g.busy || len(g.items) == 0 || g.items[0].against == 0 || !g.items[0].setAside && !g.items[0].putting {
			continue
		}
		if worst == nil || moreRefused(g.items[0], worst.items[0]) {
			worst = g
		}
	}
	if worst == nil {
		return false
	}
	c.unqueue(worst)
	c.giveUpFirst(worst)
	c.queue(worst, now)
	return true
}

// moreRefused reports whether an event was refused more often than another, or as often and for longer.
func moreRefused(a, b *item) bool {
	return cmp.Or(cmp.Compare(a.against, b.against), b.first.Compare(a.first), compareEntries(b.line.Place.Entry, a.line.Place.Entry)) > 0
}

// passSlow sets aside events that fill the window of a stream: whose request takes long, or whose next try is not due. A
// target that takes nothing has no such events.
func (c *courier) passSlow(p *part, r *reading, now time.Time) {
	slow := func(it *item) bool {
		g := p.groups[it.group]
		return g.queue == queueWaiting || g.busy && now.Sub(g.began) > slowAfter
	}
	if c.health.fails >= tripped || !slow(r.items[0]) {
		return
	}
	for _, it := range r.items {
		if !it.done && !it.putting && slow(it) && !c.setAside(p.groups[it.group], now) {
			return
		}
	}
}

// giveUpFirst makes the first event of a group a dead letter, because of its own failures.
func (c *courier) giveUpFirst(g *group) {
	it := g.items[0]
	c.log.Warn("event given up, it is in the dead letters of the relay target", slog.String("target", c.target.Name), slog.String("event_type", it.line.Event.Type), slog.Int("tries", it.tries), slog.String("reason", it.failure))
	c.giveUp(g, it)
}

// giveUp makes the first event of a group a dead letter.
func (c *courier) giveUp(g *group, it *item) {
	c.metrics.dead.Inc()
	g.part.dead = append(g.part.dead, it)
	g.part.settle(g, it)
}

// giveUpOld gives up the events that waited too long for a target that takes nothing, also in this moment: it may have
// recovered while no worker ran.
func (c *courier) giveUpOld(now time.Time) {
	if !c.health.failing(now) || !c.health.tried || !c.target.HeldSince.IsZero() {
		return
	}
	old := 0
	for _, p := range c.parts {
		for _, g := range p.groups {
			if g.busy || !c.tooOld(g.items[0], now) {
				continue
			}
			c.unqueue(g)
			for len(g.items) > 0 && c.tooOld(g.items[0], now) {
				g.items[0].failure = cmp.Or(g.items[0].failure, c.health.failure)
				c.giveUp(g, g.items[0])
				old++
			}
			c.queue(g, now)
		}
	}
	if old > 0 {
		c.log.Error("events given up, because the relay target took nothing for too long", slog.String("target", c.target.Name), slog.Int("events", old), slog.String("reason", c.health.failure))
	}
}

// recover lets all events be tried at once that failed because the target took nothing.
func (c *courier) recover(now time.Time) {
	for _, g := range c.waiting {
		if g.items[0].against < triesAgainst/2 {
			g.items[0].next = now
		}
	}
	heap.Init(&c.waiting)
}

package relay

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"sluice/internal/message"
)

// leave lets a part end: it starts no more requests, waits for those that run, and stores its progress. Then it calls f.
func (c *courier) leave(p *part, f func()) {
	if before := p.leaving; before != nil {
		p.leaving = func() {
			before()
			f()
		}
		return
	}
	p.leaving = f
}

// leaveShard lets the part of a shard end. The channel is closed when it has ended.
func (c *courier) leaveShard(shard message.Shard) <-chan struct{} {
	left := make(chan struct{})
	c.do(func() {
		p := c.parts[shard]
		if p == nil {
			close(left)
			return
		}
		p.given = true
		c.leave(p, func() { close(left) })
	})
	return left
}

// drop ends the part of a shard at once, because another worker may have the shard.
func (c *courier) drop(shard message.Shard) {
	if p := c.parts[shard]; p != nil {
		c.end(p)
	}
}

// end removes a part. What still runs for it does not count.
func (c *courier) end(p *part) {
	p.lost = true
	delete(c.parts, p.shard)
	if p.leaving != nil {
		p.leaving()
	}
}

// update sets another definition of the target. If the target must begin at another place, or gets other events or another
// form of them, its parts begin anew.
func (c *courier) update(t message.RelayTarget) {
	old := c.target
	again := t.Born != old.Born || t.Generation != old.Generation || t.Format != old.Format || t.MessageIDs != old.MessageIDs ||
		!slices.Equal(t.Numbers, old.Numbers) || !slices.Equal(t.Accounts, old.Accounts) || !slices.Equal(t.Tags, old.Tags) || t.Client != old.Client || !slices.Equal(t.Types, old.Types)
	c.target = t
	if !again {
		return
	}
	for _, p := range c.parts {
		if p.leaving == nil {
			c.leave(p, func() {
				if !p.given {
					c.add(p.shard, p.lease)
				}
			})
		}
	}
}

// save stores the progress of a part, if it changed. It ends a part that leaves.
func (c *courier) save(p *part, now time.Time) {
	leaving := p.leaving != nil && p.running == 0
	switch {
	case p.saving || p.lost:
		return
	case leaving && !p.loaded:
		c.end(p)
		return
	case !p.loaded || !leaving && now.Sub(p.saved) < saveEvery:
		return
	}
	if leaving {
		p.handOver()
	} else {
		c.requeue(p)
	}
	next := p.progressOf(&c.health, now)
	if next == p.last && len(p.put)+len(p.gone)+len(p.dead) == 0 && p.deadEnd == "" {
		if leaving {
			c.end(p)
		}
		return
	}
	dead := p.dead
	changes, items := p.take(next)
	p.saving, p.saved = true, now
	c.saves[p.shard]++
	name := c.target.Name
	c.async(func(ctx context.Context) func() {
		owned, dropped, err := c.states.Save(ctx, p.shard, name, changes)
		return func() {
			p.saving = false
			c.saves[p.shard]--
			if dropped > 0 {
				c.metrics.dropped.Add(float64(dropped))
				c.log.Error("dead letters of a relay target removed, because there are too many", slog.String("target", name), slog.Int("events", dropped))
			}
			switch {
			case p.lost:
			case err != nil:
				c.log.Warn("cannot store what was relayed, will retry", slog.String("target", name), slog.String("shard", p.shard.String()), slog.Any("err", err))
				p.untake(changes, items, dead)
				if leaving {
					c.end(p) // the next worker relays the last events again
				}
			case !owned:
				c.end(p)
			default:
				p.last = next
				p.stored(items)
			}
		}
	})
}

// stored notes that items are set aside.
func (p *part) stored(items []*item) {
	for _, it := range items {
		it.putting = false
		if f := it.field(); p.aside[f] == it {
			it.setAside, it.done = true, true
			p.stream(it.line.Key).pass()
		}
	}
}

// requeue relays the dead letters of a part again, if an operator ordered it.
func (c *courier) requeue(p *part) {
	order := c.target.Requeued
	if p.requeuing || order <= p.requeued {
		return
	}
	p.requeuing = true
	name, prepare := c.target.Name, c.prepare(c.target)
	c.async(func(ctx context.Context) func() {
		found, last, err := c.states.Dead(ctx, p.shard, name)
		for i := range found {
			found[i] = aside{Key: found[i].Key, Place: found[i].Place, Text: found[i].Text}
		}
		var items []*item
		if err == nil {
			items, err = restore(ctx, prepare, p.shard, found)
		}
		return func() {
			if err != nil {
				c.log.Warn("cannot read the dead letters of a relay target, will retry", slog.String("target", name), slog.Any("err", err))
				c.later(readPause, func() { p.requeuing = false })
				return
			}
			p.requeuing = false
			if p.lost || p.leaving != nil {
				return // the order stays, for the next worker
			}
			now := time.Now()
			for _, it := range items {
				if it != nil && p.aside[it.field()] == nil {
					it.since = now
					p.setAside(it)
					c.queue(p.add(it), now)
				}
			}
			p.requeued, p.deadEnd = order, last
		}
	})
}

// measure sets the gauges.
func (c *courier) measure(now time.Time) {
	var lag time.Duration
	for _, p := range c.parts {
		if at := p.oldest(); !at.IsZero() {
			lag = max(lag, now.Sub(at))
		}
	}
	c.metrics.lag.Set(lag.Seconds())
	switch {
	case !c.target.HeldSince.IsZero():
		c.metrics.set(message.RelayHeld)
	case c.health.failing(now):
		c.metrics.set(message.RelayFailing)
	default:
		c.metrics.set(message.RelayActive)
	}
}

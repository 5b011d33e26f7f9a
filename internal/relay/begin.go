package relay

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
)

// add adds a shard. It reads what is stored first.
func (c *courier) add(shard message.Shard, l *lease) {
	if c.parts[shard] != nil {
		return
	}
	p := &part{shard: shard, lease: l, groups: map[string]*group{}, aside: map[string]*item{}, restored: map[string]bool{}, put: map[string]*item{}}
	p.streams = [2]*reading{{key: events.MessageKey(shard)}, {key: events.MetaKey(shard)}}
	c.parts[shard] = p
	c.begin(p)
}

// begin reads what is stored of a shard, until it succeeds or the part leaves.
func (c *courier) begin(p *part) {
	if c.saves[p.shard] > 0 { // of an earlier part, which the reading must not miss
		c.later(readPause/20, func() { c.beginAgain(p) })
		return
	}
	t, prepare := c.target, c.prepare(c.target)
	c.async(func(ctx context.Context) func() {
		found, err := c.states.Load(ctx, p.shard, t.Name)
		if err == nil && found.progress.Born != 0 && found.progress.Born != t.Born {
			_, err = c.states.Forget(ctx, p.shard, t.Name)
			found = loaded{}
		}
		var at map[string]events.Place
		if err == nil && found.progress.Generation != t.Generation {
			from := t.From
			if found.progress.Born == 0 { // nothing was relayed yet
				from = min(from, t.Born)
			}
			at, err = c.tail.At(ctx, time.UnixMilli(from))
		}
		var items []*item
		if err == nil {
			items, err = restore(ctx, prepare, p.shard, found.aside)
		}
		return func() {
			switch {
			case p.lost || p.leaving != nil:
			case err != nil:
				c.log.Warn("cannot begin to relay a shard, will retry", slog.String("target", t.Name), slog.String("shard", p.shard.String()), slog.Any("err", err))
				c.later(readPause, func() { c.beginAgain(p) })
			default:
				c.begun(p, t, found, at, items)
			}
		}
	})
}

func (c *courier) beginAgain(p *part) {
	if !p.lost && p.leaving == nil {
		c.begin(p)
	}
}

// begun begins a part with what is stored of it.
func (c *courier) begun(p *part, t message.RelayTarget, found loaded, at map[string]events.Place, items []*item) {
	now := time.Now()
	for i, stored := range []string{found.progress.Message, found.progress.Meta} {
		r := p.streams[i]
		place, err := events.ParsePlace(stored)
		switch {
		case found.progress.Born == 0 || err != nil:
			place = at[r.key]
		case at != nil && before(at[r.key], place): // events that were not relayed yet stay
			place = at[r.key]
		}
		r.low, r.next, r.stale, r.from = place, place, true, t.From
		if ms, _ := splitEntry(place.Entry); ms > 0 && ms < t.From && found.progress.Born != 0 {
			r.from = ms
		}
	}
	p.born, p.generation, p.requeued = t.Born, t.Generation, found.progress.Requeued
	p.gaps, p.gapFrom, p.gapTo = found.progress.Gaps, found.progress.GapFrom, found.progress.GapTo
	p.loaded, p.last = true, found.progress
	c.health.resume(found.progress)
	for i, it := range items {
		if it == nil {
			p.gone = append(p.gone, found.aside[i].field())
			continue
		}
		if it.since.IsZero() {
			it.since = now
		}
		it.setAside = true
		p.aside[it.field()], p.restored[it.field()] = it, true
		c.queue(p.add(it), now)
	}
}

// before reports whether a place is before another one of its stream.
func before(a, b events.Place) bool {
	return cmp.Or(compareEntries(a.Entry, b.Entry), cmp.Compare(a.N, b.N)) < 0
}

// restore returns the items of events that are stored apart, and nil for one that the target no longer gets, because its
// definition has changed.
func restore(ctx context.Context, prepare preparer, shard message.Shard, stored []aside) ([]*item, error) {
	lines := make([]events.Line, len(stored))
	for i, a := range stored {
		p, err := events.ParsePlace(a.Place)
		if err != nil {
			return nil, err
		}
		e, err := message.DecodeEvent([]byte(a.Text))
		if err != nil {
			return nil, err
		}
		lines[i] = events.Line{Key: a.Key, Shard: shard, Place: p, Text: a.Text, Event: e}
	}
	items, err := prepare.prepare(ctx, shard, lines, true)
	if err != nil {
		return nil, err
	}
	for i, it := range items {
		if it == nil {
			continue
		}
		a := stored[i]
		it.done, it.alone = true, true
		it.tries, it.against, it.failure = a.Tries, a.Against, a.Error
		if a.First > 0 {
			it.first, it.next, it.since = time.UnixMilli(a.First), time.UnixMilli(a.Next), time.UnixMilli(a.First)
		}
	}
	return items, nil
}

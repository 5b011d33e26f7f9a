package relay

import (
	"cmp"
	"slices"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
)

const (
	windowEvents = 200  // events of a stream that are read and not done, at most
	asideEvents  = 1000 // events of a shard that are set aside, at most
	saveEvery    = 200 * time.Millisecond
)

// reading is the events of one stream that are read and not done. Everything up to low is done.
type reading struct {
	key       string
	low, next events.Place
	items     []*item // in order; those that are done are removed from the front
	from      int64   // no event is relayed that was written before, Unix milliseconds

	stale bool      // there may be more to read
	busy  bool      // a read is running
	again time.Time // after a failure
	gap   string    // the first entry that was dropped before it was read, as long as the one after the gap is not read; empty: none
}

// pass removes items from the front that are done.
func (r *reading) pass() {
	for len(r.items) > 0 && r.items[0].done {
		r.low, r.items = r.items[0].line.Place, r.items[1:]
	}
	if len(r.items) == 0 && r.gap == "" {
		r.low = r.next
	}
}

// group is the waiting events that must be relayed in order.
type group struct {
	part  *part
	name  string
	items []*item
	busy  bool      // a request with its first events is running
	began time.Time // when that was started
	queue int       // where it is: none, ready or waiting
	index int       // in the heap of waiting groups
}

// Where a group is.
const (
	queueNone = iota
	queueReady
	queueWaiting
)

// part is a shard of a target. The courier owns it.
type part struct {
	shard   message.Shard
	lease   *lease
	streams [2]*reading // of message events, and of events from Meta
	groups  map[string]*group
	aside   map[string]*item // set aside, or being set aside, by field

	restored map[string]bool // fields of events that were set aside when the part began: they are not read from the stream too

	put     map[string]*item // to set aside with the next save
	gone    []string         // fields of events that are no longer set aside
	dead    []*item          // given up
	deadEnd string           // the dead letters up to this one are set aside again; empty: none

	born, generation, requeued int64 // of the target that the part relays to

	gaps           int   // how often entries were dropped before they were read
	gapFrom, gapTo int64 // the times of the last such entries, Unix milliseconds

	loaded    bool // its progress was read
	requeuing bool // the dead letters are being read
	saving    bool
	saved     time.Time // the last save
	last      progress  // as it was saved
	running   int       // requests
	leaving   func()    // called when the part has ended; nil: it goes on
	given     bool      // the shard is given to another worker
	lost      bool      // it has ended: nothing that still runs for it counts
}

// stream returns the reading of a key.
func (p *part) stream(key string) *reading {
	if p.streams[0].key == key {
		return p.streams[0]
	}
	return p.streams[1]
}

// oldest returns when the oldest waiting event was written; zero: none waits.
func (p *part) oldest() (at time.Time) {
	for _, r := range p.streams {
		if len(r.items) > 0 && (at.IsZero() || r.items[0].written.Before(at)) {
			at = r.items[0].written
		}
	}
	return at
}

// add adds an item to its group, and returns the group.
func (p *part) add(it *item) *group {
	g := p.groups[it.group]
	if g == nil {
		g = &group{part: p, name: it.group}
		p.groups[it.group] = g
	}
	g.items = append(g.items, it)
	return g
}

// setAside marks an item to be stored apart, so that the position can pass it.
func (p *part) setAside(it *item) {
	f := it.field()
	it.putting = true
	p.aside[f], p.put[f] = it, it
}

// handOver sets the items aside that wait although later ones of their stream are done. So the position passes those, and
// the next worker relays none of them again.
func (p *part) handOver() {
	for _, r := range p.streams {
		for i, it := range r.items {
			later := func(it *item) bool { return it.done }
			if !it.done && !it.putting && len(p.aside) < asideEvents && slices.ContainsFunc(r.items[i:], later) {
				p.setAside(it)
			}
		}
	}
}

// settle removes an item from its group: the target took it, or it was given up.
func (p *part) settle(g *group, it *item) {
	g.items = g.items[1:]
	f := it.field()
	switch {
	case p.put[f] != nil: // it was not stored yet
		delete(p.put, f)
	case it.setAside || it.putting:
		p.gone = append(p.gone, f)
	}
	delete(p.aside, f)
	it.done = true
	p.stream(it.line.Key).pass()
}

// progressOf returns what to store.
func (p *part) progressOf(h *health, now time.Time) progress {
	g := progress{
		Born: p.born, Generation: p.generation, Requeued: p.requeued,
		Message: p.streams[0].low.String(), Meta: p.streams[1].low.String(), Aside: len(p.aside),
		Gaps: p.gaps, GapFrom: p.gapFrom, GapTo: p.gapTo,
	}
	if at := p.oldest(); !at.IsZero() {
		g.Oldest = at.UnixMilli()
	}
	if !h.since.IsZero() {
		g.Failing, g.Paused, g.Error = h.since.UnixMilli(), h.failing(now), h.failure
		if h.until.After(now) {
			g.Next = h.until.UnixMilli()
		}
	}
	return g
}

// take returns the changes to save, and the items of which it is stored that they are done.
func (p *part) take(g progress) (c changes, items []*item) {
	c = changes{progress: g, gone: p.gone, deadEnd: p.deadEnd}
	for _, it := range p.put {
		c.put, items = append(c.put, it.stored()), append(items, it)
	}
	for _, it := range p.dead {
		c.dead = append(c.dead, it.stored())
	}
	sortAside(c.put)
	p.put, p.gone, p.dead, p.deadEnd = map[string]*item{}, nil, nil, ""
	return c, items
}

// untake undoes take after a failure.
func (p *part) untake(c changes, items, dead []*item) {
	for _, it := range items {
		if f := it.field(); p.aside[f] == it {
			p.put[f] = it
		}
	}
	p.gone, p.dead, p.deadEnd = append(c.gone, p.gone...), append(dead, p.dead...), cmp.Or(p.deadEnd, c.deadEnd)
}

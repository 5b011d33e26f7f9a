package relay

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
)

const (
	tickEvery = 100 * time.Millisecond
	ioTimeout = 10 * time.Second // of one read or write of Redis
	readPause = time.Second      // after a failure of Redis
)

// tail reads the event streams.
type tail interface {
	Read(ctx context.Context, key string, after events.Place, most int) ([]events.Line, error)
	Changed() <-chan struct{}
	At(ctx context.Context, at time.Time) (map[string]events.Place, error)
}

// stateStore stores what targets have got.
type stateStore interface {
	Load(ctx context.Context, shard message.Shard, target string) (loaded, error)
	Dead(ctx context.Context, shard message.Shard, target string) (all []aside, last string, err error)
	Save(ctx context.Context, shard message.Shard, target string, c changes) (owned bool, dropped int, err error)
	Forget(ctx context.Context, shard message.Shard, target string) (owned bool, err error)
}

// courierOptions are what a courier works with.
type courierOptions struct {
	tail    tail
	states  stateStore
	post    func(context.Context, request) answer
	secret  func(message.RelayTarget) (string, error)
	prepare func(message.RelayTarget) preparer
	shards  message.Shards
	margin  time.Duration // how long a lease must last for a request to start
	metrics *targetMetrics
	log     *slog.Logger
}

// courier relays to one target. One goroutine runs it, which alone uses its members; others call do.
type courier struct {
	courierOptions
	target message.RelayTarget
	inbox  chan func()
	ended  chan struct{} // closed when run has returned
	wg     sync.WaitGroup

	parts   map[message.Shard]*part
	ready   []*group
	waiting waitingGroups
	running int // requests
	health  health

	saves  map[message.Shard]int // saves that are running
	looked time.Time             // when work last looked at every event
}

func newCourier(t message.RelayTarget, o courierOptions) *courier {
	return &courier{courierOptions: o, target: t, inbox: make(chan func(), 64), ended: make(chan struct{}), parts: map[message.Shard]*part{}, saves: map[message.Shard]int{}}
}

// do lets the goroutine of the courier call f. It does nothing when the courier has ended.
func (c *courier) do(f func()) {
	select {
	case c.inbox <- f:
	case <-c.ended:
	}
}

// async runs a function in another goroutine. The function that it returns then runs in the courier's.
func (c *courier) async(f func(ctx context.Context) func()) {
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), ioTimeout)
		defer cancel()
		c.inbox <- f(ctx)
	})
}

// run relays until ctx ends and all parts have left.
func (c *courier) run(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	defer close(c.ended)
	changed := c.tail.Changed()
	for {
		c.work(time.Now())
		if ctx.Err() != nil {
			if len(c.parts) == 0 && c.running == 0 {
				break
			}
			for _, p := range c.parts {
				if p.leaving == nil {
					c.leave(p, func() {})
				}
			}
		}
		select {
		case f := <-c.inbox:
			f()
			for len(c.inbox) > 0 {
				(<-c.inbox)()
			}
		case <-changed:
			changed = c.tail.Changed() // before the next read, to miss nothing
			c.each(func(r *reading) { r.stale = true })
		case <-tick.C:
		}
	}
	drained := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(drained)
	}()
	for {
		select {
		case f := <-c.inbox:
			f()
		case <-drained:
			return
		}
	}
}

// each calls f with all streams.
func (c *courier) each(f func(*reading)) {
	for _, p := range c.parts {
		f(p.streams[0])
		f(p.streams[1])
	}
}

// work starts all that may start.
func (c *courier) work(now time.Time) {
	for _, p := range c.parts {
		if p.loaded && p.leaving == nil {
			for _, r := range p.streams {
				c.read(p, r, now)
			}
		}
	}
	if now.Sub(c.looked) >= time.Second { // what looks at every event
		c.looked = now
		c.giveUpOld(now)
		c.measure(now)
	}
	c.dispatch(now)
	for _, p := range c.parts {
		c.save(p, now)
	}
}

// later calls f after a time in the goroutine of the courier.
func (c *courier) later(d time.Duration, f func()) {
	c.wg.Go(func() {
		time.Sleep(d)
		c.inbox <- f
	})
}

// read reads further events of a stream, if there may be some and there is room for them.
func (c *courier) read(p *part, r *reading, now time.Time) {
	if r.busy || !r.stale || now.Before(r.again) {
		return
	}
	room := windowEvents - len(r.items)
	if room < windowEvents/4 {
		c.passSlow(p, r, now)
		return
	}
	r.busy, r.stale = true, false
	after, prepare := r.next, c.prepare(c.target)
	c.async(func(ctx context.Context) func() {
		lines, err := c.tail.Read(ctx, r.key, after, room)
		var items []*item
		if err == nil {
			items, err = prepare.prepare(ctx, p.shard, lines, false)
		}
		return func() { c.arrived(p, r, lines, items, err) }
	})
}

// arrived adds events that were read.
func (c *courier) arrived(p *part, r *reading, lines []events.Line, items []*item, err error) {
	r.busy = false
	now := time.Now()
	if p.lost {
		return
	}
	if old, ok := errors.AsType[*events.TooOld](err); ok {
		c.missed(p, r, old.First, now)
		return
	}
	if err != nil {
		c.log.Warn("cannot read events to relay, will retry", slog.String("target", c.target.Name), slog.Any("err", err))
		r.stale, r.again = true, now.Add(readPause)
		return
	}
	if r.gap != "" && len(lines) > 0 {
		if it := c.gap(p, r, lines[0]); it != nil {
			c.append(p, r, it, now)
		}
		r.gap = ""
	}
	for i, it := range items {
		r.next = lines[i].Place
		if it != nil && !p.restored[it.field()] { // it is for the target, and was not set aside before the part began
			c.append(p, r, it, now)
		}
	}
	if len(lines) > 0 {
		r.stale = true
	}
	r.pass()
}

// append adds an item that was read.
func (c *courier) append(p *part, r *reading, it *item, now time.Time) {
	it.since = now
	r.items = append(r.items, it)
	g := p.add(it)
	if head := g.items[0]; head.setAside || head.putting {
		c.setAside(g, now)
	}
	if len(g.items) == 1 {
		c.queue(g, now)
	}
}

// dispatch starts requests.
func (c *courier) dispatch(now time.Time) {
	for len(c.waiting) > 0 && !c.waiting[0].items[0].next.After(now) {
		g := heap.Pop(&c.waiting).(*group)
		g.queue = queueNone
		c.queue(g, now)
	}
	if !c.target.HeldSince.IsZero() {
		return
	}
	most := c.health.limit(now, max(1, c.target.Concurrency*len(c.parts)/int(c.shards)))
	for c.running < most {
		b := c.next(now)
		if b == nil {
			return
		}
		c.start(b)
	}
}

// batch is the events of one request, each group with how many of its first events.
type batch struct {
	part   *part
	groups []*group
	counts []int
	items  []*item
}

// next takes the events of the next request from the groups that are ready; nil: none may start.
func (c *courier) next(now time.Time) *batch {
	var b *batch
	probe := c.health.fails >= tripped && slices.ContainsFunc(c.ready, func(g *group) bool { return g.items[0].against == 0 })
	rest := c.ready[:0]
	for i, g := range c.ready {
		if b != nil && len(b.items) >= c.target.Batch {
			rest = append(rest, c.ready[i:]...)
			break
		}
		switch {
		case g.part.lost:
			g.queue = queueNone // nothing of it counts
			continue
		case probe && g.items[0].against > 0: // an event that the target refused while it worked would show nothing
		case g.part.leaving != nil || !g.part.lease.lasts(now, c.margin):
		case b == nil:
			b = &batch{part: g.part}
			b.take(g, c.target.Batch)
			continue
		case g.part == b.part && !b.items[0].alone && !g.items[0].alone:
			b.take(g, c.target.Batch)
			continue
		}
		rest = append(rest, g)
	}
	clear(c.ready[len(rest):])
	c.ready = rest
	return b
}

// take adds the first events of a group.
func (b *batch) take(g *group, most int) {
	n := 0
	for n < len(g.items) && len(b.items) < most && (len(b.items) == 0 || !g.items[n].alone) {
		b.items = append(b.items, g.items[n])
		if n++; b.items[0].alone {
			break
		}
	}
	g.queue, g.busy = queueNone, true
	b.groups, b.counts = append(b.groups, g), append(b.counts, n)
}

// start makes the request of a batch.
func (c *courier) start(b *batch) {
	c.running++
	b.part.running++
	t := c.target
	began := time.Now()
	for _, g := range b.groups {
		g.began = began
	}
	c.wg.Go(func() {
		secret, err := c.secret(t)
		a := answer{failure: "secret_unreadable"}
		if err == nil {
			a = c.post(context.Background(), request{url: t.URL, secret: secret, body: body(t, b.items)})
		}
		c.inbox <- func() { c.answered(b, a, began) }
	})
}

// answered applies the answer to a request.
func (c *courier) answered(b *batch, a answer, began time.Time) {
	c.running--
	b.part.running--
	for _, g := range b.groups {
		g.busy = false
	}
	now := time.Now()
	others := c.health.took.After(b.items[0].since) // then the target works, and a failure is about the event
	if a.failure == "" {
		if c.health.ok(now) {
			c.recover(now)
		}
	} else if !others && b.items[0].against == 0 || a.crowded || c.health.fails >= tripped {
		c.health.failed(now, a)
	}
	if b.part.lost {
		return
	}
	for i, g := range b.groups {
		for range b.counts[i] {
			it := g.items[0]
			if a.failure == "" {
				c.metrics.delivered.Inc()
				b.part.settle(g, it)
				continue
			}
			c.metrics.failed.Inc()
			if !c.failed(g, b, a, others, began, now) {
				break
			}
		}
		c.queue(g, now)
	}
}

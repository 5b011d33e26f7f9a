package queue

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

const (
	// placeEvery is how often the living workers and the numbers with work are looked at.
	// An enqueue wakes its number at once.
	placeEvery = time.Second
	// joinEvery is how often it is looked whether this worker's first heartbeat is there.
	joinEvery = 50 * time.Millisecond
	// restAfter is when a number that has had nothing to do is let go: longer than the
	// second for which what it sent must be remembered.
	restAfter = 10 * time.Second
	// servers is how many workers look at a number: one that serves it and one that stands by.
	servers = 2
)

// workKey is the index of a shard's numbers that have tasks.
func workKey(s message.Shard) string { return store.Key(s, "work") }

// placement is which numbers this worker serves. What it says is a matter of speed, not of
// right: a number's line has one owner whoever looks at it.
type placement struct {
	mu      sync.Mutex
	workers map[message.Shard][]string // by the heartbeats in each shard; absent: not known
	active  map[string]*active
	wg      sync.WaitGroup
}

// active is a number that has work here.
type active struct {
	*number
	stop  context.CancelFunc
	ended bool // takes nothing more; known to rest alone
}

// rank is this worker's place among those that would serve a number: 0 serves it, the next
// stands by.
func (g *gate) rank(number string) int {
	g.place.mu.Lock()
	workers := g.place.workers[g.o.Shards.Of(number)]
	g.place.mu.Unlock()
	return message.Rank(g.o.Worker, workers, number)
}

func (g *gate) first(number string) bool { return g.rank(number) == 0 }

// joined tells whether this worker has a heartbeat in a shard, by what it last read. Whoever has none
// counts as dead, and what it took in hand would be returned to the queues.
func (g *gate) joined(s message.Shard) bool {
	g.place.mu.Lock()
	defer g.place.mu.Unlock()
	return slices.Contains(g.place.workers[s], g.o.Worker)
}

// joinedAll tells whether this worker has a heartbeat in every shard.
func (g *gate) joinedAll() bool {
	return !slices.ContainsFunc(g.o.Shards.All(), func(s message.Shard) bool { return !g.joined(s) })
}

// placeNumbers keeps the numbers that have work served until the gate stops, and returns when
// all their tasks are handed out or back.
func (g *gate) placeNumbers() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-g.stopped.Done():
			g.place.wg.Wait()
			return
		case <-timer.C:
		}
		err := g.look()
		if err != nil && g.stopped.Err() == nil {
			g.o.Log.Warn("cannot read which numbers have work", "err", err)
		}
		g.rest()
		if timer.Reset(placeEvery); err == nil && !g.joinedAll() {
			timer.Reset(joinEvery)
		}
	}
}

// look learns who lives and which numbers have work. A shard that cannot be read keeps the others from
// nothing.
func (g *gate) look() error {
	workers, err := g.o.Alive(g.stopped)
	g.place.mu.Lock()
	if g.place.workers == nil {
		g.place.workers = map[message.Shard][]string{}
	}
	maps.Copy(g.place.workers, workers)
	g.place.mu.Unlock()
	indexes := make([]*redis.StringSliceCmd, g.o.Shards)
	err = errors.Join(err, g.db.Pipe(g.stopped, func(p redis.Pipeliner) { // each command has its own error
		for i, s := range g.o.Shards.All() {
			indexes[i] = p.SMembers(g.stopped, workKey(s))
		}
	}))
	var numbers []string
	for _, c := range indexes {
		numbers = append(numbers, c.Val()...)
	}
	for _, number := range numbers {
		g.serve(number)
	}
	g.tidyUnserved(g.stopped, numbers)
	return err
}

// serve makes sure that a number is served here if it is this worker's to serve, and calls it.
func (g *gate) serve(id string) {
	rate, known := g.o.Rate(id)
	if !known || !g.joined(g.o.Shards.Of(id)) || g.rank(id) >= servers || g.stopped.Err() != nil {
		return
	}
	p := &g.place
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.active[id]; a != nil {
		a.setRate(rate)
		return
	}
	ctx, stop := context.WithCancel(g.stopped)
	n := g.newNumber(id, rate)
	p.active[id] = &active{number: n, stop: stop}
	p.wg.Go(func() { n.line.Run(ctx) })
	p.wg.Go(func() { g.feed(ctx, n) })
}

// wake calls a number for which something is to do, as was published: see store.WakeChannel.
func (g *gate) wake(text string) {
	id, class, found := strings.Cut(text, " ")
	classes := every
	if c, err := strconv.Atoi(class); found && err == nil {
		classes = 1 << c & every
	}
	if a := g.number(id); a != nil {
		a.call(classes)
		return
	}
	g.serve(id) // it begins with a look
}

func (g *gate) number(id string) *number {
	g.place.mu.Lock()
	defer g.place.mu.Unlock()
	if a := g.place.active[id]; a != nil {
		return a.number
	}
	return nil
}

// rest lets go of numbers that have nothing to do, are served elsewhere or are no longer ours.
func (g *gate) rest() {
	for id, a := range g.actives() {
		if _, known := g.o.Rate(id); !known {
			a.stop() // what is in hand and has its slot goes on
			a.ended = true
		}
		idle := a.idleFor()
		if idle > restAfter || idle > placeEvery && (a.ended || g.rank(id) >= servers) {
			g.place.mu.Lock()
			delete(g.place.active, id)
			g.place.mu.Unlock()
			a.stop()
		}
	}
}

func (g *gate) actives() map[string]*active {
	g.place.mu.Lock()
	defer g.place.mu.Unlock()
	all := make(map[string]*active, len(g.place.active))
	for id, a := range g.place.active {
		all[id] = a
	}
	return all
}

// listen wakes numbers when something was enqueued for them. A lost call costs no more than
// placeEvery.
func (g *gate) listen() {
	sub := g.db.PSubscribe(g.stopped, "sluice:{s*}:wake")
	defer sub.Close()
	calls := sub.Channel()
	for {
		select {
		case <-g.stopped.Done():
			return
		case m, ok := <-calls:
			if !ok {
				return
			}
			g.wake(m.Payload)
		}
	}
}

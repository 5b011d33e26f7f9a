package dispatch

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
	"sluice/internal/queue"
)

const (
	// assignEvery is how often the living workers and the numbers with work are read.
	// An enqueue wakes its number at once.
	assignEvery = time.Second
	// joinEvery is how often a worker checks whether its first heartbeat is there.
	joinEvery = 50 * time.Millisecond
	// restAfter is when a worker lets go of a number that has had nothing to do: longer than the
	// second for which what it sent must be remembered.
	restAfter = 10 * time.Second
	// servers is how many workers have a number: one serves it and one stands by.
	servers = 2
)

// assignment is which numbers this worker serves. It affects the speed only: the send schedule of a number
// has one owner, whichever workers serve the number.
type assignment struct {
	mu      sync.Mutex
	workers map[message.Shard][]string // by the heartbeats in each shard; absent: not known
	active  map[string]*active
	wg      sync.WaitGroup
}

// active is a number that has work here.
type active struct {
	*number
	stop  context.CancelFunc
	ended bool // fetches nothing more; only rest reads it
}

// rank is this worker's place among those that would serve a number: 0 serves it, the next
// stands by.
func (d *dispatcher) rank(number string) int {
	d.assignment.mu.Lock()
	workers := d.assignment.workers[d.o.Shards.Of(number)]
	d.assignment.mu.Unlock()
	return message.Rank(d.o.Worker, workers, number)
}

func (d *dispatcher) first(number string) bool { return d.rank(number) == 0 }

// joined reports whether this worker has a heartbeat in a shard, by what it last read. A worker without one
// counts as dead, and other workers would return its tasks to the queues.
func (d *dispatcher) joined(s message.Shard) bool {
	d.assignment.mu.Lock()
	defer d.assignment.mu.Unlock()
	return slices.Contains(d.assignment.workers[s], d.o.Worker)
}

// joinedAll reports whether this worker has a heartbeat in every shard.
func (d *dispatcher) joinedAll() bool {
	return !slices.ContainsFunc(d.o.Shards.All(), func(s message.Shard) bool { return !d.joined(s) })
}

// assignNumbers keeps the numbers that have work served until the dispatcher stops, and returns when
// all their tasks are dispatched or returned.
func (d *dispatcher) assignNumbers() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-d.stopped.Done():
			d.assignment.wg.Wait()
			return
		case <-timer.C:
		}
		err := d.assign()
		if err != nil && d.stopped.Err() == nil {
			d.o.Log.Warn("cannot read which numbers have work", "err", err)
		}
		d.rest()
		if timer.Reset(assignEvery); err == nil && !d.joinedAll() {
			timer.Reset(joinEvery)
		}
	}
}

// assign learns which workers live and which numbers have work, and serves those that are this worker's. A
// shard that cannot be read does not delay the others.
func (d *dispatcher) assign() error {
	workers, err := d.o.Alive(d.stopped)
	d.assignment.mu.Lock()
	if d.assignment.workers == nil {
		d.assignment.workers = map[message.Shard][]string{}
	}
	maps.Copy(d.assignment.workers, workers)
	d.assignment.mu.Unlock()
	indexes := make([]*redis.StringSliceCmd, d.o.Shards)
	err = errors.Join(err, d.db.Pipe(d.stopped, func(p redis.Pipeliner) { // each command has its own error
		for i, s := range d.o.Shards.All() {
			indexes[i] = p.SMembers(d.stopped, queue.WorkKey(s))
		}
	}))
	var numbers []string
	for _, c := range indexes {
		numbers = append(numbers, c.Val()...)
	}
	for _, number := range numbers {
		d.serve(number)
	}
	d.tidyUnserved(d.stopped, numbers)
	return err
}

// serve makes sure that a number is served here if it is this worker's to serve.
func (d *dispatcher) serve(id string) {
	rate, known := d.o.Rate(id)
	if !known || !d.joined(d.o.Shards.Of(id)) || d.rank(id) >= servers || d.stopped.Err() != nil {
		return
	}
	as := &d.assignment
	as.mu.Lock()
	defer as.mu.Unlock()
	if a := as.active[id]; a != nil {
		a.schedule.SetConfigured(rate)
		return
	}
	ctx, stop := context.WithCancel(d.stopped)
	n := d.newNumber(id, rate)
	as.active[id] = &active{number: n, stop: stop}
	as.wg.Go(func() { n.schedule.Run(ctx) })
	as.wg.Go(func() { d.feed(ctx, n) })
}

// wake calls a number that has something to do, as was published: see store.WakeChannel.
func (d *dispatcher) wake(text string) {
	id, class, found := strings.Cut(text, " ")
	classes := every
	if c, err := strconv.Atoi(class); found && err == nil {
		classes = 1 << c & every
	}
	if n := d.number(id); n != nil {
		n.call(classes)
		return
	}
	d.serve(id) // it begins with a fetch
}

func (d *dispatcher) number(id string) *number {
	d.assignment.mu.Lock()
	defer d.assignment.mu.Unlock()
	if a := d.assignment.active[id]; a != nil {
		return a.number
	}
	return nil
}

// rest lets go of numbers that have nothing to do, are served elsewhere or are not configured any more.
func (d *dispatcher) rest() {
	for id, a := range d.actives() {
		if _, known := d.o.Rate(id); !known {
			a.stop() // tasks that are leased and have their slots go on
			a.ended = true
		}
		idle := a.idleFor()
		if idle > restAfter || idle > assignEvery && (a.ended || d.rank(id) >= servers) {
			d.assignment.mu.Lock()
			delete(d.assignment.active, id)
			d.assignment.mu.Unlock()
			a.stop()
		}
	}
}

func (d *dispatcher) actives() map[string]*active {
	d.assignment.mu.Lock()
	defer d.assignment.mu.Unlock()
	return maps.Clone(d.assignment.active)
}

// listen wakes numbers when something was enqueued for them. A lost call delays a task by
// assignEvery at most.
func (d *dispatcher) listen() {
	sub := d.db.PSubscribe(d.stopped, "sluice:{s*}:wake")
	defer sub.Close()
	calls := sub.Channel()
	for {
		select {
		case <-d.stopped.Done():
			return
		case m, ok := <-calls:
			if !ok {
				return
			}
			d.wake(m.Payload)
		}
	}
}

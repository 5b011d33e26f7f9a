package queue

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/pacing"
)

const (
	// tidyEvery is how often delayed tasks are brought to the heads of their queues, and when a
	// lost call for a number is noticed; a worker that stands by does so tidyStandby times less often.
	// tidyMost is how many tasks of a kind are moved at once.
	tidyEvery   = 500 * time.Millisecond
	tidyStandby = 4
	tidyMost    = 500
	// burst is the least time between two fetches that were called for: a campaign that is
	// being enqueued calls thousands of times a second.
	burst = 5 * time.Millisecond
	// probeEvery is how long a template that probes waits for what came of one task before it lets the
	// next one go.
	probeEvery = 5 * time.Second
	// standby is how often the second worker of a number looks whether the first keeps up.
	standby = 250 * time.Millisecond
	// lag is how far behind the present a schedule's end must be before the second worker takes it:
	// a first that falters for a moment would lose more by the change, 0.1 s of slots each way.
	lag = 150 * time.Millisecond
	// away is the pause after Redis failed to answer.
	away = 250 * time.Millisecond
)

// feed fetches one number's tasks and hands them out until ctx ends.
func (g *gate) feed(ctx context.Context, n *number) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer g.last(n)
	var tidied time.Time
	more, called := false, true
	for {
		looked := time.Now()
		first := g.first(n.id)
		every := tidyEvery
		if !first {
			every *= tidyStandby
		}
		if more || looked.Sub(tidied) >= every {
			tidied = looked
			for more = true; more && ctx.Err() == nil; { // all at once, or what comes last would go first
				more = g.tidyUp(ctx, n, first)
			}
		}
		wait := g.feedOnce(ctx, n, called)
		if !first {
			wait = max(wait, standby)
		}
		timer.Reset(min(wait, tidyEvery))
		called = false
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
			called = true
			if first {
				time.Sleep(burst - time.Since(looked))
			} else {
				time.Sleep(lag) // the first hears the same call: both at once would take the line from each other
			}
		case <-timer.C:
		}
	}
}

// feedOnce fetches tasks once, if there is room and may be some, and hands them out. It returns
// when to come again.
func (g *gate) feedOnce(ctx context.Context, n *number, called bool) time.Duration {
	n.mu.Lock()
	none := n.may == 0
	n.mu.Unlock()
	room := n.room(called)
	switch {
	case none || !g.joined(g.o.Shards.Of(n.id)):
		return tidyEvery
	case room <= 0:
		return pacing.Horizon / 4
	}
	tasks, next, err := g.fetch(ctx, n, room)
	if err != nil {
		if ctx.Err() == nil {
			g.o.Log.Warn("cannot fetch tasks", "phone_number_id", n.id, "err", err)
		}
		next = away
	}
	g.handOut(ctx, n, tasks)
	if next == 0 {
		return 0
	}
	return next + rand.N(time.Millisecond)
}

// handOut gives tasks to asynq's server. At a stop those left go back to the head of their
// queues.
func (g *gate) handOut(ctx context.Context, n *number, tasks []*task) {
	if len(tasks) == 0 {
		return
	}
	n.mu.Lock()
	n.running += len(tasks)
	n.mu.Unlock()
	for i, t := range tasks {
		message, err := g.client.encoder.encode(n.names[t.class], cmp.Or(t.Message, t.id), t.id)
		if err != nil {
			g.o.Log.Error("cannot pass tasks to asynq", "phone_number_id", n.id, "err", err)
			g.handBack(n, tasks[i:])
			return
		}
		select {
		case g.ready <- message:
			continue
		default:
		}
		select {
		case g.ready <- message:
		case <-ctx.Done():
			g.handBack(n, tasks[i:])
			return
		}
	}
}

// handBack puts tasks that no handler has seen back to the heads of their queues, in their order.
func (g *gate) handBack(n *number, tasks []*task) {
	n.mu.Lock()
	n.running -= len(tasks)
	n.mu.Unlock()
	g.leave(n, exits(tasks, toHead)...)
	if err := g.write(n, 0); err != nil {
		g.o.Log.Warn("cannot return tasks to their queues, will retry", "phone_number_id", n.id, "err", err)
	}
}

// tidyUp brings a number's due tasks to the head of their queues and learns which classes have
// tasks. It also reads what workers have in hand. It is true when more may be due.
func (g *gate) tidyUp(ctx context.Context, n *number, first bool) (more bool) {
	sent := time.Now()
	read := sent.Sub(n.handsRead) >= listEvery
	n.mu.Lock()
	now := n.redisTime(sent)
	n.mu.Unlock()
	var tidy *redis.Cmd
	var hands *redis.MapStringStringCmd
	var pairs pairCommands
	g.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		tidy = g.tidy.Add(ctx, p, []string{n.schedule}, tidyMost)
		if read {
			hands = p.HGetAll(ctx, n.hands)
		}
		if pairs = (pairCommands{}); len(n.pairs.unsent) > 0 {
			pairs = n.pairs.add(ctx, p, n, now)
		}
	})
	trip := time.Since(sent)
	n.pairs.done(pairs)
	reply, err := tidy.Int64Slice()
	if err == nil && read {
		n.handsRead = sent
		err = g.readHands(n, hands, first)
	}
	if err != nil && ctx.Err() == nil {
		g.o.Log.Warn("cannot clean up queues", "phone_number_id", n.id, "err", err)
	}
	g.leaveReturned(n, returnedMost)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answeredIn(trip)
	if len(reply) < 2 {
		return false
	}
	n.may |= int(reply[1])
	return reply[0] == 1
}

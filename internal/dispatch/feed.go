package dispatch

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/queue"
	"sluice/internal/ratelimit"
)

const (
	// tidyEvery is how often delayed tasks are moved to the heads of their queues, and when a
	// lost call for a number is noticed; a worker that stands by does so tidyStandby times less often.
	// tidyMost is how many tasks of a kind are moved at once.
	tidyEvery   = 500 * time.Millisecond
	tidyStandby = 4
	tidyMost    = 500
	// burst is the least time between two fetches after calls: a campaign that is
	// being enqueued calls thousands of times a second.
	burst = 5 * time.Millisecond
	// probeEvery is how long a template that probes waits for the outcome of one task before the
	// next one goes.
	probeEvery = 5 * time.Second
	// standby is how often the second worker of a number checks whether the first keeps up.
	standby = 250 * time.Millisecond
	// away is the pause after Redis failed to answer.
	away = 250 * time.Millisecond
)

// feed fetches one number's tasks and dispatches them until ctx ends.
func (d *dispatcher) feed(ctx context.Context, n *number) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer d.last(n)
	var tidied time.Time
	more, called := false, true
	for {
		began := time.Now()
		first := d.first(n.id)
		every := tidyEvery
		if !first {
			every *= tidyStandby
		}
		if more || began.Sub(tidied) >= every {
			tidied = began
			for more = true; more && ctx.Err() == nil; { // all at once, or what comes last would go first
				more = d.tidyUp(ctx, n, first)
			}
		}
		wait := d.feedOnce(ctx, n, called)
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
				time.Sleep(burst - time.Since(began))
			} else {
				time.Sleep(ratelimit.StandbyLag) // the first gets the same call: both at once would change the schedule's owner
			}
		case <-timer.C:
		}
	}
}

// feedOnce fetches tasks once, if more may be leased and there may be some, and dispatches them. It returns
// when to come again.
func (d *dispatcher) feedOnce(ctx context.Context, n *number, called bool) time.Duration {
	n.mu.Lock()
	none := n.may == 0
	n.mu.Unlock()
	capacity := n.capacity(called)
	switch {
	case none || !d.joined(n.shard):
		return tidyEvery
	case capacity <= 0:
		return ratelimit.Horizon / 4
	}
	tasks, next, err := d.fetch(ctx, n, capacity)
	if err != nil {
		if ctx.Err() == nil {
			d.o.Log.Warn("cannot fetch tasks", "phone_number_id", n.id, "err", err)
		}
		next = away
	}
	d.dispatch(ctx, n, tasks)
	if next == 0 {
		return 0
	}
	return next + rand.N(time.Millisecond)
}

// tidyUp moves a number's due tasks to the heads of their queues and learns which classes have
// tasks. It also compares the leases that Redis has. It is true when more may be due.
func (d *dispatcher) tidyUp(ctx context.Context, n *number, first bool) (more bool) {
	sent := time.Now()
	read := sent.Sub(n.leasesRead) >= queue.ListEvery
	now := n.schedule.RedisTime(sent)
	all, urgent := d.capacity(n, first)
	var tidy *redis.Cmd
	var leases *redis.MapStringStringCmd
	var pairs ratelimit.PairCommands
	d.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		tidy = d.tidy.Add(ctx, p, []string{n.key}, tidyMost, all, urgent)
		if read {
			leases = n.lease.Read(ctx, p)
		}
		if pairs = (ratelimit.PairCommands{}); n.pairs.Unwritten() {
			pairs = n.pairs.Add(ctx, p, now)
		}
	})
	trip := time.Since(sent)
	n.pairs.Done(pairs)
	reply, err := tidy.Int64Slice()
	if err == nil && read {
		n.leasesRead = sent
		err = n.lease.Compare(leases, first)
	}
	if err != nil && ctx.Err() == nil {
		d.o.Log.Warn("cannot clean up queues", "phone_number_id", n.id, "err", err)
	}
	n.leaveSilent(silentMost)
	n.schedule.AnsweredIn(trip)
	if len(reply) < 2 {
		return false
	}
	n.pending(int(reply[1]))
	return reply[0] == 1
}

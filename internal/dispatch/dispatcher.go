package dispatch

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/holds"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
	"sluice/internal/store"
)

var (
	//go:embed fetch.lua
	fetchLua string
	//go:embed tidy.lua
	tidyLua string
	//go:embed gone.lua
	goneLua string
)

// The scripts of a dispatcher, as Redis gets them.
var (
	fetchScript = queue.NamesLua + queue.FlowsLua + ratelimit.RateLua + ratelimit.SlotsLua + holds.HeldLua +
		fmt.Sprintf("local MOST, FLOWS = %d, %d -- tasks and flows of a class\n", fetchMost, fetchFlows) + fetchLua
	tidyScript = queue.NamesLua + queue.FlowsLua + fmt.Sprintf("local PAIR, BURST, PROBE = %d, %d, %d\n",
		ratelimit.PairEvery.Microseconds(), ratelimit.PairBurst, probeEvery.Milliseconds()) + holds.HeldLua + queue.WaitsLua + tidyLua
	goneScript = queue.NamesLua + queue.FlowsLua + goneLua
)

// dispatcher is a worker's part in sending. It is the source of tasks of asynq's server.
type dispatcher struct {
	db         *store.DB
	o          Options
	clock      ratelimit.Clock
	assignment assignment
	client     *queue.Client
	tx         *store.Transactions
	seq        atomic.Int64 // of fetches

	fetching, book, tidy, gone store.Script // the scripts

	unserved map[string]*unserved // of the goroutine that assigns numbers

	ready   chan string     // tasks in asynq's encoding that have a slot coming
	stopped context.Context // ends when nothing more is dispatched
	given   context.Context // ends when what is not written yet is given up
	giveUp  context.CancelFunc
	writers sync.WaitGroup
}

func newDispatcher(stopped context.Context, db *store.DB, o Options) *dispatcher {
	d := &dispatcher{
		db: db, o: o, stopped: stopped,
		assignment: assignment{active: map[string]*active{}}, client: queue.NewClient(db, o.Shards),
		tx:       o.Transactions,
		fetching: db.Script(fetchScript), book: db.Script(ratelimit.BookLua), tidy: db.Script(tidyScript), gone: db.Script(goneScript),
		unserved: map[string]*unserved{},
		ready:    make(chan string, readyMost),
	}
	if d.tx == nil {
		d.tx = db.Transactions(false)
	}
	d.given, d.giveUp = context.WithCancel(context.WithoutCancel(stopped))
	// A process that comes again under the same name must not use a sequence of the last one.
	d.seq.Store(time.Now().UnixMicro())
	return d
}

// readyMost is how many tasks wait for asynq's server to fetch them: it fetches one at a time.
const readyMost = 64

// run feeds the server until it stops, and returns when all tasks of the dispatcher are dispatched
// or returned.
func (d *dispatcher) run() {
	var wg sync.WaitGroup
	wg.Go(d.listen)
	wg.Go(d.assignNumbers)
	wg.Wait()
}

// Next waits for a task that asynq's server may run; false: there is none yet, or the dispatcher stops.
func (d *dispatcher) Next() (string, bool) {
	select {
	case m := <-d.ready:
		return m, true
	default:
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case m := <-d.ready:
		return m, true
	case <-t.C:
	case <-d.stopped.Done():
	}
	return "", false
}

// dispatch gives tasks to asynq's server. At a stop those left return to the heads of their queues.
func (d *dispatcher) dispatch(ctx context.Context, n *number, tasks []*queue.Fetched) {
	if len(tasks) == 0 {
		return
	}
	n.mu.Lock()
	n.running += len(tasks)
	n.mu.Unlock()
	for i, t := range tasks {
		text, err := d.client.Encode(n.lease.Keys(t.Class), cmp.Or(t.Message, t.ID), t.ID)
		if err != nil {
			d.o.Log.Error("cannot pass tasks to asynq", "phone_number_id", n.id, "err", err)
			d.giveBack(n, tasks[i:])
			return
		}
		select {
		case d.ready <- text:
			continue
		default:
		}
		select {
		case d.ready <- text:
		case <-ctx.Done():
			d.giveBack(n, tasks[i:])
			return
		}
	}
}

// giveBack returns tasks that no handler has seen to the heads of their queues, in their order.
func (d *dispatcher) giveBack(n *number, tasks []*queue.Fetched) {
	n.mu.Lock()
	n.running -= len(tasks)
	n.mu.Unlock()
	n.leave(queue.Exits(tasks, queue.ToHead)...)
	if err := n.lease.Write(0); err != nil {
		d.o.Log.Warn("cannot return tasks to their queues, will retry", "phone_number_id", n.id, "err", err)
	}
}

// handle lets the handler handle a task of asynq's server.
func (d *dispatcher) handle(ctx context.Context, of, id string, _ []byte) (err error) {
	n := d.number(queue.NumberOf(of))
	if n == nil {
		return nil // impossible: a number with leased tasks stays assigned
	}
	t := n.lease.Task(id)
	if t == nil {
		return nil
	}
	panicked := true
	defer func() {
		if panicked {
			n.returned(t, errPanic)
		}
	}()
	if t.Message != "" { // else it is no task of ours: there is nothing to do for it
		slots := &Slots{n: n, class: t.Class, came: t.Came, current: func() bool { return d.era(n.shard) == t.Era }}
		err = d.o.Handler(ctx, t.Message, t.K, t.Known, slots)
		if !slots.since.IsZero() {
			n.answered(time.Since(slots.since))
		}
	}
	panicked = false
	n.returned(t, err)
	return err
}

// errPanic stands for the error of a handler that panicked.
var errPanic = errors.New("the handler panicked")

// Ended takes in what asynq's server does with a task when its handler has returned, or when it is
// stopped.
func (d *dispatcher) Ended(e queue.Ended) {
	n := d.number(e.Number)
	if n == nil {
		return
	}
	t := n.lease.Task(e.ID)
	if t == nil {
		return
	}
	switch e.Call {
	case queue.Done:
		n.leave(queue.Exit{Fetched: t, How: queue.Finished})
	case queue.Requeue:
		n.leave(queue.Exit{Fetched: t, How: queue.ToHead})
	case queue.Retry:
		n.leave(n.retried(t, e.Text, e.At))
	}
}

// silentMost is how long after its handler's return asynq may take to say what becomes of a task.
// It says nothing when it stood still for too long itself.
const silentMost = 5 * time.Second

// leaveSilent lets tasks leave whose handlers returned and of which asynq's server said nothing for
// so long.
func (n *number) leaveSilent(d time.Duration) {
	var exits []queue.Exit
	for _, t := range n.lease.Silent(d) {
		if n.lease.Outcome(t) == nil {
			exits = append(exits, queue.Exit{Fetched: t, How: queue.Finished})
		} else {
			exits = append(exits, n.retried(t, "", 0))
		}
	}
	n.leave(exits...)
}

// lastTimeout is how long the last commands about a number may take.
const lastTimeout = 3 * time.Second

// last completes a number that this worker does not serve any more, or when the
// worker stops: what was dispatched is in the log of recipients, and no fetch is unknown.
func (d *dispatcher) last(n *number) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.given), lastTimeout)
	defer cancel()
	if n.pairs.Unwritten() {
		d.readPairs(ctx, n)
	}
	if err := d.recover(ctx, n); err != nil {
		d.o.Log.Warn("cannot return tasks to their queues", "phone_number_id", n.id, "err", err) // the sweeper does
	}
}

// finish returns what no handler has begun and writes how the last tasks ended, when no handler
// runs any more.
func (d *dispatcher) finish() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.given), lastTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, d.giveUp)
	defer stop()
	for _, a := range d.actives() {
		a.leaveSilent(0)
		a.leave(queue.Exits(a.lease.All(), queue.ToHead)...)
		if err := a.lease.Settle(ctx); err != nil {
			d.o.Log.Warn("cannot complete the last tasks", "phone_number_id", a.id, "err", err) // the sweeper returns them
		}
	}
	d.giveUp()
	d.writers.Wait()
}

func (d *dispatcher) strays(fetches []queue.Fetch) []queue.Fetch {
	return slices.DeleteFunc(slices.Clone(fetches), func(f queue.Fetch) bool {
		n := d.number(f.Number)
		return f.Worker != d.o.Worker || n != nil && n.lease.Has(f.Field)
	})
}

package queue

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/pacing"
)

const (
	// tidyEvery is how often delayed tasks and expired leases are looked for, and at a number
	// without work if no wake-up came; tidyMost, how many of a kind are moved at once.
	tidyEvery = 500 * time.Millisecond
	tidyMost  = 500
	// burst is the least time between two looks that were called for: a campaign that is
	// being enqueued calls thousands of times a second.
	burst = 5 * time.Millisecond
	// standby is how often the second worker of a number looks whether the first keeps up.
	standby = 250 * time.Millisecond
	// lag is how far behind the present a line's end must be before the second worker takes it:
	// a first that falters for a moment would lose more by the change, 0.1 s of slots each way.
	lag = 150 * time.Millisecond
	// atFirst is how many tasks of a number a worker takes in hand before it knows how it fares.
	atFirst = 64
	// away is the pause after Redis failed to answer.
	away = 250 * time.Millisecond
)

// number is the gate's view of one phone number that has work here.
type number struct {
	id    string
	shard message.Shard
	line  *pacing.Line
	wake  chan struct{}

	takeKeys, bookKeys, tidyKeys []string
	takeArgs, tidyArgs           []any // those after the fixed ones
	classes                      []keysOf
	names                        []string // queue names by class

	mu      sync.Mutex
	rate    int            // configured
	booked  int64          // end of the last booking, in microseconds of Redis's clock
	spacing time.Duration  // between the slots of the last booking
	trip    time.Duration  // that Redis takes to answer, smoothed
	taken   map[string]int // task id -> class, of the tasks in hand
	answer  time.Duration  // how long handlers take from their slot on, smoothed
	most    float64        // tasks in hand at most, learned from missed slots
	steady  float64        // from where on most grows slowly
	cut     time.Time      // when most was last lowered
	busy    time.Time      // when there last was something to do
}

func (g *gate) newNumber(id string, rate int) *number {
	n := &number{
		id: id, shard: g.o.Shards.Of(id), rate: rate, wake: make(chan struct{}, 1),
		taken: map[string]int{}, answer: time.Second, most: atFirst, steady: math.Inf(1), busy: time.Now(),
	}
	n.line = pacing.NewLine(rate, func(ctx context.Context, k int) ([]time.Time, error) { return g.bookSlots(ctx, n, k) })
	n.bookKeys = []string{lineKey(n.shard, id), paceKey(n.shard, id)}
	holds, templates, held := holdsKey(n.shard), n.shard.Key("held:"+id), n.shard.Key("held:"+id+":")
	n.takeKeys = append(slices.Clone(n.bookKeys), holds, templates)
	n.takeArgs = []any{g.o.Records(n.shard), n.shard.Key("pair:"), id, held}
	n.tidyKeys = []string{workKey(n.shard), holds, templates}
	n.tidyArgs = []any{id, tidyMost, held}
	for _, c := range message.Classes() {
		q := name(n.shard, id, c)
		k := asynqKeys(q)
		n.classes = append(n.classes, k)
		n.names = append(n.names, q)
		n.takeKeys = append(n.takeKeys, k.pending, k.paused, k.active, k.lease, k.scheduled)
		n.takeArgs = append(n.takeArgs, k.task)
		n.tidyKeys = append(n.tidyKeys, k.pending, k.active, k.lease, k.scheduled, k.retry)
		n.tidyArgs = append(n.tidyArgs, k.task)
	}
	return n
}

// fetch takes one number's tasks and hands them out until ctx ends.
func (g *gate) fetch(ctx context.Context, n *number) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var tidied time.Time
	more, called := false, true
	for {
		looked := time.Now()
		wait := pacing.Horizon / 4
		if more || looked.Sub(tidied) > tidyEvery {
			tidied = looked
			more = g.tidyUp(ctx, n)
		}
		if room := n.room(called); room > 0 {
			tasks, next, err := g.takeTasks(ctx, n, room)
			if err != nil {
				if ctx.Err() == nil {
					g.o.Log.Warn("take tasks", "phone_number_id", n.id, "err", err)
				}
				next = away
			}
			g.handOut(ctx, n, tasks)
			wait = next + rand.N(time.Millisecond)
		}
		if !g.first(n.id) {
			wait = max(wait, standby)
		}
		timer.Reset(min(wait, tidyEvery))
		called = false
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
			called = true
			if g.first(n.id) {
				time.Sleep(burst - time.Since(looked))
			} else {
				time.Sleep(lag) // the first hears the same call: both at once would take the line from each other
			}
		case <-timer.C:
		}
	}
}

// task is one that was taken.
type task struct {
	class   int
	id      string
	message string // asynq's encoding
}

// slotArgs are the arguments about slots that taking and booking share.
func (g *gate) slotArgs(n *number) []any {
	first := g.first(n.id) // before n.mu: placement holds its own lock while it asks for n.mu
	n.mu.Lock()
	defer n.mu.Unlock()
	further := n.further()
	horizon := pacing.Horizon + further
	shift := max(pacing.Cap, horizon)
	if !first {
		shift += lag
	}
	return []any{
		g.o.Worker, n.rate, pacing.Climb, pacing.Slack.Microseconds(), horizon.Microseconds(),
		(pacing.Lead + further).Microseconds(), shift.Microseconds(), n.booked,
	}
}

// answeredIn notes how long Redis took. The first time says all that is known yet of how long
// an attempt takes to be written down. The caller holds n.mu.
func (n *number) answeredIn(trip time.Duration) {
	if n.trip == 0 {
		n.trip = trip
		n.line.Expect(trip)
	}
	n.trip += (trip - n.trip) / 8
}

// further is pacing.Further of this number. The caller holds n.mu.
func (n *number) further() time.Duration { return pacing.Further(n.trip, n.line.Prep()) }

// takeTasks takes up to room tasks and offers the slots booked with them. It returns when a
// further look is worth it.
func (g *gate) takeTasks(ctx context.Context, n *number, room int) ([]task, time.Duration, error) {
	args := append(append(g.slotArgs(n), room, int(lease.Seconds())), n.takeArgs...)
	sent := time.Now()
	r, err := g.db.Run(ctx, g.take, n.takeKeys, args...).Slice()
	if err != nil {
		return nil, 0, err
	}
	trip := time.Since(sent)
	next := tidyEvery
	if wait := micros(r[3]); wait >= 0 {
		next = time.Duration(wait)*time.Microsecond - trip
	}
	var tasks []task
	for i := 5; i+2 < len(r); i += 3 {
		class, _ := r[i].(int64)
		id, _ := r[i+1].(string)
		msg, _ := r[i+2].(string)
		tasks = append(tasks, task{int(class), id, msg})
	}
	if len(tasks) > 0 {
		n.line.SetRate(max(int(micros(r[4])), 1))
		n.line.Offer(g.slots(n, sent, trip, r, len(tasks)))
	}
	return tasks, next, nil
}

// slots are those of a reply that begins with the time now, that of the first slot and the
// time between slots.
func (g *gate) slots(n *number, sent time.Time, trip time.Duration, reply []any, count int) []time.Time {
	now, first, spacing := micros(reply[0]), micros(reply[1]), time.Duration(micros(reply[2]))*time.Microsecond
	n.mu.Lock()
	n.booked = max(n.booked, first+int64(count)*spacing.Microseconds())
	n.busy = time.Now()
	n.spacing = spacing
	n.answeredIn(trip)
	n.mu.Unlock()
	slots := make([]time.Time, count)
	at := g.clock.Local(sent, trip, now, first)
	for i := range slots {
		slots[i] = at.Add(time.Duration(i) * spacing)
	}
	return slots
}

// bookSlots books slots for tasks in hand that missed theirs.
func (g *gate) bookSlots(ctx context.Context, n *number, count int) ([]time.Time, error) {
	sent := time.Now()
	r, err := g.db.Run(ctx, g.book, n.bookKeys, append(g.slotArgs(n), count)...).Slice()
	if err != nil {
		return nil, err
	}
	booked, _ := r[3].(int64)
	return g.slots(n, sent, time.Since(sent), r, int(booked)), nil
}

// handOut gives tasks to asynq's server. At a stop those left go back to the head of their
// queues.
func (g *gate) handOut(ctx context.Context, n *number, tasks []task) {
	n.hold(tasks)
	for i, t := range tasks {
		select {
		case g.ready <- t.message:
		case <-ctx.Done():
			g.handBack(ctx, n, tasks[i:])
			return
		}
	}
}

// handBack ends the leases of tasks that no handler has seen, in their order, and tidies up.
func (g *gate) handBack(ctx context.Context, n *number, tasks []task) {
	for _, t := range tasks {
		n.release(t.id)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	err := g.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, t := range tasks {
			p.ZAddXX(ctx, n.classes[t.class].lease, redis.Z{Score: float64(i), Member: t.id})
		}
		g.tidy.Add(ctx, p, n.tidyKeys, n.tidyArgs...)
	})
	if err != nil {
		g.o.Log.Warn("hand back tasks", "phone_number_id", n.id, "err", err) // their leases run out soon
	}
}

// tidyUp brings a number's due tasks to the head of their queues. It is true when there may
// be more of them.
func (g *gate) tidyUp(ctx context.Context, n *number) (more bool) {
	sent := time.Now()
	more, err := g.db.Run(ctx, g.tidy, n.tidyKeys, n.tidyArgs...).Bool()
	n.mu.Lock()
	n.answeredIn(time.Since(sent))
	n.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		g.o.Log.Warn("tidy queues", "phone_number_id", n.id, "err", err)
	}
	return more
}

// call wakes the number's fetching.
func (n *number) call() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// room is how many more tasks may be taken: three times what the pace needs at the time that
// answers take, so that a Meta grown slow is not buried under requests, and no more than two
// seconds' worth, so that one that hangs costs only its own numbers. A look for tasks costs Redis as
// much as several tasks: a little room is none to whom nobody called.
func (n *number) room(called bool) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	perSecond := float64(n.rate)
	if n.spacing > 0 {
		perSecond = max(perSecond, float64(time.Second/n.spacing))
	}
	want := int(3*perSecond*n.answer.Seconds() + 2*perSecond*(pacing.Horizon+n.further()).Seconds())
	most := min(max(want, 20), int(2*perSecond)+20, int(n.most))
	room := most - len(n.taken)
	if !called && 8*room < most {
		return 0
	}
	return room
}

// missed notes that a task missed its slot: this worker has more in hand than it can see to.
// It takes on half of that and then slowly more, or all would miss theirs. What a number at
// Meta's usual pace needs is left to it, or its line would go from worker to worker.
func (n *number) missed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.cut) > pacing.Horizon {
		n.cut = time.Now()
		horizon := pacing.Horizon + 4*n.further() // where Redis is far each is in hand for longer
		least := min(2*float64(n.rate)*horizon.Seconds()+8, atFirst)
		n.most = max(min(n.most, float64(len(n.taken)))/2, least)
		n.steady = n.most
	}
}

// answered notes how long a handler took from its slot on.
func (n *number) answered(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer += (d - n.answer) / 16
	if n.most < n.steady {
		n.most++
	} else {
		n.most += 4 / n.most
	}
}

func (n *number) hold(tasks []task) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range tasks {
		n.taken[t.id] = t.class
	}
}

func (n *number) release(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.taken, id)
	n.busy = time.Now()
}

// idleFor is how long the number has had nothing to do; 0 while tasks are in hand.
func (n *number) idleFor() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.taken) > 0 {
		return 0
	}
	return time.Since(n.busy)
}

// inHand returns the tasks in hand by class.
func (n *number) inHand() map[int][]any {
	n.mu.Lock()
	defer n.mu.Unlock()
	by := map[int][]any{}
	for id, class := range n.taken {
		by[class] = append(by[class], id)
	}
	return by
}

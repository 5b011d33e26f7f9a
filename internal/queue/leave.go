package queue

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/internal/pacing"
)

const (
	// leaveGather is how long the ends of one number's tasks gather, to be one transaction;
	// leaveMost, how many at most. Nothing hangs on them: the record knows what came of a task. Tasks
	// that are to come again gather for leaveSoon.
	leaveGather = time.Second
	leaveSoon   = 100 * time.Millisecond
	leaveMost   = 500
	// leavePatience is how long such a transaction then waits for another one to go with.
	leavePatience = 50 * time.Millisecond
	leaveTimeout  = 30 * time.Second
	// keepCounts is how long asynq keeps the counters of a day.
	keepCounts = 90 * 24 * time.Hour
	// returnedMost is how long after its handler's return asynq may take to say what becomes of a task.
	// It says nothing when it stood still for too long itself.
	returnedMost = 5 * time.Second
)

// exit is how a task leaves its worker's hands.
type exit struct {
	*task
	how  way
	at   int64  // of later and again: when, in Unix seconds; of paired in microseconds
	text string // of again: asynq's encoding, empty: as it is; of held and refused: the hold's name
	pair pair   // of paired
}

type way int

const (
	finished way = iota // done with, and counted
	void                // deleted, there was nothing to do
	later               // set aside until its time, as asynq does with delayed tasks
	again               // to be retried
	held                // kept by a hold
	refused             // kept by a hold that it was the reason for: it goes before the others
	paired              // to wait until its recipient may get another message
	toHead              // back to the head of its queue
)

// leaving is the exits of a number's tasks that are not in Redis yet. It is guarded by number.mu.
type leaving struct {
	exits    []exit
	hands    []*hand       // all of this worker that Redis has
	settling bool          // a goroutine is at it
	due      time.Time     // when it is to write
	sooner   chan struct{} // due was brought forward
	writing  sync.Mutex    // held while they are written; taken before number.mu
	unsure   bool          // the last transaction may have run; guarded by writing
	closed   []string      // queues and days whose counter was given an end
	lists    lists
	seen     map[*task]bool // that left, and that the last read of the hands showed all the same
}

// hand is one fetch, as its worker remembers it. It is guarded by number.mu.
type hand struct {
	field   string
	tasks   []*task
	left    int  // tasks still in hand
	changed bool // Redis has more in it than is to be
	writing int  // how many were left in the last transaction; before the first, all
}

// remove takes out a task that another fetch has now.
func (h *hand) remove(t *task) {
	h.tasks = slices.DeleteFunc(h.tasks, func(other *task) bool { return other == t })
	h.left--
	h.changed = true
}

// value is what Redis is to have of the hand.
func (h *hand) value() string {
	var b strings.Builder
	class := -1
	for _, t := range h.tasks {
		if t.gone {
			continue
		}
		if t.class != class {
			if class >= 0 {
				b.WriteByte('\n')
			}
			class = t.class
			b.WriteString(strconv.Itoa(class))
		}
		b.WriteByte(' ')
		b.WriteString(t.id)
	}
	return b.String()
}

// leave takes tasks out of this worker's hands. It does not wait for Redis.
func (g *gate) leave(n *number, exits ...exit) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &n.leaving
	for _, e := range exits {
		if e.gone {
			continue
		}
		e.gone = true
		if n.taken[e.id] == e.task {
			delete(n.taken, e.id)
		}
		e.hand.left--
		e.over = e.how <= void
		e.hand.changed = e.hand.changed || e.how > void
		if e.how == toHead {
			n.may |= 1 << e.class
		}
		l.exits = append(l.exits, e)
	}
	n.busy = time.Now()
	wait := leaveGather
	if len(l.exits) >= leaveMost {
		wait = 0
	} else if slices.ContainsFunc(exits, func(e exit) bool { return e.how > void }) {
		wait = leaveSoon
	}
	if len(l.exits) > 0 {
		g.settleWithin(n, wait)
	}
}

// ended notes what asynq's server makes of a task when its handler has returned, or when it is
// stopped.
func (g *gate) ended(k call, keys []string, args []any) {
	number, id := taskOf(k, keys)
	n := g.number(number)
	if n == nil {
		return
	}
	t := n.task(id)
	if t == nil {
		return
	}
	switch k {
	case done:
		g.leave(n, exit{task: t, how: finished})
	case requeue:
		g.leave(n, exit{task: t, how: toHead})
	case retry:
		msg, at := retryAt(args)
		g.leave(n, n.retried(t, msg, at))
	}
}

// retried is the exit of a task whose handler wants it to come again.
func (n *number) retried(t *task, msg string, at int64) exit {
	n.mu.Lock()
	defer n.mu.Unlock()
	outcome := t.outcome
	l, ok := errors.AsType[Later](outcome)
	if ok && l.Hold != "" {
		return exit{task: t, how: refused, text: l.Hold}
	}
	if ok && l.In == 0 {
		return exit{task: t, how: toHead}
	}
	if ok && l.Recipient && t.pair.recipient != (pacing.Recipient{}) {
		until := n.redisTime(time.Now().Add(l.In)).UnixMicro()
		n.exhausted(t.pair.recipient, until)
		return exit{task: t, how: paired, at: until, pair: t.pair}
	}
	now := time.Now()
	if at == 0 {
		at = now.Add(retryDelay(0, outcome, nil)).Unix()
	}
	if redis := n.redisTime(now); !redis.IsZero() { // asynq has counted by this machine's clock
		at += int64(redis.Sub(now).Round(time.Second).Seconds())
	}
	return exit{task: t, how: again, text: msg, at: at}
}

// leaveReturned lets tasks leave whose handlers returned and of which asynq's server said nothing for
// so long.
func (g *gate) leaveReturned(n *number, silent time.Duration) {
	var exits []exit
	n.mu.Lock()
	for _, t := range n.taken {
		if !t.ended.IsZero() && time.Since(t.ended) > silent {
			exits = append(exits, exit{task: t, how: finished})
		}
	}
	n.mu.Unlock()
	for i, e := range exits {
		if e.outcome != nil {
			exits[i] = n.retried(e.task, "", 0)
		}
	}
	g.leave(n, exits...)
}

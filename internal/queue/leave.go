package queue

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/store"
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
	// unheard is how long after its handler's return asynq may take to say what becomes of a task.
	// It says nothing when it stood still for too long itself.
	unheard = 5 * time.Second
)

// exit is how a task leaves its worker's hands.
type exit struct {
	*task
	how  way
	at   int64  // of later and again: when, in Unix seconds
	text string // of again: asynq's encoding, empty: as it is; of held: the hold's name
}

type way int

const (
	finished way = iota // done with, and counted
	void                // deleted, there was nothing to do
	later               // set aside until its time, as asynq does with delayed tasks
	again               // to be retried
	held                // kept by a hold
	toHead              // back to the head of its queue
	dropped             // it was in its queue twice, and is in hand by another fetch
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
}

// hand is one fetch, as its worker remembers it. It is guarded by number.mu.
type hand struct {
	field   string
	tasks   []*task
	left    int  // tasks still in hand
	changed bool // Redis has more in it than is to be
	writing int  // how many were left in the last transaction; before the first, all
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

// settleWithin lets what there is to write be written within a time. The caller holds n.mu.
func (g *gate) settleWithin(n *number, wait time.Duration) {
	l := &n.leaving
	if g.given.Err() != nil {
		return
	}
	due := time.Now().Add(wait)
	if !l.settling {
		l.settling, l.due = true, due
		g.settling.Go(func() { g.settle(n) })
	} else if due.Before(l.due) {
		l.due = due
		select {
		case l.sooner <- struct{}{}:
		default:
		}
	}
}

// settle writes what has gathered until nothing is left.
func (g *gate) settle(n *number) {
	l := &n.leaving
	pause := away
	for {
		n.mu.Lock()
		wait := time.Until(l.due)
		if wait <= 0 {
			l.due = time.Now().Add(leaveGather)
		}
		n.mu.Unlock()
		if wait > 0 {
			select {
			case <-l.sooner:
			case <-time.After(wait):
			}
			continue
		}
		err := g.write(n, leavePatience)
		if err != nil {
			if g.given.Err() != nil {
				return
			}
			g.o.Log.Warn("cannot record how tasks ended, will try again", "phone_number_id", n.id, "err", err)
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
		}
		n.mu.Lock()
		l.settling = err != nil || len(l.exits) > 0
		if err != nil {
			l.due = time.Now()
		}
		more := l.settling
		n.mu.Unlock()
		if !more {
			return
		}
	}
}

// write writes in one transaction how tasks ended, within a time in which others may share it.
func (g *gate) write(n *number, within time.Duration) error {
	l := &n.leaving
	l.writing.Lock()
	defer l.writing.Unlock()
	ctx, cancel := context.WithTimeout(g.given, leaveTimeout)
	defer cancel()
	if l.unsure {
		if err := g.ask(ctx, n); err != nil {
			return err
		}
		l.unsure = false
	}
	var written int
	var active lists
	first := g.first(n.id)
	err := g.tx.Do(ctx, within, store.Change{Slot: n.hands, Decide: func(_ []string, w *store.Writes) error {
		written, active = n.compose(w, first)
		return nil
	}})
	if err != nil {
		l.unsure = true
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l.exits = slices.Delete(l.exits, 0, written)
	l.lists = active
	for _, h := range l.hands {
		h.changed = h.changed && h.left != h.writing
	}
	l.hands = slices.DeleteFunc(l.hands, func(h *hand) bool { return h.writing == 0 })
	return nil
}

// compose writes all exits there are, and returns how many. Asynq's lists of active tasks are right
// afterwards.
func (n *number) compose(w *store.Writes, first bool) (int, lists) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &n.leaving
	gone := []any{"del"}
	heads := make([][]string, len(n.classes))
	counts := make([]int64, len(n.classes))
	for _, e := range l.exits {
		k := &n.classes[e.class]
		switch e.how {
		case finished:
			counts[e.class]++
			gone = append(gone, k.task+e.id)
		case void:
			gone = append(gone, k.task+e.id)
		case later:
			w.ZAdd(k.scheduled, e.at, e.id)
			w.HSet(k.task+e.id, "state", "scheduled")
			w.HDel(k.task+e.id, "pending_since")
		case again:
			w.ZAdd(k.retry, e.at, e.id)
			if e.text != "" {
				w.HSet(k.task+e.id, "msg", e.text)
			}
			w.HSet(k.task+e.id, "state", "retry")
			w.HDel(k.task+e.id, "pending_since")
		case held:
			kept := n.shard.Key("held:" + n.id)
			w.RPush(kept+":"+e.text, strconv.Itoa(e.class)+" "+e.id)
			w.SAdd(kept, e.text)
		case toHead:
			heads[e.class] = append(heads[e.class], e.id)
		}
	}
	for class, ids := range heads {
		if len(ids) > 0 {
			slices.Reverse(ids) // the head is on the right
			w.RPush(n.classes[class].pending, ids...)
		}
	}
	n.count(w, counts)
	if len(gone) > 1 {
		w.Do(gone...)
	}
	over := []any{"hdel", n.hands}
	for _, h := range l.hands {
		h.writing = h.left
		switch {
		case h.left == 0:
			over = append(over, h.field)
		case h.changed:
			w.HSet(n.hands, h.field, h.value())
		}
	}
	if len(over) > 2 {
		w.Do(over...)
	}
	return len(l.exits), n.writeActive(w, first)
}

// count adds to asynq's counters of tasks that were done.
func (n *number) count(w *store.Writes, counts []int64) {
	now := time.Now()
	for class, done := range counts {
		if done == 0 {
			continue
		}
		total := n.classes[class].processed
		day := onDay(total, now)
		w.IncrBy(total, done)
		w.IncrBy(day, done)
		if !slices.Contains(n.leaving.closed, day) {
			n.leaving.closed = append(n.leaving.closed, day)
			w.Do("expireat", day, now.Add(keepCounts).Unix())
		}
	}
}

// ask learns after a transaction that was not answered which exits Redis has, and drops those: a
// task that was deleted, or is not in the hand any more that it left.
func (g *gate) ask(ctx context.Context, n *number) error {
	n.mu.Lock()
	exits := slices.Clone(n.leaving.exits)
	n.mu.Unlock()
	there := make([]*redis.IntCmd, len(exits))
	inHand := map[*hand]*redis.StringCmd{}
	err := g.db.Pipe(ctx, func(p redis.Pipeliner) {
		clear(inHand)
		for i, e := range exits {
			there[i] = p.HLen(ctx, n.classes[e.class].task+e.id)
			if inHand[e.hand] == nil {
				inHand[e.hand] = p.HGet(ctx, n.hands, e.hand.field)
			}
		}
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	rest := n.leaving.exits[len(exits):]
	n.leaving.exits = nil
	for i, e := range exits {
		if there[i].Val() > 0 && hasInHand(inHand[e.hand].Val(), e.id) {
			n.leaving.exits = append(n.leaving.exits, e)
		}
	}
	n.leaving.exits = append(n.leaving.exits, rest...)
	n.leaving.closed = nil // the counters may be new
	return nil
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
	if l, ok := errors.AsType[Later](outcome); ok && l.In == 0 {
		return exit{task: t, how: toHead}
	}
	return exit{task: t, how: again, text: msg, at: cmp.Or(at, time.Now().Add(retryDelay(0, outcome, nil)).Unix())}
}

// overheard lets tasks leave whose handlers returned and of which asynq's server said nothing for
// so long.
func (g *gate) overheard(n *number, silent time.Duration) {
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

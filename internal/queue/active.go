package queue

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/store"
)

// listEvery is how often asynq's lists of active tasks are written anew, by the worker that serves
// the number, so that asynq's inspector counts and lists right to a second. Of one task in hand
// asynq says that it is pending: its state is not written for each. Delete, run and archive refuse
// it, because it is not in the list of pending tasks. A task that is deleted leaves the list in the
// same transaction: asynq's inspector fails on a list that has a task which is not there.
const listEvery = time.Second

// lists are asynq's lists of active tasks of a number by class, as this worker has written them.
type lists struct {
	written bool
	ids     [4]string
	others  [4][]string // what other workers have in hand, as last read
}

// writeActive writes the lists that have changed. A worker that does not serve the number takes only
// its own tasks out of them. The caller holds n.mu.
func (n *number) writeActive(w *store.Writes, first bool) lists {
	l := &n.leaving
	if !first {
		for _, e := range l.exits {
			w.Do("lrem", n.classes[e.class].active, 1, e.id)
		}
		return lists{others: l.lists.others}
	}
	written := lists{written: true, others: l.lists.others}
	for class, ids := range n.inHand() {
		slices.Reverse(ids) // the oldest is on the right
		text := strings.Join(ids, " ")
		written.ids[class] = text
		if l.lists.written && text == l.lists.ids[class] {
			continue
		}
		w.Delete(n.classes[class].active)
		if len(ids) > 0 {
			w.RPush(n.classes[class].active, ids...)
		}
	}
	return written
}

// inHand are the tasks in hand by class, the oldest first. The caller holds n.mu.
func (n *number) inHand() (by [4][]string) {
	for class := range by {
		by[class] = slices.Clone(n.leaving.lists.others[class])
	}
	for _, h := range n.leaving.hands {
		for _, t := range h.tasks {
			if !t.gone {
				by[t.class] = append(by[t.class], t.id)
			}
		}
	}
	return by
}

// readHands compares what Redis has in hand of a number with what this worker has. The worker that
// serves the number then writes asynq's lists.
func (g *gate) readHands(n *number, hands *redis.MapStringStringCmd, first bool) error {
	all, err := hands.Result()
	if err != nil {
		return err
	}
	g.leaveAgain(n, all)
	if first {
		g.list(n, all)
	}
	return nil
}

// leaveAgain returns to their queues the tasks that left this worker's hands and that Redis still has
// there: a master that failed over lost how they left, and no other worker returns the tasks of one that
// lives. A task is returned when two successive reads show it, because the first may have been sent
// before its exit was written.
func (g *gate) leaveAgain(n *number, hands map[string]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &n.leaving
	unwritten := map[*task]bool{}
	for _, e := range l.exits {
		unwritten[e.task] = true
	}
	seen := map[*task]bool{}
	for _, h := range l.hands {
		value, there := hands[h.field]
		if !there {
			continue
		}
		inRedis := map[string]bool{}
		eachInHand(value, func(_ int, id string) { inRedis[id] = true })
		for _, t := range h.tasks {
			if !t.gone || t.over || unwritten[t] || !inRedis[t.id] { // what is over leaves Redis with its whole fetch
				continue
			}
			if !l.seen[t] {
				seen[t] = true
				continue
			}
			if h.changed = true; n.taken[t.id] == nil { // else it was fetched again meanwhile
				n.may |= 1 << t.class
				l.exits = append(l.exits, exit{task: t, how: toHead})
			}
			g.settleWithin(n, 0)
		}
	}
	l.seen = seen
}

// list notes what other workers have in hand and lets asynq's lists be written if they have changed.
func (g *gate) list(n *number, all map[string]string) {
	var others [4][]string
	for _, field := range slices.Sorted(maps.Keys(all)) {
		if worker, _ := splitField(field); worker != g.o.Worker { // of its own this worker knows more
			eachInHand(all[field], func(class int, id string) { others[class] = append(others[class], id) })
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &n.leaving
	l.lists.others = others
	changed := !l.lists.written
	for class, ids := range n.inHand() {
		slices.Reverse(ids)
		changed = changed || strings.Join(ids, " ") != l.lists.ids[class]
	}
	if changed || len(l.exits) > 0 {
		g.settleWithin(n, 0)
	}
}

// last leaves a number behind as it should be when this worker serves it no more, or when the
// worker stops: what was handed out is in the log of recipients, and no fetch is unknown.
func (g *gate) last(n *number) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.given), lastTimeout)
	defer cancel()
	if len(n.pairs.unsent) > 0 {
		g.readPairs(ctx, n)
	}
	if err := g.recover(ctx, n); err != nil {
		g.o.Log.Warn("cannot return tasks to their queues", "phone_number_id", n.id, "err", err) // the sweeper does
	}
}

// lastTimeout is how long the last commands about a number may take.
const lastTimeout = 3 * time.Second

// finish puts back what no handler has begun and writes how the last tasks ended, when no handler
// runs any more.
func (g *gate) finish() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.given), lastTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, g.giveUp)
	defer stop()
	for _, a := range g.actives() {
		g.leaveReturned(a.number, 0)
		g.leave(a.number, exits(a.left(), toHead)...)
		if err := g.finishNumber(ctx, a.number); err != nil {
			g.o.Log.Warn("cannot complete the last tasks", "phone_number_id", a.id, "err", err) // the sweeper returns them
		}
	}
	g.giveUp()
	g.settling.Wait()
}

// left are the tasks in hand, in the order in which they were fetched.
func (n *number) left() []*task {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.SortedFunc(maps.Values(n.taken), func(a, b *task) int { return a.came.Compare(b.came) })
}

// finishNumber writes at once what there is to write of a number.
func (g *gate) finishNumber(ctx context.Context, n *number) error {
	if err := g.readHands(n, g.db.HGetAll(ctx, n.hands), true); err != nil {
		return err
	}
	return g.write(n, 0)
}

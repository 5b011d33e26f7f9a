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
// it, because it is not in the list of pending tasks.
const listEvery = time.Second

// writeActive writes asynq's lists of active tasks if they have changed, by what is in hand.
func (g *gate) writeActive(ctx context.Context, n *number, hands *redis.MapStringStringCmd) error {
	all, err := hands.Result()
	if err != nil {
		return err
	}
	n.listedAt = time.Now()
	active := n.inHand()
	fields := make([]string, 0, len(all))
	for field := range all {
		if worker, _ := splitField(field); worker != g.o.Worker { // of its own this worker knows more
			fields = append(fields, field)
		}
	}
	slices.Sort(fields)
	for _, field := range fields {
		eachInHand(all[field], func(class int, id string) { active[class] = append(active[class], id) })
	}
	var text strings.Builder
	for _, ids := range active {
		slices.Reverse(ids) // the oldest is on the right
		for _, id := range ids {
			text.WriteString(id)
			text.WriteByte(' ')
		}
		text.WriteByte('\n')
	}
	if text.String() == n.listed {
		return nil
	}
	err = g.tx.Do(ctx, 0, store.Change{Slot: n.hands, Decide: func(_ []string, w *store.Writes) error {
		for class, ids := range active {
			w.Delete(n.classes[class].active)
			if len(ids) > 0 {
				w.RPush(n.classes[class].active, ids...)
			}
		}
		return nil
	}})
	if err == nil {
		n.listed = text.String()
	}
	return err
}

// last leaves a number behind as it should be when this worker serves it no more, or when the
// worker stops: what was handed out is in the log of recipients, and asynq's lists are right.
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
		g.overheard(a.number, 0)
		g.leave(a.number, exits(a.left(), toHead)...)
		if err := g.finishNumber(ctx, a.number); err != nil {
			g.o.Log.Warn("cannot record how the last tasks ended", "phone_number_id", a.id, "err", err) // the sweeper returns them
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

func (g *gate) finishNumber(ctx context.Context, n *number) error {
	for n.idleFor() == 0 { // what came while the last was written
		n.mu.Lock()
		some := len(n.leaving.exits) > 0
		n.mu.Unlock()
		if !some {
			break
		}
		if err := g.write(n, 0); err != nil {
			return err
		}
	}
	return g.writeActive(ctx, n, g.db.HGetAll(ctx, n.hands))
}

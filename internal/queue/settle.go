package queue

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/store"
)

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
			g.o.Log.Warn("cannot complete tasks, will retry", "phone_number_id", n.id, "err", err)
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
	deleted := map[string]bool{}
	gone := []any{"del"}
	remove := func(key string) {
		if !deleted[key] {
			deleted[key], gone = true, append(gone, key)
		}
	}
	heads := make([][]string, len(n.classes))
	due := map[string]int64{}
	counts := make([]int64, len(n.classes))
	for _, e := range l.exits {
		k := &n.classes[e.class]
		switch e.how {
		case finished:
			counts[e.class]++
			remove(k.task + e.id)
		case void:
			remove(k.task + e.id)
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
			kept := store.Key(n.shard, "held:"+n.id)
			w.RPush(kept+":"+e.text, strconv.Itoa(e.class)+" "+e.id)
			w.SAdd(kept, e.text)
		case refused:
			kept := store.Key(n.shard, "held:"+n.id)
			w.ZAdd(store.Key(n.shard, "refused:"+n.id+":"+e.text), e.came.UnixMicro(), strconv.Itoa(e.class)+" "+e.id)
			w.SAdd(kept, e.text)
		case paired:
			n.wait(w, e)
			if r := e.pair.name(); due[r] < e.at {
				due[r] = e.at
			}
		case toHead:
			heads[e.class] = append(heads[e.class], e.id)
		}
	}
	for recipient, at := range due { // what waits for it already waits as long
		w.Do("zadd", waitsKey(n.shard, n.id), "gt", at, recipient)
	}
	for class, ids := range heads {
		if len(ids) > 0 {
			slices.Reverse(ids) // the head is on the right
			w.RPush(n.classes[class].pending, ids...)
		}
	}
	n.count(w, counts)
	over := []any{"hdel", n.hands}
	for _, h := range l.hands {
		h.writing = h.left
		switch {
		case h.left == 0:
			over = append(over, h.field)
			for _, t := range h.tasks { // once more, where a rewind brought back what had been deleted
				if t.over {
					remove(n.classes[t.class].task + t.id)
				}
			}
		case h.changed:
			w.HSet(n.hands, h.field, h.value())
		}
	}
	if len(gone) > 1 {
		w.Do(gone...)
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

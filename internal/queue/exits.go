package queue

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/retry"
	"sluice/internal/store"
)

const (
	// leaveGather is how long the exits of one number's tasks gather, to be one transaction;
	// leaveMost, how many at most. Nothing depends on them: the record has the outcome of a task. Tasks
	// that are to come again gather for leaveSoon.
	leaveGather = time.Second
	leaveSoon   = 100 * time.Millisecond
	leaveMost   = 500
	// leaveLinger is how long such a transaction then waits for another one to be sent with.
	leaveLinger  = 50 * time.Millisecond
	leaveTimeout = 30 * time.Second
	// leaveRetry is the first pause after Redis failed to answer.
	leaveRetry = 250 * time.Millisecond
	// keepCounts is how long asynq keeps the counters of a day.
	keepCounts = 90 * 24 * time.Hour
)

// Exit is how a task leaves its worker.
type Exit struct {
	*Fetched
	How  Way
	At   int64  // of Delayed and Retried: when, in Unix seconds; of Waits and Elsewhere in microseconds
	Text string // of Retried: asynq's encoding, empty: unchanged; of Held and Refused: the hold's name
}

// Way is what becomes of a task that leaves.
type Way int

// The ways. The first two delete the task.
const (
	Finished  Way = iota // counted as done
	Deleted              // there was nothing to do
	Delayed              // set aside until its time, as asynq does with delayed tasks
	Retried              // to be retried
	Held                 // kept by a hold
	Refused              // kept by a hold that it caused: it is released before the others
	Waits                // until its recipient may get another message
	Limited              // until the messaging limit of its portfolio has capacity
	Elsewhere            // until another app does not own the conversation any more
	ToHead               // returned to the head of its queue
)

// deletes reports whether a task that leaves so is deleted.
func (w Way) deletes() bool { return w <= Deleted }

// Exits are the exits of tasks that leave in the same way.
func Exits(tasks []*Fetched, how Way) []Exit {
	all := make([]Exit, len(tasks))
	for i, t := range tasks {
		all[i] = Exit{Fetched: t, How: how}
	}
	return all
}

// Leave lets tasks leave this worker. It does not wait for Redis.
func (l *Lease) Leave(exits ...Exit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range exits {
		if e.gone {
			continue
		}
		e.gone = true
		if l.tasks[e.ID] == e.Fetched {
			delete(l.tasks, e.ID)
		}
		e.fetch.left--
		e.over = e.How.deletes()
		e.fetch.changed = e.fetch.changed || !e.How.deletes()
		if e.How == ToHead {
			l.o.Returned(1 << e.Class)
		}
		l.exits = append(l.exits, e)
	}
	wait := leaveGather
	if len(l.exits) >= leaveMost {
		wait = 0
	} else if slices.ContainsFunc(exits, func(e Exit) bool { return !e.How.deletes() }) {
		wait = leaveSoon
	}
	if len(l.exits) > 0 {
		l.settleWithin(wait)
	}
}

// settleWithin lets what there is to write be written within a time. The caller holds l.mu.
func (l *Lease) settleWithin(wait time.Duration) {
	if l.o.Given.Err() != nil {
		return
	}
	due := time.Now().Add(wait)
	if !l.settling {
		l.settling, l.due = true, due
		l.o.Writers.Go(l.settle)
	} else if due.Before(l.due) {
		l.due = due
		select {
		case l.sooner <- struct{}{}:
		default:
		}
	}
}

// settle writes what has gathered until nothing is left.
func (l *Lease) settle() {
	for {
		l.mu.Lock()
		wait := time.Until(l.due)
		if wait <= 0 {
			l.due = time.Now().Add(leaveGather)
		}
		l.mu.Unlock()
		if wait > 0 {
			select {
			case <-l.sooner:
			case <-time.After(wait):
			}
			continue
		}
		err := retry.Pauses{First: leaveRetry, Max: time.Second}.Do(l.o.Given, func() error {
			err := l.Write(leaveLinger)
			if err != nil && l.o.Given.Err() == nil {
				l.o.Log.Warn("cannot complete tasks, will retry", "phone_number_id", l.o.Number, "err", err)
			}
			return err
		})
		if err != nil {
			return // l.o.Given is over
		}
		l.mu.Lock()
		l.settling = len(l.exits) > 0
		more := l.settling
		l.mu.Unlock()
		if !more {
			return
		}
	}
}

// Write writes in one transaction how tasks left, within a time in which others may share it.
func (l *Lease) Write(within time.Duration) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	ctx, cancel := context.WithTimeout(l.o.Given, leaveTimeout)
	defer cancel()
	if l.unsure {
		if err := l.ask(ctx); err != nil {
			return err
		}
		l.unsure = false
	}
	var written int
	var active lists
	first := l.o.First()
	err := l.o.Transactions.Do(ctx, within, store.Change{Slot: l.key, Decide: func(_ []string, w *store.Writes) error {
		written, active = l.compose(w, first)
		return nil
	}})
	if err != nil {
		l.unsure = true
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.exits = slices.Delete(l.exits, 0, written)
	l.lists = active
	for _, f := range l.fetches {
		f.changed = f.changed && f.left != f.writing
	}
	l.fetches = slices.DeleteFunc(l.fetches, func(f *fetch) bool { return f.writing == 0 })
	return nil
}

// compose writes all exits, and returns how many there are. Asynq's lists of active tasks are right
// afterwards.
func (l *Lease) compose(w *store.Writes, first bool) (int, lists) {
	l.mu.Lock()
	defer l.mu.Unlock()
	deleted := map[string]bool{}
	gone := []any{"del"}
	remove := func(key string) {
		if !deleted[key] {
			deleted[key], gone = true, append(gone, key)
		}
	}
	heads := make([]map[message.Flow][]string, len(l.keys))
	due, conversations := map[string]int64{}, map[string]int64{}
	counts := make([]int64, len(l.keys))
	kept := HeldKey(l.o.Shard, l.o.Number)
	for _, e := range l.exits {
		k := &l.keys[e.Class]
		switch e.How {
		case Finished:
			counts[e.Class]++
			remove(k.Task + e.ID)
		case Deleted:
			remove(k.Task + e.ID)
		case Delayed:
			w.ZAdd(k.Scheduled, e.At, e.ID)
			w.HSet(k.Task+e.ID, "state", "scheduled")
			w.HDel(k.Task+e.ID, "pending_since")
		case Retried:
			w.ZAdd(k.Retry, e.At, e.ID)
			if e.Text != "" {
				w.HSet(k.Task+e.ID, "msg", e.Text)
			}
			w.HSet(k.Task+e.ID, "state", "retry")
			w.HDel(k.Task+e.ID, "pending_since")
		case Held:
			w.RPush(kept+":"+e.Text, entry(e.Fetched))
			w.SAdd(kept, e.Text)
		case Refused:
			w.ZAdd(RefusedKey(l.o.Shard, l.o.Number, e.Text), e.Came.UnixMicro(), entry(e.Fetched))
			w.SAdd(kept, e.Text)
		case Waits:
			r := e.Recipient.name()
			l.wait(w, e, r)
			if due[r] < e.At {
				due[r] = e.At
			}
		case Elsewhere:
			name := conversationName(e.Recipient.ID)
			l.wait(w, e, name)
			conversations[name] = max(conversations[name], e.At)
		case Limited:
			l.wait(w, e, LimitWait)
		case ToHead:
			if heads[e.Class] == nil {
				heads[e.Class] = map[message.Flow][]string{}
			}
			heads[e.Class][e.Flow] = append(heads[e.Class][e.Flow], e.ID)
		}
	}
	for recipient, at := range due { // tasks that wait for it already wait as long
		w.Do("zadd", WaitsKey(l.o.Shard, l.o.Number), "gt", at, recipient)
	}
	for name, at := range conversations {
		w.Do("zadd", ConversationsKey(l.o.Shard, l.o.Number), "gt", at, name)
	}
	for class, flows := range heads {
		for flow, ids := range flows {
			slices.Reverse(ids) // the head is on the right
			if flow == (message.Flow{}) {
				w.RPush(l.keys[class].Pending, ids...)
				continue
			}
			w.RPush(FlowKey(l.o.Shard, l.o.Number, class, flow), ids...)
			joinFlow(w, l.o.Shard, l.o.Number, class, flow)
		}
	}
	l.count(w, counts)
	over := []any{"hdel", l.key}
	for _, f := range l.fetches {
		f.writing = f.left
		switch {
		case f.left == 0:
			over = append(over, f.field)
			for _, t := range f.tasks { // once more, where a rewind brought back what had been deleted
				if t.over {
					remove(l.keys[t.Class].Task + t.ID)
				}
			}
		case f.changed:
			w.HSet(l.key, f.field, f.value())
		}
	}
	if len(gone) > 1 {
		w.Do(gone...)
	}
	if len(over) > 2 {
		w.Do(over...)
	}
	return len(l.exits), l.writeActive(w, first)
}

// count adds to asynq's counters of tasks that were done.
func (l *Lease) count(w *store.Writes, counts []int64) {
	now := time.Now()
	for class, done := range counts {
		if done == 0 {
			continue
		}
		day := l.keys[class].ProcessedOn(now)
		w.IncrBy(l.keys[class].Processed, done)
		w.IncrBy(day, done)
		if !slices.Contains(l.closed, day) {
			l.closed = append(l.closed, day)
			w.Do("expireat", day, now.Add(keepCounts).Unix())
		}
	}
}

// ask learns after a transaction without an answer which exits Redis has, and drops those: a
// task that was deleted, or that is not in the lease any more that it left.
func (l *Lease) ask(ctx context.Context) error {
	l.mu.Lock()
	exits := slices.Clone(l.exits)
	l.mu.Unlock()
	exists := make([]*redis.IntCmd, len(exits))
	leased := map[*fetch]*redis.StringCmd{}
	err := l.o.DB.Pipe(ctx, func(p redis.Pipeliner) {
		clear(leased)
		for i, e := range exits {
			exists[i] = p.HLen(ctx, l.keys[e.Class].Task+e.ID)
			if leased[e.fetch] == nil {
				leased[e.fetch] = p.HGet(ctx, l.key, e.fetch.field)
			}
		}
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := l.exits[len(exits):]
	l.exits = nil
	for i, e := range exits {
		if exists[i].Val() > 0 && HasTask(leased[e.fetch].Val(), e.ID) {
			l.exits = append(l.exits, e)
		}
	}
	l.exits = append(l.exits, rest...)
	l.closed = nil // the counters may be new
	return nil
}

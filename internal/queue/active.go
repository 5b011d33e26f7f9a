package queue

import (
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/store"
)

// ListEvery is how often asynq's lists of active tasks are written anew, by the worker that serves
// the number, so that asynq's inspector counts and lists right to a second. Of one leased task
// asynq says that it is pending: its state is not written for each. Delete, run and archive refuse
// it, because it is not in the list of pending tasks. A task that is deleted leaves the list in the
// same transaction: asynq's inspector fails on a list that has a task which does not exist.
const ListEvery = time.Second

// lists are asynq's lists of active tasks of a number by class, as this worker has written them.
type lists struct {
	written bool
	ids     [4]string
	others  [4][]string // what other workers have leased, as last read
}

// writeActive writes the lists that have changed. A worker that does not serve the number removes only
// its own tasks from them. The caller holds l.mu.
func (l *Lease) writeActive(w *store.Writes, first bool) lists {
	if !first {
		for _, e := range l.exits {
			w.Do("lrem", l.keys[e.Class].Active, 1, e.ID)
		}
		return lists{others: l.lists.others}
	}
	written := lists{written: true, others: l.lists.others}
	for class, ids := range l.leased() {
		slices.Reverse(ids) // the oldest is on the right
		text := strings.Join(ids, " ")
		written.ids[class] = text
		if l.lists.written && text == l.lists.ids[class] {
			continue
		}
		w.Delete(l.keys[class].Active)
		if len(ids) > 0 {
			w.RPush(l.keys[class].Active, ids...)
		}
	}
	return written
}

// leased are the leased tasks of all workers by class, the oldest first. The caller holds l.mu.
func (l *Lease) leased() (by [4][]string) {
	for class := range by {
		by[class] = slices.Clone(l.lists.others[class])
	}
	for _, f := range l.fetches {
		for _, t := range f.tasks {
			if !t.gone {
				by[t.Class] = append(by[t.Class], t.ID)
			}
		}
	}
	return by
}

// list notes what other workers have leased and lets asynq's lists be written if they have changed. The
// caller holds l.mu.
func (l *Lease) list(all map[string]string) {
	var others [4][]string
	for _, field := range slices.Sorted(maps.Keys(all)) {
		if worker, _ := splitField(field); worker != l.o.Worker { // of its own this worker knows more
			eachLeased(all[field], func(class int, id string) { others[class] = append(others[class], id) })
		}
	}
	l.lists.others = others
	changed := !l.lists.written
	for class, ids := range l.leased() {
		slices.Reverse(ids)
		changed = changed || strings.Join(ids, " ") != l.lists.ids[class]
	}
	if changed || len(l.exits) > 0 {
		l.settleWithin(0)
	}
}

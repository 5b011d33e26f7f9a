package record_test

import (
	"slices"
	"strings"
	"time"
)

// durable makes a message in all snapshots what it is now: the store does not lose that.
func (w *world) durable(id string) {
	if w.twin {
		w.snapshots = nil // a real store has no message of its own to adopt
		return
	}
	for _, s := range w.snapshots {
		s.memory.adopt(w.memory, id)
		for t := range s.tasks {
			if t.id == id {
				delete(s.tasks, t)
			}
		}
		for t, h := range w.tasks {
			if t.id == id {
				s.tasks[t] = held{hold: h.hold}
			}
		}
	}
}

// hold holds a task back, or lets it go.
func (w *world) hold() {
	for _, t := range w.all() {
		if w.one(2) {
			h := w.tasks[t]
			h.hold = !h.hold
			w.tasks[t] = h
			return
		}
	}
}

// all returns the tasks, in an order that does not change from run to run.
func (w *world) all() []task {
	var all []task
	for t := range w.tasks {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b task) int {
		if a.id != b.id {
			return strings.Compare(a.id, b.id)
		}
		return a.k - b.k
	})
	return all
}

func (w *world) loseTask() {
	if all := w.all(); len(all) > 0 {
		delete(w.tasks, all[w.rng.IntN(len(all))])
	}
}

// deliver lets a command arrive whose sender has given it up.
func (w *world) deliver() {
	if n := len(w.late); n > 0 {
		i := w.rng.IntN(n)
		f := w.late[i]
		w.late = slices.Delete(w.late, i, i+1)
		f()
	}
}

// remove deletes a final record whose life has ended, which may leave a tombstone, or a tombstone. The record has been
// final for a day or more, so no actor has an old view of it.
func (w *world) remove() {
	id := w.id()
	l := w.lives[id]
	if l == nil || !l.last.State.Final() || len(w.late) > 0 || w.restoring {
		return
	}
	for _, k := range w.workers {
		if j := k.job; j != nil && j.id == id && j.phase != finish && (j.phase != look || j.mem != nil) {
			return
		}
	}
	w.sights = slices.DeleteFunc(w.sights, func(s seen) bool { return s.id == id })
	for _, k := range w.workers {
		k.memory = slices.DeleteFunc(k.memory, func(m *remembered) bool { return m.ID == id })
	}
	if !l.over && w.one(2) {
		l.over = true
		w.store.LeaveTombstone(id, w.now.Add(time.Hour))
		w.versions[id] = map[int]string{}
		if r := w.memory.Read(id).record; len(w.memory.values[id])%2 == 0 || w.memory.values[id] == l.stored || r.Version() == l.last.Version() {
			w.broken("%s: a record of %d bytes has a tombstone of %d", id, l.last.Version(), r.Version())
		}
		w.durable(id)
		w.did("entombed")
		return
	}
	w.store.Remove(id)
	delete(w.lives, id)
	w.past = append(w.past, l)
	if w.memory.values[id] != "" {
		w.broken("%s: not removed", id)
	}
	w.durable(id)
	w.did("removed")
}

// snapshot is a moment that the store may go back to.
func (w *world) snapshot() {
	if w.restoring {
		return
	}
	if len(w.snapshots) == 3 {
		w.snapshots = slices.Delete(w.snapshots, 0, 1)
	}
	s := &snapshot{at: w.now, memory: w.memory.copy(), tasks: map[task]held{}, reports: len(w.applied)}
	if w.twin {
		s.rewind = w.store.Snapshot()
	}
	for t, h := range w.tasks {
		s.tasks[t] = held{hold: h.hold}
	}
	w.snapshots = append(w.snapshots, s)
	for _, k := range w.workers { // what every snapshot has need not be remembered
		k.memory = slices.DeleteFunc(k.memory, func(m *remembered) bool { return m.over && m.Since.Before(w.snapshots[0].at.Add(-time.Minute)) })
	}
}

// rewind sets the store back to an earlier state. Callers that wait for an answer get none, and no attempt begins
// until the workers have replayed what they remember.
func (w *world) rewind() {
	if len(w.snapshots) == 0 || w.restoring {
		return
	}
	w.did("rewind")
	s := w.snapshots[w.rng.IntN(len(w.snapshots))]
	w.snapshots = slices.DeleteFunc(w.snapshots, func(o *snapshot) bool { return o.at.After(s.at) })
	if s.rewind != nil {
		s.rewind()
	} else {
		back := s.memory.copy()
		w.memory.values, w.memory.lists, w.memory.names, w.memory.events = back.values, back.lists, back.names, back.events
	}
	w.tasks = map[task]held{}
	for t, h := range s.tasks {
		w.tasks[t] = h
	}
	w.reports = append(w.reports, w.applied[s.reports:]...) // the stream has them still
	w.applied = w.applied[:s.reports]
	w.late, w.sights = nil, nil
	for _, k := range w.workers {
		if j := k.job; j != nil && j.phase == begin {
			j.phase = look
		}
		for _, m := range k.memory {
			m.restored = false
		}
	}
	for id, l := range w.lives {
		l.rewound, l.cancelled, l.reported = true, false, ""
		l.last, l.stored = w.memory.Read(id).record, ""
		l.finals, l.final = w.finals(l)
		w.versions[id] = map[int]string{}
	}
	w.restoring = true
}

// crash kills a worker. What it was to remember is gone; the store has all that happened before, for a
// store and a worker that fail at the same time are more than is promised.
func (w *world) crash() {
	k := w.workers[w.rng.IntN(len(w.workers))]
	if w.restoring || !w.one(3) {
		return
	}
	w.did("crash")
	w.snapshots = nil
	for t, h := range w.tasks {
		if h.by == k.number {
			h.by = 0
			w.tasks[t] = h
		}
	}
	if w.one(4) && k.job != nil {
		delete(w.tasks, k.job.task)
	}
	*k = worker{number: k.number, seq: k.seq}
	k.seq += 1000 // its successor has another name
}

// freeze lets a worker stand still, or go on.
func (w *world) freeze() {
	k := w.workers[w.rng.IntN(len(w.workers))]
	if !k.frozen.IsZero() {
		k.frozen = time.Time{}
		return
	}
	if w.one(3) {
		w.did("freeze")
		k.frozen = w.now
	}
}

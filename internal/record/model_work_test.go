package record_test

import (
	"fmt"
	"slices"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

func (k *worker) name() string { return fmt.Sprintf("w%d-%d", k.number, k.seq/1000) }

// work lets a worker do the next of its steps.
func (w *world) work() {
	k := w.workers[w.rng.IntN(len(w.workers))]
	if !k.frozen.IsZero() {
		return
	}
	if w.restoring && w.restore(k) {
		return
	}
	switch j := k.job; {
	case j == nil:
		w.fetch(k)
	case j.phase == look:
		if w.restoring && w.rules.patient {
			return // this is another run of the store: nothing begins yet
		}
		j.saw, j.sawAt, j.phase = w.store.Read(j.id), w.now, begin
	case j.phase == begin:
		w.begin(k, j)
	case j.phase == send:
		w.send(k, j)
	case j.phase == finish:
		w.finish(k, j)
	}
}

func (w *world) fetch(k *worker) {
	for _, t := range w.all() {
		h := w.tasks[t]
		if h.by != 0 || h.hold || !w.one(2) {
			continue
		}
		k.seq++
		k.job = &job{task: t, token: fmt.Sprintf("%s/%d", k.name(), k.seq)}
		h.by = k.number
		w.tasks[t] = h
		return
	}
}

// put puts a worker's task back, or ends it.
func (w *world) put(k *worker, again bool) {
	t := k.job.task
	k.job = nil
	if h, is := w.tasks[t]; is && h.by == k.number {
		if h.by = 0; again {
			w.tasks[t] = h
		} else {
			delete(w.tasks, t)
		}
	}
}

func (w *world) begin(k *worker, j *job) {
	j.phase = look
	switch {
	case w.now.Sub(j.sawAt) > 5*time.Second, w.twin && w.store.Read(j.id).stored != j.saw.stored:
		return // it must look again
	case !w.twin && !w.quiet && w.one(20): // the command is on its way for longer than the worker waits
		saw, task, token, at := j.saw, j.k, j.token, w.now
		w.late = append(w.late, func() {
			if w.lives[saw.id] != nil {
				w.did("begin late")
				w.store.Begin(saw, task, token, at)
			}
		})
		return
	}
	done, answered := w.answered()
	if !done {
		return
	}
	if w.memory.values[j.id] != j.saw.stored {
		w.did("begin not alone")
	}
	r, b := w.store.Begin(j.saw, j.k, j.token, w.now)
	if !answered {
		return // it asks again, with the same token
	}
	switch b.Verdict {
	case message.Go:
		w.did("begin go")
		if j.began = w.now; j.saw.record.Token == j.token { // nothing was written: this is how it was when it was seen
			j.began = j.sawAt
		} else if now := w.store.Read(j.id).record; now.State != message.Attempting || now.Token != j.token || now.Attempt != r.Attempt {
			w.broken("%s: %s may begin attempt %d, and the record is %s, attempt %d by %q", j.id, j.token, r.Attempt, now.State, now.Attempt, now.Token)
		} else if w.deep && !record.Same(r, now) {
			w.broken("%s: who began has\n %+v, readers have\n %+v", j.id, r, now)
		}
		j.phase, j.record = send, r
		if j.mem == nil && w.rules.memorize {
			j.mem = &remembered{RememberedAttempt: message.RememberedAttempt{ID: j.id, N: r.Attempt, K: j.k, Token: j.token, Since: w.now}, incarnation: r.Incarnation()}
			k.memory = append(k.memory, j.mem)
		}
		if !w.quiet && w.one(30) {
			w.withdraw(j) // too few replicas have confirmed it
		}
	case message.Busy:
		w.did("begin busy")
		w.put(k, true)
	case message.Early:
		w.did("begin early")
		if b.Wait <= 0 || b.Wait != r.NextAt.Sub(w.now) {
			w.broken("%s: to wait for %s until %s", j.id, b.Wait, r.NextAt)
		}
		w.put(k, true)
	case message.Done:
		w.did("begin done")
		if b.Expired != "" {
			w.did("begin expired")
			w.move(j.saw, message.Move{To: message.Expired, Reason: b.Expired, Keep: true}, "expire")
		}
		w.put(k, false)
	}
}

func (w *world) withdraw(j *job) {
	w.did("take back")
	j.phase, j.move = finish, message.Move{To: message.Queued}
	if w.one(2) {
		j.move.In = 2 * time.Second
	}
	w.remember(j)
}

func (w *world) remember(j *job) {
	if j.mem != nil {
		m := j.move
		j.mem.Move = &m
	}
}

// send writes the request, unless the attempt may not be the worker's any more.
func (w *world) send(k *worker, j *job) {
	switch {
	case w.now.Sub(j.began) > w.rules.freshFor:
		j.phase = look
		return
	case w.now.Sub(j.record.Since()) > 50*time.Second, // soon it is taken for abandoned
		!w.now.Before(j.record.ExpiresAt), !w.quiet && w.one(20):
		w.withdraw(j)
		return
	}
	l := w.lives[j.id]
	w.mayBeSent(l, j)
	w.did("request")
	if len(l.requests) > 0 {
		w.did("request again")
	}
	j.request = &request{attempt: j.record.Attempt}
	l.requests = append(l.requests, j.request)
	j.phase = finish
	j.move = w.meta(l, j)
	w.remember(j)
	if !w.quiet && w.one(5) {
		w.did("freeze")
		k.frozen = w.now
	}
}

// finish writes down what came of an attempt, until the store has answered.
func (w *world) finish(k *worker, j *job) {
	at := w.now
	in := record.Input{
		Kind: record.Outcome, At: at, Move: j.move, Attempt: j.record.Attempt, Token: j.token, Incarnation: j.record.Incarnation(),
	}
	if !w.quiet && w.one(200) { // Redis did not answer for too long: the sweeper marks it as in doubt
		w.put(k, false)
		return
	}
	s := w.store.Read(j.id)
	if !w.quiet && !w.twin && w.one(20) {
		s.once = true
		w.late = append(w.late, func() { w.decideOf(s, in) })
		return
	}
	done, answered := w.answered()
	if !done {
		return
	}
	r, d := w.decideOf(s, in)
	if !d.Applied {
		w.did("outcome late")
	}
	if !answered {
		return
	}
	if j.move.To.AtMeta() && r.Exists() && r.Incarnation() == in.Incarnation && r.State.Rank(r.Reason) < message.Submitted.Rank("") && !slices.Contains(r.Refused, j.move.WAMID) {
		w.broken("%s: Meta took it, its worker said so, and it is %s", j.id, r.State)
	}
	if j.mem != nil {
		j.mem.over = true
	}
	w.put(k, r.State == message.Queued && j.move.To == message.Queued)
}

func (w *world) decideOf(s seen, in record.Input) (record.Record, record.Decision) {
	r, d := w.store.Decide(s, in)
	if d.Duplicate {
		w.did("duplicate")
		if l := w.lives[s.id]; l != nil && taken(l) < 2 {
			w.broken("%s: a duplicate is proven, and Meta took %d requests", s.id, taken(l))
		}
	}
	if l := w.lives[s.id]; (d.Applied || d.Duplicate) && in.Incarnation != 0 && l.incarnation != in.Incarnation {
		w.broken("%s: changed by an outcome or a report of another incarnation", s.id)
	}
	return r, d
}

// restore replays one attempt that a worker remembers. It returns false when none is left, and then the worker
// continues.
func (w *world) restore(k *worker) bool {
	for _, m := range k.memory {
		if m.restored {
			continue
		}
		done, answered := w.answered()
		if !done {
			return true
		}
		m.restored = answered
		if w.lives[m.ID] == nil {
			return true
		}
		r, loss, d := w.store.Restore(w.store.Read(m.ID), m.RememberedAttempt, w.now)
		switch loss {
		case record.IntentLost:
			w.did("restore intent")
			if r.Attempt == m.N && r.Task != m.K {
				w.broken("%s: attempt %d was restored for task %d, not %d", m.ID, m.N, r.Task, m.K)
			}
		case record.OutcomeLost:
			w.did("restore outcome")
		}
		if d.Applied && r.State.AtMeta() {
			w.did("submitted after rewind")
		}
		if m.Move != nil && m.Move.To.AtMeta() && r.State.Rank(r.Reason) < message.Submitted.Rank("") && !slices.Contains(r.Refused, m.Move.WAMID) {
			w.broken("%s: a worker remembers that Meta took it, and it is %s", m.ID, r.State)
		}
		return true
	}
	for _, o := range w.workers {
		for _, m := range o.memory {
			if !m.restored {
				return false
			}
		}
	}
	w.restoring = false
	return false
}

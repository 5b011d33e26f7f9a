package record_test

import (
	"fmt"
	"slices"
	"strings"
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
	done, answered := w.heard()
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
			j.mem = &remembered{Memory: message.Memory{ID: j.id, N: r.Attempt, K: j.k, Token: j.token, Since: w.now}, incarnation: r.Incarnation()}
			k.memory = append(k.memory, j.mem)
		}
		if !w.quiet && w.one(30) {
			w.takeBack(j) // too few replicas have confirmed it
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
			w.move(j.saw, message.Move{To: message.Expired, Reason: b.Expired}, "expire")
		}
		w.put(k, false)
	}
}

func (w *world) takeBack(j *job) {
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
		w.takeBack(j)
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

// mayBeSent says when a request may leave: the record has the attempt, and each earlier request of the
// message is proven not to have been taken, or a policy or a person ended its doubt.
func (w *world) mayBeSent(l *life, j *job) {
	if l == nil || l.incarnation != j.record.Incarnation() {
		w.broken("%s: a request of a record that is gone", j.id)
	}
	for _, q := range l.requests {
		if !q.proven && !q.ended {
			w.broken("%s: attempt %d is sent, and attempt %d may have been taken (it was: %t)", j.id, j.record.Attempt, q.attempt, q.taken)
		}
	}
	if l.cancelled && !l.unsure {
		w.broken("%s: sent although it was cancelled", j.id)
	}
	if j.record.Payload != l.payload {
		w.broken("%s: sent with the content %q", j.id, j.record.Payload)
	}
	if w.restoring {
		return // what the record says is not yet true again
	}
	r := w.store.Read(j.id).record
	own := r.State == message.Attempting && r.Token == j.token && r.Attempt == j.record.Attempt
	known := r.State.Rank(r.Reason) >= message.Submitted.Rank("") // a report was quicker
	if !own && !known && !l.unsure {
		w.broken("%s: attempt %d by %s is sent, and the record is %s, attempt %d by %q", j.id, j.record.Attempt, j.token, r.State, r.Attempt, r.Token)
	}
	if !w.now.Before(r.ExpiresAt) {
		w.broken("%s: sent after its deadline", j.id)
	}
}

// meta is what Meta makes of a request, and what the worker makes of its answer.
func (w *world) meta(l *life, j *job) message.Move {
	n := w.rng.IntN(12)
	if w.quiet {
		n = 0
	}
	taken := n < 4 || n < 8 && w.one(2)
	wamid := ""
	if taken {
		wamid = w.taken(l, j)
	}
	j.request.proven = n >= 8
	wait := time.Duration(1+w.rng.IntN(20)) * time.Second
	switch n {
	case 0, 1, 2:
		return message.Move{To: message.Submitted, WAMID: wamid}
	case 3: // the answer could not be read
		return message.Move{To: message.Submitted}
	case 4, 5:
		return message.Move{To: message.InDoubt, In: w.policies[j.id].DoubtWindow, Reason: message.ReasonNoAnswer}
	case 6, 7:
		return message.Move{To: message.InDoubt, In: w.policies[j.id].ErrorWindow, Code: 131000, Reason: message.ReasonServerError, ErrorText: "Something went wrong"}
	case 8:
		return message.Move{To: message.Rejected, Code: 131026, Reason: "code 131026"}
	case 9, 10:
		if j.record.Failures+1 >= 2 {
			return message.Move{To: message.Dead, Code: 131016, Reason: message.ReasonAttempts, Keep: true}
		}
		return message.Move{To: message.Queued, In: wait, Code: 131016, Reason: "code 131016", Counts: true}
	}
	return message.Move{To: message.Queued, In: wait, Code: 130429, Reason: "code 130429"}
}

// taken lets Meta take a message, and report on it.
func (w *world) taken(l *life, j *job) string {
	j.request.taken = true
	w.wamids++
	wamid := fmt.Sprintf("wamid.%08d", w.wamids)
	late := w.now
	if w.one(6) {
		late = late.Add(time.Duration(w.rng.IntN(30*60)) * time.Minute)
	}
	add := func(s message.State, code int) {
		w.reports = append(w.reports, report{of: l, attempt: j.record.Attempt, state: s, code: code, wamid: wamid, marked: !w.one(8), due: late})
	}
	if !w.one(4) {
		add(message.Sent, 0)
	}
	if w.one(5) {
		add(message.Failed, 131053)
		return wamid
	}
	add(message.Delivered, 0)
	if w.one(2) {
		add(message.Read, 0)
	}
	if w.one(8) {
		add(message.Played, 0)
	}
	return wamid
}

// finish writes down what came of an attempt, until the store has answered.
func (w *world) finish(k *worker, j *job) {
	at := w.now
	in := record.Input{
		Kind: record.Outcome, At: at, Move: j.move, Attempt: j.record.Attempt, Token: j.token, Incarnation: j.record.Incarnation(),
	}
	if !w.quiet && w.one(200) { // the store was away for too long: the sweeper makes a doubt of it
		w.put(k, false)
		return
	}
	s := w.store.Read(j.id)
	if !w.quiet && !w.twin && w.one(20) {
		s.once = true
		w.late = append(w.late, func() { w.decideOf(s, in) })
		return
	}
	done, answered := w.heard()
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
	if j.move.To == message.Submitted && r.Exists() && r.Incarnation() == in.Incarnation && r.State.Rank(r.Reason) < message.Submitted.Rank("") {
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

func taken(l *life) (n int) {
	for _, q := range l.requests {
		if q.taken {
			n++
		}
	}
	return n
}

// restore writes down again one thing that a worker remembers. It is false once there is nothing more,
// and then the worker goes on.
func (w *world) restore(k *worker) bool {
	for _, m := range k.memory {
		if m.restored {
			continue
		}
		done, answered := w.heard()
		if !done {
			return true
		}
		m.restored = answered
		if w.lives[m.ID] == nil {
			return true
		}
		r, loss, d := w.store.Restore(w.store.Read(m.ID), m.Memory, w.now)
		switch loss {
		case record.IntentLost:
			w.did("restore intent")
			if r.Attempt == m.N && r.Task != m.K {
				w.broken("%s: attempt %d was restored for task %d, not %d", m.ID, m.N, r.Task, m.K)
			}
		case record.OutcomeLost:
			w.did("restore outcome")
		}
		if d.Applied && r.State == message.Submitted {
			w.did("submitted after rewind")
		}
		if m.Move != nil && m.Move.To == message.Submitted && r.State.Rank(r.Reason) < message.Submitted.Rank("") {
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

// report lets the reconciler fold one of Meta's reports, in any order.
func (w *world) report() {
	if len(w.reports) == 0 {
		return
	}
	i := w.rng.IntN(len(w.reports))
	p := w.reports[i]
	if w.now.Before(p.due) {
		return
	}
	if w.fold(p) && (w.quiet || !w.one(4)) { // else it comes once more
		w.reports = slices.Delete(w.reports, i, i+1)
	}
}

// fold folds a report. It is false while nobody knows whose it is.
func (w *world) fold(p report) bool {
	in := record.Input{
		Kind: record.Status, At: w.now, Move: message.Move{To: p.state, WAMID: p.wamid, Code: p.code},
		Attempt: p.attempt, Incarnation: p.of.incarnation,
	}
	id := p.of.id
	if !p.marked {
		if id = w.store.Names(p.wamid); id == "" {
			return false
		}
		if id != p.of.id || w.lives[id] != p.of {
			w.broken("%s: a report without a marker was taken for one of %s", p.of.id, id)
		}
		w.did("report unmarked")
		in.Attempt, in.Incarnation = 0, 0
	}
	done, answered := w.heard()
	if !done {
		return false
	}
	l := w.lives[id]
	if l == nil {
		return true // its record's time is over
	}
	s := w.store.Read(id)
	if s.record.State == message.Attempting && s.record.Attempt == p.attempt {
		w.did("report early")
	}
	if in.Attempt != 0 && in.Attempt != s.record.Attempt {
		w.did("report of another attempt")
	}
	r, d := w.decideOf(s, in)
	switch {
	case l != p.of:
		w.did("report of another incarnation")
		if d.Applied || d.Repeated || len(d.Changes) > 0 {
			w.broken("%s: a report of another incarnation was folded", id)
		}
		return true
	case d.Applied:
		w.did("report applied")
		if p.state == message.Failed && in.Attempt != 0 && in.Attempt < s.record.Attempt {
			w.broken("%s: attempt %d failed, and attempt %d is to be made", id, p.attempt, s.record.Attempt)
		}
	}
	if !slices.Contains(r.WAMIDs(), p.wamid) {
		w.broken("%s: Meta's id %s was not noted", id, p.wamid)
	}
	if p.state != message.Failed && p.state.Rank("") > l.reported.Rank("") {
		l.reported = p.state
	}
	if answered {
		w.folded = append(w.folded, p)
	}
	return answered
}

// check looks whether all promises hold.
func (w *world) check() {
	total := 0
	lists := w.store.Lists()
	for _, id := range w.ids {
		l := w.lives[id]
		switch v := w.memory.values[id]; {
		case l == nil && v != "":
			w.broken("%s: a record that nobody ordered: %x", id, v)
		case l == nil:
			continue
		case v != l.stored:
			w.checkOne(l, w.store.Read(id))
			l.stored = v
		}
		if p := l.last.Place(); p.List != message.NoList {
			total++
			if score, is := lists[p.List][p.Member]; !is || score != p.Score {
				w.broken("%s: it is %s and not in its place %+v: %v", id, l.last.State, p, lists)
			}
		}
	}
	for _, members := range lists {
		total -= len(members)
	}
	if total != 0 {
		w.broken("the lists hold others, too: %v", lists)
	}
}

// checkOne looks at a record that has changed.
func (w *world) checkOne(l *life, s seen) {
	r, was := s.record, l.last
	if !r.Exists() || r.State.Rank(r.Reason) < 0 || r.Incarnation() != l.incarnation || r.Hash != l.hash {
		w.broken("%s: accepted, and there is no record of it: %+v", l.id, r)
	}
	w.did("state " + string(r.State))
	w.say("%s is %s %q, attempt %d by %q, task %d, next %s", l.id[len(number)+1:len(number)+5], r.State, r.Reason, r.Attempt, r.Token, r.Task, r.NextAt.Sub(t0))

	if _, used := w.versions[l.id][len(s.stored)]; used {
		w.broken("%s: another content of the same length %d", l.id, len(s.stored))
	}
	w.versions[l.id][len(s.stored)] = s.stored
	if even := len(s.stored)%2 == 0; even != (r.Payload != "") || r.Version() != len(s.stored) {
		w.broken("%s: length %d, payload %t, version %d", l.id, len(s.stored), r.Payload != "", r.Version())
	}

	if kept := r.Payload == l.payload && r.Recipient != ""; (r.State.Sendable() || r.State == message.Dead) && !kept {
		w.broken("%s: it is %s and its content is %q", l.id, r.State, r.Payload)
	}
	if !r.State.Sendable() && r.State != message.Dead && r.Payload+r.Recipient != "" {
		w.broken("%s: it is %s and its content is still there", l.id, r.State)
	}
	if (r.Token != "") != (r.State == message.Attempting) {
		w.broken("%s: it is %s and has the owner %q", l.id, r.State, r.Token)
	}
	w.mayFollow(l, was, r)
	w.published(l, r)
	if w.deep && w.steps%8 == 0 {
		again := r
		if read, err := record.Decode(l.id, string(again.Encode())); err != nil || !record.Same(read, r) {
			w.broken("%s: read as\n %+v, written and read again as\n %+v", l.id, r, read)
		}
	}
	l.last = r
}

// mayFollow says how a record may change in one step.
func (w *world) mayFollow(l *life, was, is record.Record) {
	if w.restoring && is.Attempt > was.Attempt {
		return // a later attempt is restored, and perhaps its outcome
	}
	from, to := was.State, is.State
	down := is.State.Rank(is.Reason) < was.State.Rank(was.Reason)
	back := to == message.Queued && slices.Contains([]message.State{message.Attempting, message.InDoubt, message.Parked, message.Dead}, from)
	same := from == message.Queued && is.Task == was.Task+1 || is.State.Rank(is.Reason) > was.State.Rank(was.Reason)
	if is.State.Rank(is.Reason) == was.State.Rank(was.Reason) && from != to || down && !back {
		w.broken("%s: %s became %s", l.id, from, to)
	}
	if from == to && !same && !is.Since().Equal(was.Since()) {
		w.broken("%s: %s became %s once more", l.id, from, to)
	}
	begun := to == message.Attempting && is.Attempt == was.Attempt+1 && from == message.Queued
	if is.Attempt != was.Attempt && !begun {
		w.broken("%s: %s, attempt %d became %s, attempt %d", l.id, from, was.Attempt, to, is.Attempt)
	}
	if back && (from == message.Parked || from == message.Dead || from == message.InDoubt) && is.Task != was.Task+1 {
		w.broken("%s: %s became queued with the same task %d", l.id, from, is.Task)
	}
}

// published looks whether the events tell what the timeline tells.
func (w *world) published(l *life, r record.Record) {
	var timeline, events []string
	for _, s := range r.Timeline {
		if s.State != message.Attempting {
			timeline = append(timeline, fmt.Sprint(s.At.UnixMilli(), s.State, s.Attempt, s.Code, s.Reason))
		}
	}
	for _, e := range w.store.Events(l.id) {
		if c := e.Change; c.Reason != message.ReasonDuplicate {
			events = append(events, fmt.Sprint(e.At, c.To, c.Attempt, c.Code, c.Reason))
		}
	}
	if len(r.Timeline) > record.MaxSteps || len(events) < len(timeline) || !slices.Equal(events[len(events)-len(timeline):], timeline) ||
		len(r.Timeline) < record.MaxSteps && len(events) != len(timeline) {
		w.broken("%s: the timeline tells\n %s, the events\n %s", l.id, strings.Join(timeline, ", "), strings.Join(events, ", "))
	}
}

// drain ends all lives: nothing fails any more, Meta takes what it gets, and time passes until nothing
// is left to do.
func (w *world) drain() {
	w.quiet = true
	for len(w.late) > 0 {
		w.steps++
		w.deliver()
		w.check()
	}
	for t, h := range w.tasks {
		h.hold = false
		w.tasks[t] = h
	}
	w.sights = nil
	for round := range 400 {
		for _, k := range w.workers {
			k.frozen = time.Time{}
		}
		for range 30 {
			w.steps++
			w.work()
			w.now = w.now.Add(10 * time.Millisecond)
			w.check()
		}
		for len(w.reports) > 0 {
			w.steps++
			n := len(w.reports)
			if w.report(); len(w.reports) == n {
				w.reports = append(w.reports[1:], w.reports[0])
				if !w.anyReport(w.now) {
					break
				}
			}
			w.check()
		}
		for _, id := range w.ids {
			w.steps++
			if s := w.store.Read(id); s.record.Exists() {
				if m, what, ok := w.choose(s.record); ok && s.record.State != message.Parked {
					w.move(s, m, what)
				}
			}
			w.check()
		}
		if round > 5 && w.settled() {
			break
		}
		w.now = w.now.Add(time.Duration(1+w.rng.IntN(30)) * time.Second * time.Duration(1+round*round/4))
	}
	for _, id := range w.ids {
		if l := w.lives[id]; l != nil {
			w.atTheEnd(l)
		}
	}
}

// anyReport tells whether there is a report by a time that a message is known for.
func (w *world) anyReport(by time.Time) bool {
	return slices.ContainsFunc(w.reports, func(p report) bool { return !p.due.After(by) && (p.marked || w.store.Names(p.wamid) != "") })
}

// settled tells whether nothing is left to do.
func (w *world) settled() bool {
	for _, l := range w.lives {
		if s := l.last.State; s == message.Queued || s == message.Attempting || s == message.InDoubt {
			return false
		}
	}
	for _, k := range w.workers {
		if k.job != nil {
			return false
		}
	}
	return !w.anyReport(w.now.Add(48 * time.Hour))
}

// atTheEnd looks at a message that nobody will do anything with any more.
func (w *world) atTheEnd(l *life) {
	r := l.last
	switch r.State {
	case message.Queued, message.Attempting, message.InDoubt:
		w.broken("%s: still %s at the end", l.id, r.State)
	case message.Submitted, message.Sent, message.Delivered, message.Read, message.Played:
		if taken(l) == 0 && !l.settled {
			w.broken("%s: it is %s, and Meta never took it", l.id, r.State)
		}
	case message.Failed:
		if taken(l) == 0 && r.Reason != message.ReasonUndetermined {
			w.broken("%s: it is %s, and Meta never took it", l.id, r.State)
		}
	case message.Rejected, message.Dead:
		for _, q := range l.requests {
			if !q.proven && !q.ended {
				w.broken("%s: it is %s, and Meta may have taken it (it did: %t)", l.id, r.State, q.taken)
			}
		}
	}
	if l.reported != "" && r.State.Rank(r.Reason) < l.reported.Rank("") {
		w.broken("%s: reported %s and %s at the end", l.id, l.reported, r.State)
	}
	for t := range w.tasks {
		if t.id == l.id {
			w.broken("%s: it is %s and has the task %d at the end", l.id, r.State, t.k)
		}
	}
}

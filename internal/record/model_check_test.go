package record_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// mayBeSent says when a request may be written: the record has the attempt, and Meta is proven not to have taken any
// earlier request of the message, or a policy or an operator has decided.
func (w *world) mayBeSent(l *life, j *job) {
	if l == nil || l.incarnation != j.record.Incarnation() {
		w.broken("%s: a request of a record that is gone", j.id)
	}
	if l.over {
		w.broken("%s: sent after its record's time was over", j.id)
	}
	for _, q := range l.requests {
		if !q.proven && !q.ended {
			w.broken("%s: attempt %d is sent, and attempt %d may have been taken (it was: %t)", j.id, j.record.Attempt, q.attempt, q.taken)
		}
	}
	if l.cancelled && !l.unsure {
		w.broken("%s: sent although it was cancelled", j.id)
	}
	if l.final != nil && l.final.Result == message.ResultNotDelivered && !l.rewound { // see docs/reliability.md, "When Redis lost writes"
		w.broken("%s: sent after its end was published: %+v", j.id, l.final)
	}
	if j.record.Payload != l.payload && (j.record.Payload != l.other || j.record.Instead == "") {
		w.broken("%s: sent with the content %q", j.id, j.record.Payload)
	}
	if w.restoring {
		return // what the record says is not yet true again
	}
	r := w.store.Read(j.id).record
	// A sweeper that found the worker frozen may write its finding after the worker went on: the attempt is in
	// doubt then, and it is still its worker's until the in-doubt window ends.
	inTime := r.State == message.Attempting || r.State == message.InDoubt && w.now.Before(r.NextAt)
	own := inTime && r.Token == j.token && r.Attempt == j.record.Attempt
	known := r.State.Rank(r.Reason) >= message.Submitted.Rank("") || // a report was quicker
		l.rewound && r.State == message.Rejected && r.Attempt < j.record.Attempt // see atTheEnd
	if !own && !known && !l.unsure {
		w.broken("%s: attempt %d by %s is sent, and the record is %s, attempt %d by %q", j.id, j.record.Attempt, j.token, r.State, r.Attempt, r.Token)
	}
	if !w.now.Before(r.ExpiresAt) && !(l.rewound && w.now.Before(l.extended)) { // the worker goes by the deadline that it read
		w.broken("%s: sent after its deadline", j.id)
	}
}

// keeps reports whether a message in that final state keeps its content, so that an operator can send it again.
func keeps(s message.State) bool {
	return slices.Contains(message.ResendStates(), s)
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
		if p := l.last.ListEntry(); p.List != message.NoList {
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
	w.say("%s is %s %q, attempt %d by %q, task %d, next %s, ids %s %s %s", l.id[len(number)+1:len(number)+5], r.State, r.Reason, r.Attempt, r.Token, r.Task, r.NextAt.Sub(t0), r.WAMID, r.Others, r.Refused)

	if _, used := w.versions[l.id][len(s.stored)]; used {
		w.broken("%s: another content of the same length %d", l.id, len(s.stored))
	}
	w.versions[l.id][len(s.stored)] = s.stored
	if even := len(s.stored)%2 == 0; even != (r.Payload != "") || r.Version() != len(s.stored) {
		w.broken("%s: length %d, payload %t, version %d", l.id, len(s.stored), r.Payload != "", r.Version())
	}

	if r.Tombstone() != l.over || l.over && (r.State.Sendable() || r.State == message.Dead && l.last.State != message.Dead || r.Payload+r.Recipient != "") {
		w.broken("%s: its time is over (%t), and it is %+v", l.id, l.over, r)
	}
	if kept := (r.Payload == l.payload || r.Payload == l.other && r.Instead != "") && r.Recipient != ""; !l.over && (r.State.Sendable() || keeps(r.State) && r.State != message.Failed) && !kept {
		w.broken("%s: it is %s and its content is %q", l.id, r.State, r.Payload)
	}
	if !r.State.Kept() && !keeps(r.State) && r.Payload+r.Recipient != "" {
		w.broken("%s: it is %s and its content is still there", l.id, r.State)
	}
	if (r.Token != "") != (r.State == message.Attempting) && (r.Token == "" || r.State != message.InDoubt) {
		w.broken("%s: it is %s and has the owner %q", l.id, r.State, r.Token)
	}
	w.mayFollow(l, was, r)
	w.published(l, r)
	w.ended(l, was, r)
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
	back := to == message.Queued && slices.Contains([]message.State{message.Attempting, message.InDoubt, message.Submitted, message.Parked, message.Dead, message.Failed, message.Rejected, message.Expired}, from)
	same := from == message.Queued && is.Task == was.Task+1 || is.State.Rank(is.Reason) > was.State.Rank(was.Reason)
	if is.State.Rank(is.Reason) == was.State.Rank(was.Reason) && from != to || down && !back {
		w.broken("%s: %s became %s", l.id, from, to)
	}
	if from == to && !same && !is.Since().Equal(was.Since()) {
		w.broken("%s: %s became %s once more", l.id, from, to)
	}
	if !is.Tombstone() && keepsError(to) && is.Attempt == was.Attempt && (was.Code != 0 && is.Code == 0 || was.Detail != (message.ErrorDetail{}) && is.Detail == (message.ErrorDetail{}) && is.Code == was.Code) {
		w.broken("%s: %s with code %d (%s) became %s with code %d (%s)", l.id, from, was.Code, was.Detail.Message, to, is.Code, is.Detail.Message)
	}
	begun := to == message.Attempting && is.Attempt == was.Attempt+1 && from == message.Queued
	if begun && (was.NextAt.After(is.Since()) || !is.Since().Before(was.ExpiresAt)) {
		w.broken("%s: attempt %d began at %s, not from %s and before %s", l.id, is.Attempt, is.Since(), was.NextAt, was.ExpiresAt)
	}
	proven := is.Attempt > was.Attempt && l.rewound && (to == message.Failed || to == message.Dead || to.Rank("") >= message.Sent.Rank("")) // by a report
	if is.Attempt != was.Attempt && !begun && !proven {
		w.broken("%s: %s, attempt %d became %s, attempt %d", l.id, from, was.Attempt, to, is.Attempt)
	}
	if back && (from == message.Parked || keeps(from) || from == message.InDoubt || from == message.Submitted) && is.Task != was.Task+1 {
		w.broken("%s: %s became queued with the same task %d", l.id, from, is.Task)
	}
}

// published checks that the events match the timeline.
func (w *world) published(l *life, r record.Record) {
	var timeline, events []string
	for _, s := range r.Timeline {
		if s.State != message.Attempting {
			timeline = append(timeline, fmt.Sprint(s.At.UnixMilli(), s.State, s.Attempt, s.Code, s.Reason))
		}
	}
	for _, e := range w.store.Events(l.id) {
		if c := e.Change; c.To != "" && c.Reason != message.ReasonDuplicate {
			events = append(events, fmt.Sprint(e.At, c.To, c.Attempt, c.Code, c.Reason))
		}
	}
	if len(r.Timeline) > record.MaxSteps || len(events) < len(timeline) || !slices.Equal(events[len(events)-len(timeline):], timeline) ||
		len(r.Timeline) < record.MaxSteps && len(events) != len(timeline) && !l.over || l.over && len(timeline) != 1 {
		w.broken("%s: the timeline tells\n %s, the events\n %s", l.id, strings.Join(timeline, ", "), strings.Join(events, ", "))
	}
}

// finals returns how many final events a message has, and that of its present life.
func (w *world) finals(l *life) (n int, present *message.Final) {
	for _, e := range w.store.Events(l.id) {
		if e.Change.To == "" {
			n, present = n+1, &e.Final
		}
	}
	r := w.memory.Read(l.id).record
	if present != nil && !r.State.Final() && !r.Published && !r.Tombstone() {
		present = nil // an operator has sent it again
	}
	return n, present
}

// ended checks that each life of a message has one final event, which says no more than is certain.
func (w *world) ended(l *life, was, is record.Record) {
	again := is.State.Sendable() || is.Attempt > was.Attempt && was.State.Rank("") < message.Delivered.Rank("") && !l.over ||
		l.rewound && !is.Published && !is.State.Final() // the attempt of a life that Redis lost
	if again && l.final != nil {
		w.did("another life")
		l.final = nil
	}
	n, last := 0, message.Final{}
	for _, e := range w.store.Events(l.id) {
		if e.Change.To == "" {
			n, last = n+1, e.Final
		}
	}
	want := l.finals
	if l.final == nil && is.State.Final() {
		want++
	}
	if n != want {
		w.broken("%s: %s became %s, and there are %d final events, not %d", l.id, was.State, is.State, n, want)
	}
	if l.finals = n; l.final != nil || !is.State.Final() {
		return
	}
	l.final = &last
	w.did("final " + string(last.Result))
	if last.State != is.State || last.Reason != is.Reason || last.Code != is.Code || last.Text == "" || last.Certain != (last.Result != message.ResultUnknown) {
		w.broken("%s: it is %+v, and its final event says %+v", l.id, is, last)
	}
	if arrived := is.State.Rank("") >= message.Delivered.Rank(""); arrived != (last.Result == message.ResultDelivered) {
		w.broken("%s: it is %s, and its final event says %s", l.id, is.State, last.Result)
	}
	for _, q := range l.requests {
		if q.taken && !q.fails && last.Result == message.ResultNotDelivered && !l.rewound {
			w.broken("%s: attempt %d was taken and will be delivered, and its final event says %+v", l.id, q.attempt, last)
		}
	}
	if len(l.requests) == 0 && is.Attempt == 0 && last.Result != message.ResultNotDelivered {
		w.broken("%s: no attempt was made, and its final event says %+v", l.id, last)
	}
}

// drain ends the run: no more faults, Meta takes what it gets, and time passes until nothing is left to do.
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

// anyReport reports whether a status was reported by the end of the message's key.
func (w *world) anyReport(by time.Time) bool {
	return slices.ContainsFunc(w.reports, func(p report) bool { return !p.due.After(by) && (p.marked || w.store.Names(p.wamid) != "") })
}

// settled reports whether nothing is left to do.
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

// atTheEnd checks a message that no actor will change any more.
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
			if r.State == message.Rejected && l.rewound {
				break // a late refusal of an earlier attempt may have been restored first: nothing is sent then
			}
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

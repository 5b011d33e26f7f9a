package record_test

import (
	"fmt"
	"slices"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

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
	case 3, 4, 5:
		return message.Move{To: message.InDoubt, In: w.policies[j.id].InDoubtWindow, Reason: message.ReasonNoAnswer}
	case 6, 7:
		return message.Move{To: message.InDoubt, In: w.policies[j.id].ErrorWindow, Code: 131000, Reason: message.ReasonServerError, Detail: message.ErrorDetail{Message: "Something went wrong"}}
	case 8:
		return message.Move{To: message.Rejected, Code: 131026, Reason: "code 131026", Keep: true}
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
	j.request.fails = true
	if w.one(5) {
		add(message.Failed, []int{131053, 131047}[w.wamids%2])
		return wamid
	}
	if w.one(6) {
		add(message.Failed, 131042)
		return wamid
	}
	j.request.fails = false
	add(message.Delivered, 0)
	if w.one(2) {
		add(message.Read, 0)
	}
	if w.one(8) {
		add(message.Played, 0)
	}
	return wamid
}

func taken(l *life) (n int) {
	for _, q := range l.requests {
		if q.taken {
			n++
		}
	}
	return n
}

// report makes the reconciler apply one of Meta's statuses, in any order.
func (w *world) report() {
	if len(w.reports) == 0 {
		return
	}
	i := w.rng.IntN(len(w.reports))
	p := w.reports[i]
	if w.now.Before(p.due) {
		return
	}
	if w.apply(p) && (w.quiet || !w.one(4)) { // else it comes once more
		w.reports = slices.Delete(w.reports, i, i+1)
	}
}

// apply applies a status. It returns false while the message of the status is unknown.
func (w *world) apply(p report) bool {
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
	done, answered := w.answered()
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
	if p.state == message.Failed {
		in.Move, in.Fallback = s.record.Failure(in.Move, in.Attempt, p.code == 131042), p.code == 131047
	}
	stale := slices.Contains(s.record.Refused, p.wamid)
	// A rewound store may have the failure of an earlier attempt, and lack that the message was sent again:
	// docs/reliability.md, "When Redis lost writes". Then the failure hides a sent of the later attempt.
	hidden := l.rewound && p.state == message.Sent && p.attempt > s.record.Attempt && s.record.State == message.Failed
	r, d := w.decideOf(s, in)
	switch {
	case l != p.of:
		w.did("report of another incarnation")
		if d.Applied || d.Repeated || len(d.Changes) > 0 {
			w.broken("%s: a report of another incarnation was applied", id)
		}
		return true
	case d.Applied:
		w.did("report applied")
		if l.over {
			w.did("report of what is over")
		}
		if p.state == message.Failed && r.Payload != "" {
			w.did("refused later")
			for _, q := range l.requests {
				q.proven = q.proven || q.attempt == p.attempt
			}
		}
		if p.state == message.Failed && r.State == message.Queued {
			w.did("report replaced")
			w.tasks[task{id, r.Task}] = held{}
			l.reported = "" // of the refused attempt
			l.unsure = l.unsure || w.restoring
			if l.final != nil && !l.rewound {
				w.broken("%s: its fallback template is to be sent after its end was published: %+v", id, l.final)
			}
		}
		if stale && (p.state == message.Failed || p.state == message.Sent) {
			w.broken("%s: a late report %s of a refused attempt was applied", id, p.state)
		}
		if p.state == message.Failed && in.Attempt != 0 && in.Attempt < s.record.Attempt {
			w.broken("%s: attempt %d failed, and attempt %d is to be made", id, p.attempt, s.record.Attempt)
		}
	}
	if !l.over && !slices.Contains(r.WAMIDs(), p.wamid) {
		w.broken("%s: Meta's id %s was not noted", id, p.wamid)
	}
	if p.state != message.Failed && !(stale && p.state == message.Sent) && !hidden && p.state.Rank("") > l.reported.Rank("") {
		l.reported = p.state
	}
	if answered {
		w.applied = append(w.applied, p)
	}
	return answered
}

package record

import (
	"slices"
	"time"

	"sluice/internal/message"
)

// Kind says who asks for a change, and so under which condition it is allowed.
type Kind int

// The kinds of input.
const (
	// Outcome is what came of an attempt, by its owner: allowed while the attempt is under way. That
	// Meta took the message is news even when the record knew more meanwhile.
	Outcome Kind = iota
	// Seen is a decision on what was seen of a record: allowed while it is in the same state, at the
	// same attempt and task.
	Seen
	// Status is a report of Meta's: allowed when it raises the rank. A failure of an earlier attempt
	// says nothing about a later one.
	Status
)

// Input is a change that somebody asks for.
type Input struct {
	Kind    Kind
	At      time.Time // by the store's clock
	Move    message.Move
	Note    string        // the reason as the timeline has it; empty: Move.Reason
	Attempt int           // the attempt meant; with Status 0: it names none
	Token   string        // with Outcome: of the attempt
	From    message.State // with Seen
	Task    int           // with Seen
	// Incarnation is the record that is meant, see Record.Incarnation; 0: it is not known.
	Incarnation int64
}

// Decision is what became of an input.
type Decision struct {
	Applied   bool
	Changed   bool             // the record is another: the input applied, or it said what Meta calls the message
	Repeated  bool             // not applied, because the record is exactly there already
	Duplicate bool             // Meta is proven to have taken the message a second time
	Changes   []message.Change // what is to be published, in this order
}

// Decide returns the record as it is after an input, and what became of it. The record that it is
// called on does not change.
func (r Record) Decide(in Input) (Record, Decision) {
	var d Decision
	if !r.Exists() || in.Incarnation != 0 && in.Incarnation != r.Incarnation() {
		return r, d
	}
	m, at := in.Move, milli(in.At)
	attempt := in.Attempt
	if attempt == 0 {
		attempt = r.Attempt
	}
	if !r.Tombstone() { // which names none of Meta's ids
		d.Changed, d.Duplicate = r.name(m.WAMID)
	}
	if d.Duplicate {
		d.Changes = append(d.Changes, message.Change{To: r.State, Attempt: attempt, WAMID: m.WAMID, Reason: message.ReasonDuplicate})
	}
	if d.Applied = r.allows(in); !d.Applied {
		d.Repeated = in.Kind == Status && r.State == m.To
		return r, d
	}
	d.Changed = true
	doubted := r.State == message.InDoubt
	r.State, r.Code, r.Reason, r.Detail = m.To, m.Code, m.Reason, m.Detail
	if r.NextAt = (time.Time{}); m.To != message.InDoubt || in.Kind == Outcome {
		r.Token = "" // else its owner may still tell
	}
	if !m.ExpiresAt.IsZero() {
		r.ExpiresAt = milli(m.ExpiresAt)
	}
	if m.Counts && m.To.Sendable() {
		r.Failures++
	}
	switch m.To {
	case message.Queued:
		if in.Kind == Seen || doubted { // the task of a doubt may be gone; the walk makes the next
			r.Task++
		}
		if m.Resend {
			r.Resends++
		}
		if m.In > 0 {
			r.NextAt = milli(at.Add(m.In))
		}
	case message.InDoubt:
		r.NextAt = milli(at.Add(m.In))
	}
	if !m.To.Sendable() {
		r.Failures = 0
	}
	if !m.To.Kept() && !m.Keep {
		r.Payload, r.Recipient = "", ""
	}
	if in.Kind == Status && m.Keep { // it may be sent again
		r.refused(m.WAMID)
	}
	note := in.Note
	if note == "" {
		note = m.Reason
	}
	if in.Kind == Status {
		r.Attempt = max(r.Attempt, attempt) // the store may have lost it
	}
	r.step(at, attempt, note)
	wamid := m.WAMID
	if wamid == "" {
		wamid = r.WAMID
	}
	d.Changes = append(d.Changes, message.Change{To: m.To, Attempt: attempt, WAMID: wamid, Code: m.Code, Reason: m.Reason, Detail: m.Detail})
	return r, d
}

// allows tells whether an input may change the record.
func (r *Record) allows(in Input) bool {
	to := in.Move.To
	rises := to.Rank(in.Move.Reason) > r.State.Rank(r.Reason)
	if r.Tombstone() && (in.Kind == Seen || to.Sendable() || to == message.Dead) {
		return false // its content is gone: nothing can be sent again
	}
	switch in.Kind {
	case Outcome:
		// What the owner knows for certain counts also when somebody took it for dead meanwhile.
		own := in.Token != "" && r.Attempt == in.Attempt && r.Token == in.Token
		return own && (r.State == message.Attempting || r.State == message.InDoubt && to != message.InDoubt) || to == message.Submitted && rises && !slices.Contains(r.Refused, in.Move.WAMID)
	case Seen:
		return r.State == in.From && r.Attempt == in.Attempt && r.Task == in.Task
	}
	switch to {
	case message.Failed, message.Dead:
		// Without an attempt it names an id that the record has, and so an attempt before one that is still open.
		earlier := in.Attempt > 0 && in.Attempt < r.Attempt || in.Attempt == 0 && r.State.Sendable()
		return rises && !earlier && !slices.Contains(r.Refused, in.Move.WAMID)
	case message.Sent: // it may come after the failure, when the message was queued again
		return rises && !slices.Contains(r.Refused, in.Move.WAMID)
	}
	return rises
}

// Failure is the move of a failure that Meta reported of an attempt; 0: it did not say of which. A message whose
// payload is still there keeps it, so that an operator may send it again, unless Meta may have delivered it by
// another attempt. If the number or the template has to be corrected first, it is a dead letter then.
func (r *Record) Failure(m message.Move, attempt int, correct bool) message.Move {
	others := slices.ContainsFunc(r.WAMIDs(), func(id string) bool { return id != m.WAMID && !slices.Contains(r.Refused, id) })
	others = others || attempt == 0 && r.Attempt > 1
	m.To, m.Keep = message.Failed, r.Payload != "" && !others && len(r.Refused) < maxOthers
	if correct && m.Keep {
		m.To, m.Reason = message.Dead, message.ReasonReported
	}
	return m
}

// Begin is what a worker learns that is about to make an attempt.
type Begin struct {
	Verdict message.Verdict
	Expired string        // with Done: the deadline has passed, which nobody has written down yet; the reason
	Wait    time.Duration // with Early
}

// Begin says whether an attempt may begin for a task, by a token, at a time, and returns the record
// as it is after that. A token that has begun already may go on.
func (r Record) Begin(task int, token string, at time.Time) (Record, Begin) {
	at = milli(at)
	switch {
	case r.State == message.Attempting && r.Token == token:
		return r, Begin{Verdict: message.Go}
	case r.State == message.Attempting:
		return r, Begin{Verdict: message.Busy}
	case r.State != message.Queued || r.Task != task:
		return r, Begin{Verdict: message.Done}
	case !at.Before(r.ExpiresAt):
		why := message.ReasonDeadline
		if r.Attempt > 0 {
			why = message.ReasonLateRetry
		}
		return r, Begin{Verdict: message.Done, Expired: why}
	case r.NextAt.After(at):
		return r, Begin{Verdict: message.Early, Wait: r.NextAt.Sub(at)}
	}
	return r.begun(token, at, ""), Begin{Verdict: message.Go}
}

func (r Record) begun(token string, at time.Time, note string) Record {
	r.State, r.Token, r.Attempt = message.Attempting, token, r.Attempt+1
	r.Reason, r.Code, r.NextAt, r.Detail = "", 0, time.Time{}, message.ErrorDetail{}
	r.step(milli(at), r.Attempt, note)
	return r
}

// Loss is what a record lacked of an attempt.
type Loss int

// The losses.
const (
	NothingLost Loss = iota
	OutcomeLost      // the attempt is in it, and not what came of it
	IntentLost       // the attempt is not in it
	RecordLost       // there is none, or one of another incarnation
)

// Restore writes down again what a worker remembers of an attempt, where the store lost it: a
// restart or a failover may have taken the record back to an earlier state.
func (r Record) Restore(m message.RememberedAttempt, at time.Time) (Record, Loss, Decision) {
	if !r.Exists() || m.Accepted != 0 && m.Accepted != r.Incarnation() {
		return r, RecordLost, Decision{}
	}
	loss := NothingLost
	if r.Attempt < m.N {
		loss = IntentLost
		// A message that ended with its content may have been sent again, and so may one that an earlier attempt
		// submitted: Meta may have refused that later. Without an earlier attempt the record has this one's outcome already.
		again := r.Payload != "" && !r.Tombstone() && (r.State != message.Submitted || r.Attempt > 0)
		if r.State.Sendable() || again {
			r.Attempt, r.Task = m.N-1, m.K
			r = r.begun(m.Token, at, "remembered")
		}
	}
	if m.Move == nil {
		return r, loss, Decision{}
	}
	after, d := r.Decide(Input{Kind: Outcome, At: at, Move: *m.Move, Attempt: m.N, Token: m.Token})
	if d.Applied && loss == NothingLost {
		loss = OutcomeLost
	}
	return after, loss, d
}

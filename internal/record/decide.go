package record

import (
	"slices"
	"time"

	"sluice/internal/message"
)

// Kind is the kind of an input. It decides under which condition the input is allowed.
type Kind int

// The kinds of input.
const (
	// Outcome is the outcome of an attempt, from the owner of the attempt: allowed while the attempt is running.
	// An acceptance by Meta is recorded even if the record has changed since.
	Outcome Kind = iota
	// Seen is a decision about a record that was read before: allowed while the record has the same state,
	// attempt and task.
	Seen
	// Status is a status from Meta: allowed when it raises the rank. A failure of an earlier attempt does not
	// concern a later one. After a failure the message may be queued with its fallback template.
	Status
)

// Input is a requested change of a record.
type Input struct {
	Kind    Kind
	At      time.Time // by the store's clock
	Move    message.Move
	Note    string        // the reason for the timeline; empty: Move.Reason
	Attempt int           // the attempt that the input is about; with Status 0: unknown
	Token   string        // with Outcome: of the attempt
	From    message.State // with Seen
	Task    int           // with Seen
	// Fallback lets the fallback template take the place of a message that Meta reports as failed, if no attempt may have been delivered.
	Fallback bool
	// Incarnation identifies the record that the input is about, see Record.Incarnation; 0: unknown.
	Incarnation int64
}

// Decision is the result of an input.
type Decision struct {
	Applied   bool
	Changed   bool     // the record changed: the input was applied, or it has a new id of Meta's for the message
	Repeated  bool     // not applied, because the record has exactly this state already
	Duplicate bool     // Meta is proven to have accepted the message a second time
	Changes   []Change // what to publish, in this order
}

// Change is a change to publish, with the final event that follows it; nil: none does.
type Change struct {
	message.Change
	Final *message.Final
}

// Decide returns the record after an input, and the result of the input. It does not change its receiver.
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
	if !r.Tombstone() { // which has none of Meta's ids
		d.Changed, d.Duplicate = r.addWAMID(m.WAMID)
	}
	if d.Duplicate {
		d.Changes = append(d.Changes, Change{Change: message.Change{To: r.State, Attempt: attempt, WAMID: m.WAMID, Reason: message.ReasonDuplicate}})
	}
	if d.Applied = r.allows(in); !d.Applied {
		d.Repeated = in.Kind == Status && r.State == m.To
		return r, d
	}
	d.Changed = true
	before := r
	if in.Fallback && r.replaceable(m, attempt, at) {
		m.To, m.Reason, m.Fallback = message.Queued, message.ReasonFallback, true
	}
	if in.Kind == Seen && m.Code == 0 && m.Detail == (message.ErrorDetail{}) && keepsError(m.To) {
		m.Code, m.Detail = r.Code, r.Detail
	}
	r.State, r.Code, r.Reason, r.Detail = m.To, m.Code, m.Reason, m.Detail
	if r.NextAt = (time.Time{}); m.To != message.InDoubt || in.Kind == Outcome {
		r.Token = "" // otherwise the owner may still report the outcome
	}
	waits := before.Waits() && m.To == message.Queued && !m.Released
	if !waits {
		r.After = message.After{}
	}
	if !m.ExpiresAt.IsZero() {
		r.ExpiresAt = milli(m.ExpiresAt)
	}
	if m.Counts && m.To.Sendable() {
		r.Failures++
	}
	switch m.To {
	case message.Queued:
		if in.Kind != Outcome || before.State == message.InDoubt { // the task of an in-doubt message may be missing; the sweeper's check creates the next one
			r.Task++
		}
		if m.Resend {
			r.Resends++
		}
		if m.In > 0 {
			r.NextAt = milli(at.Add(m.In))
		}
		if m.Fallback && r.Fallback != "" {
			if r.Instead = r.Template; r.Template == "" { // of a free-form message
				r.Instead, r.Type = r.Type, "template"
			}
			r.Template, r.Payload = r.Fallback, r.Other
			r.Fallback, r.Other = "", ""
		}
		if waits {
			r.NextAt = before.NextAt
		}
		if m.Released || before.State == message.Parked || !before.State.Sendable() { // the last two: an operator sends it again
			if r.ReadyAt = r.NextAt; r.ReadyAt.IsZero() {
				r.ReadyAt = at
			}
		}
	case message.InDoubt:
		r.NextAt = milli(at.Add(m.In))
	}
	if !m.To.Sendable() {
		r.Failures, r.ReadyAt = 0, time.Time{}
	}
	if !m.To.Kept() && !m.Keep {
		r.Payload, r.Recipient, r.Fallback, r.Other = "", "", "", ""
	}
	switch {
	case m.To.Undelivered():
		r.Spent = 0
	case before.State.Undelivered() && m.To.AtMeta() && r.Attempt > 0: // Meta delivered it all the same
		r.Spent = r.Price
	}
	if in.Kind == Status && m.Keep { // the message may be sent again
		r.addRefused(m.WAMID)
	}
	note := in.Note
	if note == "" {
		note = m.Reason
	}
	if in.Kind == Status {
		r.Attempt = max(r.Attempt, attempt) // Redis may have lost it
	}
	r.step(at, attempt, note)
	wamid := m.WAMID
	if wamid == "" {
		wamid = r.WAMID
	}
	change := message.Change{To: m.To, Attempt: attempt, WAMID: wamid, Code: m.Code, Reason: m.Reason, Detail: m.Detail, Route: m.Route}
	d.Changes = append(d.Changes, Change{Change: change, Final: r.end(&before, in, attempt)})
	return r, d
}

// keepsError reports whether a decision without an answer of Meta leaves Meta's last error in the record: it is still why
// the message is not delivered.
func keepsError(to message.State) bool {
	return to == message.Queued || to == message.Parked || to == message.Expired || to == message.Failed
}

// allows reports whether an input may change the record.
func (r *Record) allows(in Input) bool {
	to := in.Move.To
	rises := to.Rank(in.Move.Reason) > r.State.Rank(r.Reason)
	if r.Tombstone() && (in.Kind == Seen || to.Sendable() || to == message.Dead) {
		return false // its content is deleted: nothing can be sent again
	}
	switch in.Kind {
	case Outcome:
		// A certain outcome from the owner counts even if another worker has taken the owner for dead.
		own := in.Token != "" && r.Attempt == in.Attempt && r.Token == in.Token
		return own && (r.State == message.Attempting || r.State == message.InDoubt && to != message.InDoubt) || to.AtMeta() && rises && !slices.Contains(r.Refused, in.Move.WAMID)
	case Seen:
		return r.State == in.From && r.Attempt == in.Attempt && r.Task == in.Task
	}
	switch to {
	case message.Failed, message.Dead:
		// Without an attempt it names an id that the record has, so it is about an attempt before one that is still open.
		earlier := in.Attempt > 0 && in.Attempt < r.Attempt || in.Attempt == 0 && r.State.Sendable()
		return rises && !earlier && !slices.Contains(r.Refused, in.Move.WAMID)
	case message.Sent: // it may come after the failure, when the message was queued again
		return rises && !slices.Contains(r.Refused, in.Move.WAMID)
	}
	return rises
}

// Failure returns the move for a failure that Meta reported of an attempt; attempt 0: unknown. If the payload
// still exists it is kept, so that an operator can send the message again, unless Meta may have delivered the
// message by another attempt. If the number or the template must be corrected first, the move is to the
// dead-letter list.
func (r *Record) Failure(m message.Move, attempt int, correct bool) message.Move {
	others := slices.ContainsFunc(r.WAMIDs(), func(id string) bool { return id != m.WAMID && !slices.Contains(r.Refused, id) })
	others = others || attempt == 0 && r.Attempt > 1
	m.To, m.Keep = message.Failed, r.Payload != "" && !others && len(r.Refused) < maxOthers
	if correct && m.Keep {
		m.To, m.Reason = message.Dead, message.ReasonReported
	}
	return m
}

// MayFallBack reports whether the fallback template may take the place of the template, or of the free-form message: it is certain that no attempt so far
// was delivered.
func (r *Record) MayFallBack() bool {
	return r.State == message.Queued && r.Fallback != "" && r.Proven >= r.Attempt
}

// replaceable reports whether the fallback template may take the place of a message, by the move for a failure that Meta reported of an attempt. It
// must be the last attempt, and it is certain that no earlier one was delivered. The move has the id of Meta's, by which a late outcome of the attempt
// is known, and keeps the payload. After its final event a message is sent again only by an operator.
func (r *Record) replaceable(m message.Move, attempt int, at time.Time) bool {
	last := attempt > 0 && attempt == r.Attempt && r.Proven >= attempt-1
	return last && r.Fallback != "" && m.Keep && m.WAMID != "" && !r.State.Final() && !r.Published && at.Before(r.ExpiresAt)
}

// Begin is the answer to a worker that begins an attempt.
type Begin struct {
	Verdict message.Verdict
	Expired string        // with Done: the reason, when the deadline has passed and the record does not say so yet
	Wait    time.Duration // with Early
}

// Begin decides whether an attempt may begin for a task, with a token, at a time. It returns the record after
// that. A token that has begun the attempt already may continue.
func (r Record) Begin(task int, token string, at time.Time) (Record, Begin) {
	at = milli(at)
	switch {
	case r.State == message.Attempting && r.Token == token:
		return r, Begin{Verdict: message.Go}
	case r.State == message.Attempting:
		return r, Begin{Verdict: message.Busy}
	case r.State != message.Queued || r.Task != task:
		return r, Begin{Verdict: message.Done}
	case r.Waits() && !r.After.Not && !r.NextAt.After(at):
		return r, Begin{Verdict: message.Done, Expired: message.ReasonLateAfter}
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
	r.State, r.Token, r.Attempt, r.Published = message.Attempting, token, r.Attempt+1, false
	r.Reason, r.Code, r.NextAt, r.Detail = "", 0, time.Time{}, message.ErrorDetail{}
	r.After = message.After{} // of a message that waited for another one not to reach a state

	if r.Spent == 0 && r.Price > 0 { // else it counts since an earlier attempt
		r.Spent, r.SpentAt = r.Price, milli(at)
	}
	r.step(milli(at), r.Attempt, note)
	return r
}

// Loss is what a record lacked of an attempt.
type Loss int

// The losses.
const (
	NothingLost Loss = iota
	OutcomeLost      // the record has the attempt and lacks its outcome
	IntentLost       // the record lacks the attempt
	RecordLost       // there is no record, or it has another incarnation
)

// Restore adds to the record what a worker remembers of an attempt, where Redis lost it: a restart or a
// failover may have set the record back to an earlier state.
func (r Record) Restore(m message.RememberedAttempt, at time.Time) (Record, Loss, Decision) {
	if !r.Exists() || m.Accepted != 0 && m.Accepted != r.Incarnation() {
		return r, RecordLost, Decision{}
	}
	loss := NothingLost
	if r.Attempt < m.N {
		loss = IntentLost
		// An ended message that still has its content may have been sent again. So may one that an earlier attempt
		// submitted, because Meta may have reported a failure later. Without an earlier attempt, the record already has
		// the outcome of this one.
		again := r.Payload != "" && !r.Tombstone() && (!r.State.AtMeta() || r.Attempt > 0)
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

package record

import (
	"fmt"
	"slices"

	"sluice/internal/message"
)

// A message has one final event in each life. A life begins when the message is accepted, and again when an operator
// sends the message again. It ends with the first final state, or with the record.

// end completes a change from before: it updates what is proven of the attempts, and returns the final event if the
// change ends the life of the message; nil: it does not. Attempt is the attempt that the change is about.
func (r *Record) end(before *Record, in Input, attempt int) *message.Final {
	if attempt == r.Proven+1 && proves(before, in) {
		r.Proven = attempt
	}
	published := before.published(attempt)
	r.Published = published && !r.State.Sendable() && !r.State.Final()
	if published || !r.State.Final() {
		return nil
	}
	failed := ""
	if in.Kind == Status {
		failed = in.Move.WAMID
	}
	f := &message.Final{Result: message.ResultUnknown, State: r.State, Reason: r.Reason, Code: r.Code}
	switch {
	case delivered(r.State):
		f.Result = message.ResultDelivered
	case r.undelivered(failed):
		f.Result = message.ResultNotDelivered
	}
	f.Certain, f.Text = f.Result != message.ResultUnknown, finalText(f, r.Attempt)
	return f
}

// published reports whether the final event of the present life is published, for a change that is about an attempt.
// An attempt that the record lacks, because Redis lost it, may be of a later life: another final event is better than
// none.
func (r *Record) published(attempt int) bool {
	later := attempt > r.Attempt && !delivered(r.State)
	return r.Tombstone() || (r.Published || r.State.Final()) && !later
}

// delivered reports whether the message is delivered in a state.
func delivered(s message.State) bool { return s.Rank("") >= message.Delivered.Rank("") }

// proves reports whether an input proves that Meta did not and will not deliver its attempt: the owner of the attempt
// knows that Meta did not take it, or Meta reports that the attempt failed.
func proves(before *Record, in Input) bool {
	switch to := in.Move.To; in.Kind {
	case Outcome:
		return to != message.InDoubt && to != message.Submitted
	case Status: // without an attempt it is about the only one
		return (to == message.Failed || to == message.Dead) && (in.Attempt > 0 || before.Attempt == 1)
	}
	return false
}

// undelivered reports whether it is proven that Meta delivered no attempt. Failed is the id of Meta's that the present
// change reports as failed; empty: it reports none. What an operator says is no proof.
func (r *Record) undelivered(failed string) bool {
	attempts := r.Attempt
	if failed != "" {
		attempts = max(attempts, 1) // Meta has it, so there was an attempt
	}
	open := func(wamid string) bool { return wamid != failed && !slices.Contains(r.Refused, wamid) }
	return r.Proven >= attempts && !slices.ContainsFunc(r.WAMIDs(), open)
}

// Unended returns the final event to publish when the record is deleted; nil: it is published. Meta took such a message
// and reported no end of it.
func (r *Record) Unended() *message.Final {
	if r.State.Final() || r.Published || r.Tombstone() {
		return nil
	}
	f := &message.Final{Result: message.ResultUnknown, State: r.State, Reason: r.Reason, Code: r.Code}
	f.Text = finalText(f, r.Attempt)
	return f
}

// finalText returns the text of a final event.
func finalText(f *message.Final, attempts int) string {
	switch f.Result {
	case message.ResultDelivered:
		return "Meta delivered the message."
	case message.ResultNotDelivered:
		return whyFinal(f, attempts) + " It was not and will not be delivered."
	}
	return whyFinal(f, attempts) + " It is not known whether Meta delivered it. Sluice does not send it again."
}

// whyFinal returns the sentence of a final event that says why the message was not delivered.
func whyFinal(f *message.Final, attempts int) string {
	unclear := f.Result == message.ResultUnknown
	code := ""
	if message.HasCode(f.Code, f.Reason) {
		code = fmt.Sprintf(" with code %d", f.Code)
	}
	switch f.State {
	case message.Expired, message.Cancelled:
		how := "was cancelled"
		if f.State == message.Expired {
			how = "expired"
		}
		switch {
		case unclear:
			return "The message " + how + " after an attempt without a definite answer."
		case attempts == 0:
			return "The message " + how + " before an attempt."
		}
		return "The message " + how + ", and Meta took none of its attempts."
	case message.Rejected:
		switch {
		case f.Reason == message.ReasonNamedNotSent:
			return "The message names another message, which was not sent."
		case f.Reason == message.ReasonOtherApp && !unclear:
			return "Another app owns the conversation, so Sluice sent nothing."
		case f.Reason == message.ReasonWindow && !unclear:
			return "The customer service window of the recipient was closed, so Sluice sent nothing."
		case f.Reason == message.ReasonWindow:
			return "The customer service window of the recipient closed after an attempt without a definite answer."
		case unclear:
			return "Meta refused the last attempt" + code + ", after an attempt without a definite answer."
		}
		return "Meta refused the message" + code + "."
	case message.Dead, message.Failed:
		switch {
		case f.Reason == message.ReasonUndetermined:
			return "An attempt had no definite answer, and Meta reported nothing in time."
		case f.Reason == message.ReasonTampered:
			return "The stored content is not what the caller ordered, so Sluice sent nothing."
		case unclear && (f.State == message.Failed || f.Reason == message.ReasonReported):
			return "Meta reported that an attempt failed" + code + ", and may have delivered another one."
		case f.State == message.Failed || f.Reason == message.ReasonReported:
			return "Meta took the message and reported that it failed" + code + "."
		case f.Reason == message.ReasonAttempts && !unclear:
			return "All attempts are used up, and Meta took none of them."
		case f.Reason == message.ReasonAttempts:
			return "All attempts are used up."
		}
		return "Sluice gave the message up after an error" + code + "."
	}
	return "Meta took the message and reported no end of it in time."
}

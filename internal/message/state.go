package message

// State is where a message is. Its life is drawn in docs/message-life.md.
type State string

// The states. Those up to Parked are open: something may still happen to the message by
// itself or by a person. Read, Played and the ends are final.
const (
	Queued     State = "queued"     // waits for its turn
	Attempting State = "attempting" // an attempt is recorded; its request may be on the wire
	InDoubt    State = "in_doubt"   // an attempt ended without a definite answer
	Parked     State = "parked"     // the doubt's window is over; a person decides
	Submitted  State = "submitted"  // Meta took it
	Sent       State = "sent"       // Meta says so, in a webhook; likewise the next three
	Delivered  State = "delivered"
	Read       State = "read"
	Played     State = "played"
	Failed     State = "failed"    // by Meta's webhook, or a doubt closed as undetermined
	Rejected   State = "rejected"  // Meta refused it for good
	Expired    State = "expired"   // its deadline passed before an attempt
	Cancelled  State = "cancelled" // by its caller
	Dead       State = "dead"      // its attempts are used up, each proven not taken; or it was tampered with
)

// States returns every state, in the order in which people read them.
func States() []State {
	return []State{
		Queued, Attempting, InDoubt, Parked, Submitted, Sent, Delivered, Read, Played,
		Failed, Rejected, Expired, Cancelled, Dead,
	}
}

// Rank orders the states: evidence from Meta may raise a message's rank and never lowers
// it. A failure reported by Meta outranks sent and loses to delivered: a message that was
// delivered did not fail. The other ends rank below submitted, so that evidence that Meta
// did take the message after all wins. Reason tells a failure of Meta's from a closed doubt.
func (s State) Rank(reason string) int {
	switch s {
	case Queued:
		return 0
	case Attempting:
		return 10
	case InDoubt:
		return 20
	case Parked:
		return 30
	case Rejected, Expired, Cancelled, Dead:
		return 35
	case Submitted:
		return 40
	case Sent:
		return 50
	case Failed:
		if reason == ReasonUndetermined {
			return 35
		}
		return 55
	case Delivered:
		return 60
	case Read:
		return 70
	case Played:
		return 80
	}
	return -1
}

// Final tells whether nothing more is expected: the record may shrink and, in time, go.
func (s State) Final() bool {
	switch s {
	case Delivered, Read, Played, Failed, Rejected, Expired, Cancelled, Dead:
		return true
	}
	return false
}

// Reasons that a record or an event may give for a state, beside Meta's error code.
const (
	ReasonUndetermined = "undetermined"      // a doubt closed by policy
	ReasonServerError  = "server_error"      // Meta or a gateway answered 5xx: taken or not, nobody said
	ReasonNoAnswer     = "no_answer"         // the request left and no answer came
	ReasonWorkerDied   = "worker_died"       // the worker that recorded the attempt is gone
	ReasonDeadline     = "deadline"          // it passed while the message waited for its turn
	ReasonLateRetry    = "deadline_in_retry" // between attempts
	ReasonLateHeld     = "deadline_on_hold"  // while it was held back
	ReasonAttempts     = "attempts_used_up"
	ReasonTampered     = "payload_tampered" // what the store held as its content was not what was accepted
	ReasonPolicy       = "resent_by_policy"
	ReasonCaller       = "by_caller"        // cancelled through the API
	ReasonResolved     = "resolved"         // a doubt that a person settled
	ReasonReplayed     = "replayed"         // sent again by a person's order
	ReasonDuplicate    = "duplicate"        // of an event alone: Meta took the message a second time
	ReasonTaskLost     = "task_lost"        // queued again: its task was gone
	ReasonResends      = "too_many_resends" // parked, though the policy is to resend
)

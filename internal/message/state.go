package message

// State is the state of a message. docs/message-life.md shows the transitions.
type State string

// The states. Those up to Parked are open: the message may change by itself or by an operator. The states for
// which Final is true are final.
const (
	Queued     State = "queued"     // waits for its turn
	Attempting State = "attempting" // an attempt is recorded; its request may be on the way
	InDoubt    State = "in_doubt"   // an attempt ended without a definite answer
	Parked     State = "parked"     // the in-doubt window has ended; an operator decides
	Submitted  State = "submitted"  // Meta took it
	Sent       State = "sent"       // Meta reported this status in a webhook, like the next three
	Delivered  State = "delivered"
	Read       State = "read"
	Played     State = "played"
	Failed     State = "failed"    // Meta reported it, or the message was in doubt and closed as undetermined
	Rejected   State = "rejected"  // Meta refused it for good
	Expired    State = "expired"   // its deadline passed before an attempt
	Cancelled  State = "cancelled" // by its caller
	Dead       State = "dead"      // its attempts are used up, and Meta took none of them; or its signature is wrong
)

// List is one of the lists of messages that a store has, by their state.
type List string

// The lists. A message is in at most one.
const (
	NoList       List = ""
	ListWaiting  List = "waiting"  // waits for an attempt or for its outcome; ordered by deadline
	ListInDoubt  List = "doubts"   // waits for a status; ordered by the end of the in-doubt window
	ListParked   List = "parked"   // waits for an operator; ordered by when it was parked
	ListDead     List = "dead"     // the dead-letter list; ordered by when the message became dead
	ListAwaiting List = "awaiting" // waits for its first status; ordered by when Meta took the message
	ListMoving   List = "moving"   // cancelled, and the message of another number that takes its place is perhaps not accepted yet; ordered by when it was cancelled
)

// states has everything about each state. A new state is a row here.
var states = []struct {
	state    State
	letter   byte // in a stored timeline
	rank     int  // see Rank
	final    bool // see Final
	sendable bool // the message may still be sent
	atMeta   bool // see AtMeta
	list     List
	meaning  string // for people; see Meaning
}{
	{Queued, 'q', 0, false, true, false, ListWaiting, "Waits for its turn, or until next_at."},
	{Attempting, 'a', 10, false, true, false, ListWaiting, "A worker has recorded an attempt. Its request may be on the way to Meta."},
	{InDoubt, 'i', 20, false, true, false, ListInDoubt, "An attempt ended without a definite answer: Meta may have taken the message."},
	{Parked, 'p', 30, false, true, false, ListParked, "The in-doubt window is over, and an operator has to decide."},
	{Submitted, 's', 40, false, false, true, ListAwaiting, "Meta took the message and has reported no status of it yet."},
	{Sent, 't', 50, false, false, true, NoList, "Meta reports that the message is on its way to the recipient's phone."},
	{Delivered, 'd', 60, true, false, true, NoList, "Meta reports that the message is on the recipient's phone."},
	{Read, 'r', 70, true, false, true, NoList, "Meta reports that the recipient read the message."},
	{Played, 'y', 80, true, false, true, NoList, "Meta reports that the recipient played the voice message."},
	{Failed, 'f', 55, true, false, false, NoList, "Meta took the message and did not deliver it. With the reason undetermined: Meta reported nothing in time, and Sluice does not send it again."},
	{Rejected, 'j', 35, true, false, false, NoList, "Meta refused the message for good."},
	{Expired, 'x', 35, true, false, false, NoList, "The deadline passed before Meta took the message."},
	{Cancelled, 'c', 35, true, false, false, NoList, "The caller or an operator cancelled the message, or its recipient opted out."},
	{Dead, 'b', 35, true, false, false, ListDead, "Given up. The message is in the dead-letter list, and an operator can send it again."},
}

// undetermined is the rank of an in-doubt message that was closed: below submitted.
const undetermined = 35

// States returns every state, in the order of a message's life.
func States() []State {
	all := make([]State, len(states))
	for i, s := range states {
		all[i] = s.state
	}
	return all
}

func (s State) row() int {
	for i := range states {
		if states[i].state == s {
			return i
		}
	}
	return -1
}

// Rank orders the states: a status of Meta's may raise the rank of a message and never lowers it. A failure
// that Meta reports is above sent and below delivered, because a delivered message did not fail. The other
// final states of undelivered messages are below submitted, so a late proof that Meta took the message wins.
// The reason distinguishes a failure that Meta reported from an in-doubt message that was closed, and from a
// dead letter that Meta never took. Rank returns -1 for an unknown state.
func (s State) Rank(reason string) int {
	i := s.row()
	switch {
	case i < 0:
		return -1
	case s == Failed && reason == ReasonUndetermined:
		return undetermined
	case s == Dead && reason == ReasonReported:
		return Failed.Rank("")
	}
	return states[i].rank
}

// Meaning explains the state in one or two sentences.
func (s State) Meaning() string {
	if i := s.row(); i >= 0 {
		return states[i].meaning
	}
	return ""
}

// Final reports whether the message changes no more by itself: the record may shrink and later be deleted.
func (s State) Final() bool {
	i := s.row()
	return i >= 0 && states[i].final
}

// AtMeta reports whether Meta took the message and has reported no failure of it: it is on its way, or it arrived.
func (s State) AtMeta() bool {
	i := s.row()
	return i >= 0 && states[i].atMeta
}

// Kept reports whether the payload is kept: the message may still be sent, or Meta may still report that
// something must be corrected first, see ReasonReported. Meta's first report of success ends that.
func (s State) Kept() bool { return s.Sendable() || s.List() == ListAwaiting }

// Sendable reports whether the message may still be sent.
func (s State) Sendable() bool {
	i := s.row()
	return i >= 0 && states[i].sendable
}

// List returns the list of a store that has the messages of the state.
func (s State) List() List {
	if i := s.row(); i >= 0 {
		return states[i].list
	}
	return NoList
}

// Letter represents the state in a stored record; 0 for an unknown state.
func (s State) Letter() byte {
	if i := s.row(); i >= 0 {
		return states[i].letter
	}
	return 0
}

// StateOf returns the state of a letter; empty for a letter without a state.
func StateOf(letter byte) State {
	for _, s := range states {
		if s.letter == letter {
			return s.state
		}
	}
	return ""
}

// Reasons that a record or an event may give for a state, in addition to Meta's error code.
const (
	ReasonUndetermined = "undetermined"      // in doubt, and closed by the policy
	ReasonServerError  = "server_error"      // Meta or a gateway answered 5xx: Meta may or may not have taken the message
	ReasonNoAnswer     = "no_answer"         // the request left and no answer came
	ReasonWorkerDied   = "worker_died"       // the worker that recorded the attempt has died
	ReasonDeadline     = "deadline"          // it passed while the message waited for its turn
	ReasonLateRetry    = "deadline_in_retry" // between attempts
	ReasonLateAfter    = "deadline_of_after" // the message that it waited for did not reach the state in time
	ReasonAfter        = "after_reached"     // queued: the message that it waited for has reached the state
	ReasonAfterEnded   = "after_ended"       // cancelled: the message that it waited for ended without reaching the state
	ReasonLateHeld     = "deadline_on_hold"  // while a hold applied to the message
	ReasonAttempts     = "attempts_used_up"
	ReasonReported     = "refused_later"             // dead: Meta took it, and then reported a failure that requires a correction of the number or the template
	ReasonTampered     = "payload_tampered"          // the stored content is not what the caller ordered
	ReasonNamedWaits   = "named_message_waits"       // it names another message, which Meta has not accepted yet
	ReasonNamedNotSent = "named_message_not_sent"    // rejected: it names another message, which ended without being sent, or whose record was removed
	ReasonOtherApp     = "conversation_of_other_app" // rejected: another app owns the conversation, so Meta was not asked
	ReasonWindow       = "service_window_closed"     // rejected: the recipient has not written for 24 hours, so Meta was not asked
	ReasonPolicy       = "resent_by_policy"
	ReasonCaller       = "by_caller"         // cancelled through the API or the console
	ReasonSuppressed   = "suppressed"        // cancelled: the recipient opted out, see Suppression
	ReasonFrequency    = "frequency_cap"     // cancelled: the recipient had as many messages of the client as its caps allow
	ReasonMoved        = "moved"             // cancelled: a message of another number has taken its place
	ReasonResolved     = "resolved"          // an operator resolved an in-doubt message
	ReasonReplayed     = "replayed"          // an operator sent a dead letter again
	ReasonDuplicate    = "duplicate"         // of an event only: Meta took the message a second time
	ReasonTaskLost     = "task_lost"         // queued again, because its task was missing
	ReasonFallback     = "fallback_template" // queued: the fallback template has taken the place of the template, or of the free-form message
	ReasonResends      = "too_many_resends"  // parked although the policy is to resend
	ReasonCodeZero     = "code 0"            // refused with Meta's code 0, which the code of a record does not distinguish from no code
	// Meta took the message and has not sent it yet: Meta's message_status. Meta watches the first messages of a
	// template before it sends the rest of a campaign.
	ReasonQuality = "held_for_quality_assessment"
	ReasonPaused  = "paused"
)

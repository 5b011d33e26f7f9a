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

// List is one of the lists that a store keeps of messages, by their state.
type List string

// The lists. A message is in one at most.
const (
	NoList   List = ""
	Waiting  List = "waiting"  // for an attempt or for its outcome; by deadline
	Doubts   List = "doubts"   // for evidence; by the end of the in-doubt window
	Parking  List = "parked"   // for an operator; by when they were parked
	Graves   List = "dead"     // the dead letters; by when they became so
	Awaiting List = "awaiting" // for the first status; by when Meta took them
)

// states are all there is to know of each state. A new state is a row here.
var states = []struct {
	state    State
	letter   byte // in a stored timeline
	rank     int  // see Rank
	final    bool // see Final
	sendable bool // the message may yet be sent
	list     List
	meaning  string // for people; see Meaning
}{
	{Queued, 'q', 0, false, true, Waiting, "Waits for its turn, or until next_at."},
	{Attempting, 'a', 10, false, true, Waiting, "A worker has recorded an attempt. Its request may be on the way to Meta."},
	{InDoubt, 'i', 20, false, true, Doubts, "An attempt ended without a definite answer: Meta may have taken the message."},
	{Parked, 'p', 30, false, true, Parking, "The in-doubt window is over, and an operator has to decide."},
	{Submitted, 's', 40, false, false, Awaiting, "Meta took the message and has reported no status of it yet."},
	{Sent, 't', 50, false, false, NoList, "Meta reports that the message is on its way to the recipient's phone."},
	{Delivered, 'd', 60, true, false, NoList, "Meta reports that the message is on the recipient's phone."},
	{Read, 'r', 70, true, false, NoList, "Meta reports that the recipient read the message."},
	{Played, 'y', 80, true, false, NoList, "Meta reports that the recipient played the voice message."},
	{Failed, 'f', 55, true, false, NoList, "Meta took the message and did not deliver it. With the reason undetermined: Meta reported nothing in time, and Sluice does not send it again."},
	{Rejected, 'j', 35, true, false, NoList, "Meta refused the message for good."},
	{Expired, 'x', 35, true, false, NoList, "The deadline passed before Meta took the message."},
	{Cancelled, 'c', 35, true, false, NoList, "The caller or an operator cancelled the message."},
	{Dead, 'b', 35, true, false, Graves, "Given up. The message is in the dead-letter list, and an operator can send it again."},
}

// undetermined is the rank of a doubt that was closed: that of the ends below submitted.
const undetermined = 35

// States returns every state, in the order in which people read them.
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

// Rank orders the states: evidence from Meta may raise a message's rank and never lowers
// it. A failure reported by Meta outranks sent and loses to delivered: a message that was
// delivered did not fail. The other ends rank below submitted, so that evidence that Meta
// did take the message after all wins. Reason tells a failure that Meta reported from a closed doubt,
// and from a death before Meta took the message.
// It is -1 for what is no state.
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

// Meaning says in a sentence or two what it means that a message is in the state.
func (s State) Meaning() string {
	if i := s.row(); i >= 0 {
		return states[i].meaning
	}
	return ""
}

// Final tells whether nothing more is expected: the record may shrink and, in time, go.
func (s State) Final() bool {
	i := s.row()
	return i >= 0 && states[i].final
}

// Kept tells whether the message's payload is kept: it may yet be sent, or Meta may yet report that
// something had to be mended first, see ReasonReported. Meta's first report of success ends that.
func (s State) Kept() bool { return s.Sendable() || s == Submitted }

// Sendable tells whether the message may yet be sent.
func (s State) Sendable() bool {
	i := s.row()
	return i >= 0 && states[i].sendable
}

// List names the list of a store that messages of the state are in.
func (s State) List() List {
	if i := s.row(); i >= 0 {
		return states[i].list
	}
	return NoList
}

// Letter stands for the state in a stored record; 0 for what is no state.
func (s State) Letter() byte {
	if i := s.row(); i >= 0 {
		return states[i].letter
	}
	return 0
}

// StateOf reads a letter; it is empty for a letter of no state.
func StateOf(letter byte) State {
	for _, s := range states {
		if s.letter == letter {
			return s.state
		}
	}
	return ""
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
	ReasonReported     = "refused_later"    // dead: Meta took it and reported a failure that says that its number or template must be mended
	ReasonTampered     = "payload_tampered" // what the store held as its content was not what was accepted
	ReasonPolicy       = "resent_by_policy"
	ReasonCaller       = "by_caller"        // cancelled through the API
	ReasonResolved     = "resolved"         // a doubt that a person settled
	ReasonReplayed     = "replayed"         // sent again by a person's order
	ReasonDuplicate    = "duplicate"        // of an event alone: Meta took the message a second time
	ReasonTaskLost     = "task_lost"        // queued again: its task was gone
	ReasonResends      = "too_many_resends" // parked, though the policy is to resend
	ReasonCodeZero     = "code 0"           // refused with Meta's code 0, which a record's code cannot tell from none
	// Meta took the message and has not sent it yet: its message_status. It watches how a template does
	// before it sends the rest of a campaign.
	ReasonQuality = "held_for_quality_assessment"
	ReasonPaused  = "paused"
)

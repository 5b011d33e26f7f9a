package message

import "time"

// Kind says what came of an attempt. The set is closed, and it is the metric label too.
type Kind string

// The kinds of outcome.
const (
	Accepted    Kind = "accepted"     // Meta answered 2xx and named the message
	Throttled   Kind = "throttled"    // refused before acceptance because we were too fast
	Transient   Kind = "transient"    // certainly not taken; again later
	Held        Kind = "held"         // certainly not taken: the number or template must be mended first
	Refused     Kind = "rejected"     // certainly not taken, and never will be
	ServerError Kind = "server_error" // Meta or a gateway failed; taken or not, nobody said
	NoAnswer    Kind = "no_answer"    // the request left and no answer came
)

// Kinds returns every kind.
func Kinds() []Kind {
	return []Kind{Accepted, Throttled, Transient, Held, Refused, ServerError, NoAnswer}
}

// Doubt tells whether the message may have been taken although nobody said so.
func (k Kind) Doubt() bool { return k == ServerError || k == NoAnswer }

// Limit says whose limit a throttled message hit.
type Limit string

// The limits that a worker can keep by itself from then on.
const (
	LimitNumber Limit = "number" // the sender's throughput
	LimitPair   Limit = "pair"   // what one recipient may get from the sender
	LimitRest   Limit = "rest"   // the sender is to rest for RetryAfter: its account is in maintenance
	LimitApp    Limit = "app"    // what the app, the token or the account may call: every number of the same token or account pauses
)

// HoldOn says what has to be mended before a message can be sent.
type HoldOn string

// What may have to be mended.
const (
	HoldNumber   HoldOn = "number"   // the sender: its token, its account, its registration
	HoldTemplate HoldOn = "template" // the message's template
)

// Outcome is what came of one attempt to hand a message to Meta.
type Outcome struct {
	Kind       Kind          // decides everything
	WAMID      string        // Meta's id of the message, when Accepted; empty when it had another form than Meta documents
	Code       int           // Meta's error code; 0: none
	Limit      Limit         // whose limit was hit; empty: of nobody but the message
	Hold       HoldOn        // what must be mended first, when Held, empty: nothing but what the message itself names; with a doubt: what to hold when several such answers come in a row
	Endless    bool          // when Held: it will not be mended by itself, so nothing is tried until somebody says so
	Unknown    bool          // the code is not in the catalogue, or there is none: of others the same may be true
	RetryAfter time.Duration // at least this long before the next attempt; 0: by the schedule
	Reason     string        // short and stable, for records and people: "dial", "timeout", "code 131026"; of a message taken: Meta's message_status, when it is another than accepted
	Detail     ErrorDetail   // what Meta, or who else answered, said of it
	Err        error         // for the log line, never for a decision; holds no secret and no body
}

// HasCode tells whether Meta gave an error code. Zero is one of its codes: the reason tells it from none.
func (o Outcome) HasCode() bool { return HasCode(o.Code, o.Reason) }

// HasCode tells whether a code is one of Meta's, by the code and the reason of an outcome or a record.
func HasCode(code int, reason string) bool { return code != 0 || reason == ReasonCodeZero }

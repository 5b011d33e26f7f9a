package message

import "time"

// Kind is the kind of an attempt's outcome. The set is closed, because it is also a metric label.
type Kind string

// The kinds of outcome.
const (
	Accepted    Kind = "accepted"     // Meta answered 2xx and named the message
	Throttled   Kind = "throttled"    // refused before acceptance, because we were too fast
	Transient   Kind = "transient"    // certainly not taken; retry later
	Held        Kind = "held"         // certainly not taken: the number or the template must be corrected first
	Refused     Kind = "rejected"     // certainly not taken, and it never will be
	ServerError Kind = "server_error" // Meta or a gateway failed; Meta may or may not have taken the message
	NoAnswer    Kind = "no_answer"    // the request left, and no answer came
)

// Kinds returns every kind.
func Kinds() []Kind {
	return []Kind{Accepted, Throttled, Transient, Held, Refused, ServerError, NoAnswer}
}

// InDoubt reports whether Meta may have taken the message without an answer that says so.
func (k Kind) InDoubt() bool { return k == ServerError || k == NoAnswer }

// Limit is the limit that a throttled message reached.
type Limit string

// The limits that a worker can respect by itself from then on.
const (
	LimitNumber Limit = "number" // the sender's throughput
	LimitPair   Limit = "pair"   // what one recipient may get from the sender
	LimitRest   Limit = "rest"   // the sender must pause for RetryAfter: its account is in maintenance
	LimitApp    Limit = "app"    // the limit of the app, the token or the account: every number with the same token or account pauses
)

// HoldOn is what must be corrected before messages can be sent.
type HoldOn string

// What may have to be corrected.
const (
	HoldNumber   HoldOn = "number"   // the sender: its token, its account, its registration
	HoldTemplate HoldOn = "template" // the message's template
)

// Outcome is the result of one attempt to send a message to Meta.
type Outcome struct {
	Kind       Kind          // decides everything else
	WAMID      string        // Meta's id of the message, when Accepted; empty when it has another form than Meta documents
	Code       int           // Meta's error code; 0: none
	Limit      Limit         // the limit that was reached; empty: none that concerns other messages
	Hold       HoldOn        // when Held: what must be corrected first; empty: only what the message itself names. When in doubt: what to hold after several such answers in a row
	Endless    bool          // when Held: it needs an operator, so nothing is tried until the hold is released
	Unknown    bool          // the code is not in the catalogue, or there is none: the same may be true of other messages. When Held: what Hold names is held only after several such answers in a row
	Needs      Route         // when Meta refused the message because of its route: the one that it needs, or OtherVersion; empty: another one would not help
	Outside    bool          // when Refused: the customer service window of the recipient is closed, so only a template may be sent
	RetryAfter time.Duration // the minimum until the next attempt; 0: the usual backoff
	Reason     string        // short and stable, for records and people: "dial", "timeout", "code 131026"; when Accepted: Meta's message_status, unless it is accepted
	Detail     ErrorDetail   // the text of Meta, or of the server that answered in its place
	Err        error         // for the log line, never for a decision; it has no secret and no body
}

// HasCode reports whether Meta gave an error code. Zero is one of its codes: the reason distinguishes it from none.
func (o Outcome) HasCode() bool { return HasCode(o.Code, o.Reason) }

// HasCode reports whether a code is one of Meta's, by the code and the reason of an outcome or a record.
func HasCode(code int, reason string) bool { return code != 0 || reason == ReasonCodeZero }

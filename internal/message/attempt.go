package message

import "time"

// Verdict is the store's answer to a worker that begins an attempt.
type Verdict string

// The verdicts.
const (
	Go    Verdict = "go"    // the intent is recorded: send the message
	Early Verdict = "early" // the time of the message has not come; see Attempt.Wait
	Busy  Verdict = "busy"  // another attempt is running
	Done  Verdict = "done"  // this task needs no attempt
	// Unconfirmed: the intent is recorded, and a failover may lose it. The worker must send nothing
	// and must withdraw the intent.
	Unconfirmed Verdict = "unconfirmed"
	// Restarted: Redis is another process than before, and may have lost its latest writes. Nothing
	// was recorded, unless the attempt has an N: then an earlier call recorded it.
	Restarted Verdict = "restarted"
)

// Attempt is one attempt to send a message. It is recorded before its request leaves.
type Attempt struct {
	Verdict   Verdict
	Wait      time.Duration // with Early
	Expired   string        // with Done: the reason, when the store has now found that the deadline passed
	ID        string
	N         int     // 1 for the first attempt
	Token     string  // names the owner of this attempt: "<worker>/<sequence>"
	Accepted  int64   // which record of the id: Unix milliseconds of its acceptance
	Message   Context // its id, number, class and template. Set with Go, Unconfirmed and Expired; the following ones with Go and Unconfirmed only
	Payload   []byte  // Meta's message object
	ExpiresAt time.Time
	Age       time.Duration // of the recorded intent; only a call that repeats an earlier one returns a long age
	Left      time.Duration // from the begin of the attempt to ExpiresAt, by the store's clock
	Waited    time.Duration // from when the message could be sent to the begin of the attempt, holds and retries included
	Failures  int           // earlier attempts that count against the budget
	// Fallback is true for a free-form message whose fallback template may take its place: it is certain that no earlier attempt was
	// delivered.
	Fallback bool
}

// Move is a change of a message's state.
type Move struct {
	To       State
	WAMID    string
	Code     int
	Reason   string
	Detail   ErrorDetail   // Meta's own text, if any
	In       time.Duration // until the next step: the retry, with Queued; the end of the in-doubt window, with InDoubt
	Counts   bool          // with Queued and InDoubt: the attempt counts against the budget
	Released bool          // with Queued: the message that it waited for has reached the state
	Fallback bool          // with Queued: the fallback template takes the place of the template, or of the free-form message
	Resend   bool          // with Queued: the policy of the class ordered a resend
	Keep     bool          // keep the payload although the new state would drop it
	Route    Route         // of the attempt, if it is not RouteMessages

	Audit     *AuditEntry // the operator action that ordered the change; nil: none did
	ExpiresAt time.Time   // a new deadline; zero: the deadline stays
}

// ParkedFor is how long a parked message waits for an operator. Then it fails with the reason undetermined.
const ParkedFor = 30 * 24 * time.Hour

// Unsettled is a shard and the kinds of work that the sweeper may find in it.
type Unsettled struct {
	Shard            Shard
	InDoubt, Overdue bool
	ParkedTooLong    bool // messages that are parked for longer than ParkedFor
}

// Open is an open message as the sweeper reads it.
type Open struct {
	ID        string
	Message   Context
	State     State
	Reason    string
	N         int       // the number of its latest attempt
	K         int       // its task counter
	Accepted  int64     // which record of the id: Unix milliseconds of its acceptance
	Worker    string    // the owner of the attempt, when attempting
	Began     time.Time // start of its latest attempt; zero: unknown
	Since     time.Time // start of the attempt, when attempting; of the in-doubt window, when in doubt; of the wait for a status, when submitted
	ExpiresAt time.Time
	NextAt    time.Time // when queued: no attempt before this; zero: at once
	Resent    int       // resends by policy so far
	Failures  int       // attempts so far that count against the budget
	After     After     // when queued: it waits for another message; zero: it does not
	MovedTo   string    // the id of the message of another number that has taken its place; empty: none has
}

package message

import "time"

// Verdict is what the ledger says when a worker wants to begin an attempt.
type Verdict string

// The verdicts.
const (
	Go    Verdict = "go"    // the intent is recorded: send
	Early Verdict = "early" // its time has not come; see Attempt.Wait
	Busy  Verdict = "busy"  // another attempt is under way
	Done  Verdict = "done"  // there is nothing to do for this task
	// Unconfirmed: the intent is recorded, and a failover may lose it. Nothing may be sent; the
	// intent is to be taken back.
	Unconfirmed Verdict = "unconfirmed"
	// Restarted: the store is not the process that it was, and may have lost what it had last.
	// Nothing was recorded, unless the attempt has an N: then an earlier call recorded it.
	Restarted Verdict = "restarted"
)

// Attempt is one attempt to send a message, recorded before its request leaves.
type Attempt struct {
	Verdict   Verdict
	Wait      time.Duration // with Early
	Expired   string        // with Done: the reason, when its deadline was found to be over just now
	ID        string
	N         int     // 1 for the first attempt
	Token     string  // names this attempt's owner: "<worker>/<sequence>"
	Accepted  int64   // which record of the id it is of: Unix milliseconds of its acceptance
	Message   Context // its id, number, class and template; this and what follows: with Go and Unconfirmed only
	Payload   []byte  // Meta's message object
	ExpiresAt time.Time
	Age       time.Duration // of the recorded intent; more than a moment when an earlier call recorded it
	Left      time.Duration // from when it was begun to ExpiresAt, by the store's clock
	Failures  int           // earlier attempts that count against the budget
}

// Move is a change of a message's state.
type Move struct {
	To     State
	WAMID  string
	Code   int
	Reason string
	Detail ErrorDetail   // Meta's own words, if any
	In     time.Duration // until the next thing is due: the retry, with Queued; the end of the window, with InDoubt
	Counts bool          // with Queued and InDoubt: against the attempt budget
	Resend bool          // with Queued: a resend ordered by policy
	Keep   bool          // keep the payload although the state would drop it

	Deed      *Deed     // what ordered it; nil: nobody did
	ExpiresAt time.Time // a new deadline; zero: as it is
}

// ParkedFor is how long a parked message waits for a person. Then it fails: nobody will know any more.
const ParkedFor = 30 * 24 * time.Hour

// Unsettled is a shard, and what there may be to sweep in it.
type Unsettled struct {
	Shard           Shard
	Doubts, Overdue bool
	Forgotten       bool // parked messages that nobody has decided about for ParkedFor
}

// Open is an open message as the sweeper sees it.
type Open struct {
	ID        string
	Message   Context
	State     State
	Reason    string
	N         int       // the attempt it is at
	K         int       // its task counter
	Accepted  int64     // which record of the id it is: Unix milliseconds of its acceptance
	Worker    string    // who owns the attempt, when attempting
	Began     time.Time // start of its latest attempt; zero: not known
	Since     time.Time // start of the attempt, when attempting; of the doubt, when in doubt; of the wait for a status, when submitted
	ExpiresAt time.Time
	NextAt    time.Time // not before, when queued; zero: at once
	Resent    int       // resends by policy so far
	Failures  int       // attempts so far that count against the budget
	Code      int       // Meta's error code, 0: none
}

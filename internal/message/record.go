package message

import (
	"errors"
	"time"
)

// What a record's keeper may answer instead of a record.
var (
	// ErrNotFound: there is no such message, or its record's time is over.
	ErrNotFound = errors.New("message not found")
	// ErrKeyReused: the idempotency key belongs to a message with other content.
	ErrKeyReused = errors.New("idempotency key reused with other content")
	// ErrFull: the store has no room for a new message until others have been sent.
	ErrFull = errors.New("the store is nearly full")
	// ErrUnreadable: something stored is not in a form that this program reads.
	ErrUnreadable = errors.New("cannot be read")
	// ErrTampered: what the store holds as a message's content is not what was accepted.
	ErrTampered = errors.New("the message was tampered with")
)

// Acceptance is what a caller learns when a message was taken: durable before it is said.
type Acceptance struct {
	ID        string
	State     State // of the message now: queued, or where an earlier message of that key is
	Class     Class
	ExpiresAt time.Time
	Duplicate bool // the message was there already, under the same key and with the same content
}

// AcceptResult is what came of one message of a group that was to be accepted.
type AcceptResult struct {
	Acceptance
	Err error // nil: the message is durable
}

// Record is all that is known of a message.
type Record struct {
	Context
	State      State
	Reason     string      // why, when the state does not say it; see the Reason constants
	Code       int         // Meta's error code, 0: none
	Detail     ErrorDetail // Meta's own words for it, if any
	Attempt    int         // attempts started so far
	Task       int         // the counter of its tasks
	WAMID      string      // Meta's id, once known
	AcceptedAt time.Time
	SendAt     time.Time // zero: at once
	ExpiresAt  time.Time
	NextAt     time.Time // when the next thing happens by itself: a retry, the end of a doubt's window; zero: nothing is due
	Duplicates int       // proven second acceptances by Meta
	KeyUntil   time.Time // of a tombstone, what is left of a record whose life is over: until when the id is remembered; zero: the record lives
	Timeline   []Step    // the last 20, oldest first
}

// Step is one transition in a record's timeline.
type Step struct {
	At      time.Time
	State   State
	Attempt int
	Code    int
	Reason  string
}

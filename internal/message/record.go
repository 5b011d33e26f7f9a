package message

import (
	"errors"
	"time"
)

// What a store may return in place of a record.
var (
	// ErrNotFound means that there is no such message, or that its record was deleted at the end of its life.
	ErrNotFound = errors.New("message not found")
	// ErrKeyReused means that the idempotency key belongs to a message with other content.
	ErrKeyReused = errors.New("idempotency key reused with other content")
	// ErrNoIndex means that messages are not indexed by their recipients.
	ErrNoIndex = errors.New("messages are not indexed by recipient")
	// ErrFull means that Redis has no memory for new messages until others have been sent.
	ErrFull = errors.New("the store is nearly full")
	// ErrUnreadable means that a stored value is not in a form that this program reads.
	ErrUnreadable = errors.New("cannot be read")
	// ErrNamedWaits means that a message names another one that Meta has not accepted yet.
	ErrNamedWaits = errors.New("the message names another one that Meta has not accepted yet")
	// ErrNamedNotSent means that a message names another one that ended without being accepted by Meta.
	ErrNamedNotSent = errors.New("the message names another one that was not sent")
	// ErrOtherApp means that another app owns the conversation.
	ErrOtherApp = errors.New("another app owns the conversation")
	// ErrOptedOut means that the recipient opted out of messages of this kind, or that this could not be read.
	ErrOptedOut = errors.New("the recipient opted out, or the suppression list cannot be read")
	// ErrOutsideWindow means that the customer service window of the recipient is closed.
	ErrOutsideWindow = errors.New("the customer service window of the recipient is closed")
	// ErrTampered means that the stored content of a message is not what the caller ordered.
	ErrTampered = errors.New("the message was tampered with")
)

// Acceptance is the answer to the caller of an accepted message. The message is durable before the answer is sent.
type Acceptance struct {
	ID        string
	State     State // the present state: queued, or the state of the earlier message with that key
	Class     Class
	ExpiresAt time.Time
	Duplicate bool // the message was stored already, with the same key and the same content
}

// AcceptResult is the result for one message of a group of messages to accept.
type AcceptResult struct {
	Acceptance
	Err error // nil: the message is durable
}

// Record is everything known about a message.
type Record struct {
	Context
	State      State
	Reason     string      // why, when the state alone does not say it; see the Reason constants
	Code       int         // Meta's error code; 0: none
	Detail     ErrorDetail // Meta's own text about it, if any
	Attempt    int         // attempts started so far
	Task       int         // the counter of its tasks
	WAMID      string      // Meta's id, once known
	AcceptedAt time.Time
	SendAt     time.Time // zero: at once
	ExpiresAt  time.Time
	NextAt     time.Time // when the next step happens by itself: a retry, the end of the in-doubt window, or the end of the wait for another message; zero: none is due
	After      After     // the message waits for another one; zero: it does not
	Followers  []After   // the messages that wait for this one, each with the state that it waits for
	MovedTo    string    // the id of the message of another number that has taken its place; empty: none has
	Duplicates int       // how often Meta is proven to have accepted the message again
	KeyUntil   time.Time // of a tombstone, the remainder of a record whose life has ended: until when the id is remembered; zero: a full record
	Timeline   []Step    // the last 20 steps, the oldest first
}

// Step is one transition in a record's timeline.
type Step struct {
	At      time.Time
	State   State
	Attempt int
	Code    int
	Reason  string
}

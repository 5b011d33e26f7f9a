package message

import "time"

// Class decides a message's priority, its deadline and what happens when its result is unknown. The names
// are Meta's template categories.
type Class string

// The classes, in the order in which they are sent.
const (
	Authentication Class = "authentication"
	Service        Class = "service"
	Utility        Class = "utility"
	Marketing      Class = "marketing"
)

var classes = []Class{Authentication, Service, Utility, Marketing}

// Classes returns all classes, the most urgent first.
func Classes() []Class { return classes }

// Valid reports whether c is one of the four classes.
func (c Class) Valid() bool { return c.Order() < len(classes) }

// Order returns 0 for the most urgent class, 3 for the least urgent, and 4 if c is not a class.
func (c Class) Order() int {
	for i, k := range classes {
		if k == c {
			return i
		}
	}
	return len(classes)
}

// DefaultClass returns the class of a message without a class in its request: the category of a Direct Send
// message, marketing for the Marketing Messages API, utility for another template message, and service for an answer
// inside the customer service window.
func DefaultClass(c Content) Class {
	switch {
	case c.Marketing:
		return Marketing
	case Class(c.Category).Valid():
		return Class(c.Category)
	case c.Type == "template":
		return Utility
	}
	return Service
}

// InDoubtPolicy is what to do with an in-doubt message at the end of its window, when no status has arrived.
type InDoubtPolicy string

// The policies.
const (
	Resend InDoubtPolicy = "resend" // send once more, if enough time is left
	Park   InDoubtPolicy = "park"   // wait for an operator
	Close  InDoubtPolicy = "close"  // failed with the reason undetermined; never sent again
)

// Policy says how Sluice treats messages of a class.
type Policy struct {
	Deadline      time.Duration // from the acceptance to the last moment at which an attempt may start
	InDoubtWindow time.Duration // how long to wait for a status after a request without an answer
	InDoubtPolicy InDoubtPolicy // what to do at the end of that window
	ErrorWindow   time.Duration // how long to wait for a status after a server error, before the retry
	// RepeatWindow is how long to wait, after a time in which webhooks were refused or missed, for Meta to
	// repeat them. Only then is a missing status taken for proof that there is none.
	RepeatWindow time.Duration
	// RefuseOverLimit refuses a new message that the messaging limit of its portfolio would keep beyond its deadline. Else it
	// waits, and may expire.
	RefuseOverLimit bool
}

// DefaultPolicy returns the policy of class c, unless it is configured otherwise.
func DefaultPolicy(c Class) Policy {
	switch c {
	case Authentication:
		return Policy{Deadline: 10 * time.Minute, InDoubtWindow: 45 * time.Second, InDoubtPolicy: Resend, ErrorWindow: 10 * time.Second, RepeatWindow: ReportsWithin}
	case Service:
		return Policy{Deadline: 24 * time.Hour, InDoubtWindow: 2 * time.Minute, InDoubtPolicy: Park, ErrorWindow: 30 * time.Second, RepeatWindow: ReportsWithin}
	case Utility:
		return Policy{Deadline: 24 * time.Hour, InDoubtWindow: 15 * time.Minute, InDoubtPolicy: Park, ErrorWindow: 30 * time.Second, RepeatWindow: ReportsWithin}
	default:
		return Policy{Deadline: 7 * 24 * time.Hour, InDoubtWindow: 24 * time.Hour, InDoubtPolicy: Close, ErrorWindow: 30 * time.Second, RepeatWindow: ReportsWithin}
	}
}

package message

import "time"

// Class decides a message's priority, deadline and what to do in doubt. The names are
// Meta's template categories.
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

// Valid tells whether c is one of the four classes.
func (c Class) Valid() bool { return c.Order() < len(classes) }

// Order returns 0 for the most urgent class, 3 for the least, 4 for what is no class.
func (c Class) Order() int {
	for i, k := range classes {
		if k == c {
			return i
		}
	}
	return len(classes)
}

// DefaultClass is the class of a message whose caller names none: that of a Direct Send message is its
// category, template messages are utility, answers inside the customer service window are service.
func DefaultClass(c Content) Class {
	switch {
	case Class(c.Category).Valid():
		return Class(c.Category)
	case c.Type == "template":
		return Utility
	}
	return Service
}

// OnDoubt says what to do when a doubt's window has passed without evidence.
type OnDoubt string

// The ways to end a doubt without evidence.
const (
	Resend OnDoubt = "resend" // once, if time is left
	Park   OnDoubt = "park"   // wait for a person
	Close  OnDoubt = "close"  // failed, reason "undetermined"; never sent again
)

// Policy is how messages of a class are treated.
type Policy struct {
	Deadline    time.Duration // from acceptance to the last moment an attempt may start
	DoubtWindow time.Duration // how long evidence is awaited after a request without an answer
	OnDoubt     OnDoubt       // what then
	ErrorWindow time.Duration // how long evidence is awaited after a server error, before a retry
	// RepeatWindow is how long Meta's repeats are awaited of what we refused or missed, before silence is
	// believed.
	RepeatWindow time.Duration
}

// DefaultPolicy returns how class c is treated unless configured otherwise.
func DefaultPolicy(c Class) Policy {
	switch c {
	case Authentication:
		return Policy{Deadline: 10 * time.Minute, DoubtWindow: 45 * time.Second, OnDoubt: Resend, ErrorWindow: 10 * time.Second, RepeatWindow: ReportsWithin}
	case Service:
		return Policy{Deadline: 24 * time.Hour, DoubtWindow: 2 * time.Minute, OnDoubt: Park, ErrorWindow: 30 * time.Second, RepeatWindow: ReportsWithin}
	case Utility:
		return Policy{Deadline: 24 * time.Hour, DoubtWindow: 15 * time.Minute, OnDoubt: Park, ErrorWindow: 30 * time.Second, RepeatWindow: ReportsWithin}
	default:
		return Policy{Deadline: 7 * 24 * time.Hour, DoubtWindow: 24 * time.Hour, OnDoubt: Close, ErrorWindow: 30 * time.Second, RepeatWindow: ReportsWithin}
	}
}

package message

import "time"

// DeadLetter is an entry of the dead-letter list. An operator examines it and can send the message again.
type DeadLetter struct {
	ID     string
	Number string
	Code   int    // Meta's last error code; 0: none
	Reason string // see the Reason constants
	At     time.Time
}

// DeadFilter selects dead letters. A zero field selects all. Code is a pointer because 0 is a valid filter: it
// selects dead letters without an error code of Meta's.
type DeadFilter struct {
	Number       string
	Code         *int
	Reason       string
	Since, Until time.Time // when they became dead letters, both included
}

// Selects reports whether the filter selects d.
func (f DeadFilter) Selects(d DeadLetter) bool {
	return (f.Number == "" || f.Number == d.Number) && (f.Code == nil || *f.Code == d.Code) &&
		(f.Reason == "" || f.Reason == d.Reason) && !d.At.Before(f.Since) && (f.Until.IsZero() || !d.At.After(f.Until))
}

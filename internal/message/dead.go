package message

import "time"

// DeadLetter is a dead message, for a person to look into and perhaps to send again.
type DeadLetter struct {
	ID     string
	Number string
	Code   int    // Meta's last error code; 0: none
	Reason string // see the Reason constants
	At     time.Time
}

// DeadFilter selects dead letters. What is zero does not matter; a code is a pointer, since the
// code 0 is one that can be asked for: of messages that died without a code of Meta's.
type DeadFilter struct {
	Number       string
	Code         *int
	Reason       string
	Since, Until time.Time // when they died, both included
}

// Selects tells whether the filter selects d.
func (f DeadFilter) Selects(d DeadLetter) bool {
	return (f.Number == "" || f.Number == d.Number) && (f.Code == nil || *f.Code == d.Code) &&
		(f.Reason == "" || f.Reason == d.Reason) && !d.At.Before(f.Since) && (f.Until.IsZero() || !d.At.After(f.Until))
}

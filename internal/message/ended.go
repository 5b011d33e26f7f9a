package message

import (
	"slices"
	"time"
)

// EndedFilter selects messages of a number that ended. What is zero does not matter, but for Number.
type EndedFilter struct {
	Number       string
	States       []State // of ResendStates; none: all of them
	Code         *int    // Meta's last error code; 0: none
	Template     string  // as name/language
	Tag          string
	Since, Until time.Time // when they ended, both included
}

// ResendStates are the states from which an operator can have a message sent again: it ended, and
// Meta did not deliver it.
func ResendStates() []State { return []State{Failed, Rejected, Expired, Dead} }

// Selects tells whether the filter selects a message of its number that ended at a time.
func (f EndedFilter) Selects(r Record, at time.Time) bool {
	states := f.States
	if len(states) == 0 {
		states = ResendStates()
	}
	return slices.Contains(states, r.State) && (f.Code == nil || *f.Code == r.Code) && (f.Template == "" || f.Template == r.Template) &&
		(f.Tag == "" || slices.Contains(r.Tags, f.Tag)) && !at.Before(f.Since) && (f.Until.IsZero() || !at.After(f.Until))
}

// Ended is a message that ended, as an operator sees it who may have it sent again.
type Ended struct {
	Open
	Code int
	At   time.Time // when it ended
	Kept bool      // its content is kept: without it the message cannot be sent again
}

// Unclear tells whether Meta may have delivered the message: a doubt that was closed. It is not sent
// again.
func (e Ended) Unclear() bool { return e.State == Failed && e.Reason == ReasonUndetermined }

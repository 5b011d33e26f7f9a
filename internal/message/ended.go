package message

import (
	"slices"
	"time"
)

// EndedFilter selects ended messages of a number. A zero field selects all, except Number, which is required.
type EndedFilter struct {
	Number       string
	States       []State // a subset of ResendStates; none: all of them
	Code         *int    // Meta's last error code; 0: none
	Reason       string  // see the Reason constants
	Template     string  // as name/language
	Tag          string
	Flow         *Flow     // the client and the campaign; nil: all
	Since, Until time.Time // when they ended, both included
}

// ResendStates returns the states from which an operator can send a message again: it ended, and Meta did
// not deliver it.
func ResendStates() []State { return []State{Failed, Rejected, Expired, Dead} }

// Selects reports whether the filter selects a message of its number that ended at a time.
func (f EndedFilter) Selects(r Record, at time.Time) bool {
	states := f.States
	if len(states) == 0 {
		states = ResendStates()
	}
	return slices.Contains(states, r.State) && (f.Code == nil || *f.Code == r.Code) && (f.Template == "" || f.Template == r.Template) &&
		(f.Reason == "" || f.Reason == r.Reason) && (f.Tag == "" || slices.Contains(r.Tags, f.Tag)) && (f.Flow == nil || *f.Flow == r.Flow()) && !at.Before(f.Since) && (f.Until.IsZero() || !at.After(f.Until))
}

// Ended is an ended message, with what an operator needs to know before sending it again.
type Ended struct {
	Open
	Code int
	At   time.Time // when it ended
	Kept bool      // its content is kept; without it the message cannot be sent again
}

// Unclear reports whether Meta may have delivered the message: it was in doubt and closed as undetermined. It
// is not sent again.
func (e Ended) Unclear() bool { return e.State == Failed && e.Reason == ReasonUndetermined }

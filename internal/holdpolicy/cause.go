package holdpolicy

import (
	"strings"

	"sluice/internal/message"
)

// Cause is why something is held. The set is closed, because it is a metric label.
type Cause string

// The causes.
const (
	Operator   Cause = "operator"          // an operator set the hold
	Refused    Cause = "meta_refused"      // Meta refused messages, or reported that it did not deliver them
	Announced  Cause = "meta_announced"    // Meta announced it for the template or the account
	LostWrites Cause = "redis_lost_writes" // Sluice waits for statuses of messages whose records Redis lost
	Restored   Cause = "redis_restored"    // Redis lost more than workers remember: an operator must check
)

// Causes returns all causes.
func Causes() []Cause { return []Cause{Operator, Refused, Announced, LostWrites, Restored} }

// ByMeta reports whether a hold is there because of what Meta said.
func ByMeta(h message.Hold) bool {
	c := CauseOf(h)
	return c == Refused || c == Announced
}

// CauseOf returns why there is a hold.
func CauseOf(h message.Hold) Cause {
	switch {
	case h.By == ByRestore:
		return Restored
	case h.By != BySluice:
		return Operator
	case h.Reason == lostWritesReason:
		return LostWrites
	case strings.HasPrefix(h.Reason, announced):
		return Announced
	}
	return Refused
}

package message

import (
	"fmt"
	"time"
)

// QuotaError means that a message is not accepted, because its client has used up a quota.
type QuotaError struct {
	Client string
	Quota  string // for example per_day, or marketing.per_day
	Limit  int
	Wait   time.Duration // until its time ends, about
}

// Error returns what failed, and until when.
func (e *QuotaError) Error() string {
	return fmt.Sprintf("the client %s has used up its quota %s of %d messages. It begins again in %s", e.Client, e.Quota, e.Limit, e.Wait.Round(time.Second))
}

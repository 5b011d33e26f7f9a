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

// QuotaUse is what is used of a quota of a client.
type QuotaUse struct {
	Client  string    `json:"client" doc:"The client."`
	Quota   string    `json:"quota" doc:"per_second, per_day or per_month, or one of a class, like marketing.per_day."`
	Limit   int       `json:"limit" doc:"How many messages are accepted in a second, a day or a month."`
	Used    int       `json:"used" doc:"Accepted messages of this second, day or month, by UTC."`
	Refused int       `json:"refused" doc:"Messages that this quota refused in this day or month. Of a quota per second: in this day."`
	Until   time.Time `json:"until" doc:"When the quota begins again."`
}

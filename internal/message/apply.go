package message

import "time"

// MarkedReport is a status report with the contents of its marker.
type MarkedReport struct {
	StatusReport
	ID               string    // our message, when the report has a valid marker of this installation; empty: find the message by the wamid
	Attempt          int       // the attempt that the marker names; 0: none
	OtherEnvironment bool      // the marker is one of another environment: if no message has the wamid now, none will get it
	Charge           Charge    // what Meta charges for the message by the report; zero: it says nothing
	Received         time.Time // when Sluice received it, by the clock of Redis
	Accepted         int64     // which record of the id the marker names: Unix milliseconds of its acceptance; 0: none

	// What the store found when it applied the report:
	Template string        // of the message
	Trace    string        // of the message: its traceparent; empty: it is not traced
	First    bool          // the first status of the message
	Age      time.Duration // how long ago the message was sent, about
}

// Charge is what Meta charges for a message.
type Charge struct {
	Category string `json:"billed,omitempty"` // Meta's, for which it charges; empty: none
	Cost     int    `json:"cost,omitempty"`   // of a message of the category, in millionths of the currency of the prices; 0: unknown
	Free     bool   `json:"free,omitempty"`   // Meta said that the message is free, or a category is known to cost nothing
}

// ApplyResult is the result of applying a status. The set is closed, because it is also a metric label.
type ApplyResult string

// The results.
const (
	Applied          ApplyResult = "applied"           // the status raised the state of the record
	Repeated         ApplyResult = "repeat"            // the record has this state already
	Outdated         ApplyResult = "outdated"          // the record has a later state already: Meta's statuses arrive in any order
	Unmatched        ApplyResult = "unmatched"         // no record has that wamid yet; the status waits for one
	OtherEnvironment ApplyResult = "other_environment" // no record has that wamid, and the marker is one of another environment
	NoRecord         ApplyResult = "no_record"         // the marker is ours, and the record was deleted at the end of its life
	Duplicate        ApplyResult = "duplicate"         // it proves that Meta accepted the message a second time: the message was sent twice
	UnknownStatus    ApplyResult = "unknown_status"    // a status that this version does not know; it is kept in the stream only
)

// ApplyResults returns every value of ApplyResult.
func ApplyResults() []ApplyResult {
	return []ApplyResult{Applied, Repeated, Outdated, Unmatched, OtherEnvironment, NoRecord, Duplicate, UnknownStatus}
}

// LastReceived is when Meta's latest webhooks came. If none came although some were due, Meta's webhooks do
// not reach this installation.
type LastReceived struct {
	Any      time.Time            // the latest of all webhooks
	Statuses map[string]time.Time // the latest status by number: the earlier of Meta's time and ours
}

// Channel says whether Meta's webhooks reach this installation. A missing status is a proof only when the
// status would have arrived.
type Channel struct {
	LastWebhook time.Time // when the last webhook came
	LastStatus  time.Time // Meta's time of the latest status of the number
	Reported    bool      // a webhook program has reported at least once
	Programs    int       // live webhook programs
	Gap         time.Time // the end of the latest time in which a webhook may have been refused or missed; zero: no such time is known
	Open        time.Time // from Gap until this time no webhook was refused or missed; zero: not proven
}

package message

import "time"

// Deed is something that was ordered from outside, by a person as a rule: who, what and why.
type Deed struct {
	At     time.Time `json:"at,omitzero" doc:"When, by the store's clock."`
	Verb   string    `json:"verb" doc:"hold, release, sent, not-sent, cancel, replay, resend or rate."`
	On     string    `json:"on" doc:"What it was done to: a message's id, or the name of what is held."`
	Actor  string    `json:"actor" doc:"Who, by his own word."`
	Key    string    `json:"key,omitempty" doc:"The name of the API key by which it was ordered."`
	Reason string    `json:"reason" doc:"Why, in a person's words."`
}

// The verbs of deeds.
const (
	VerbHold    = "hold"
	VerbRelease = "release"
	VerbSent    = "sent"     // a doubt resolved: Meta took it
	VerbNotSent = "not-sent" // a doubt resolved: Meta did not
	VerbCancel  = "cancel"   // a doubt resolved: whether or not, it is not to be sent
	VerbReplay  = "replay"   // a dead message sent again
	VerbResend  = "resend"   // messages that ended sent again
	VerbRate    = "rate"     // the rate limit of a number set or reset
)

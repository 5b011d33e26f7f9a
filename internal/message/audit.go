package message

import (
	"strings"
	"time"
)

// AuditEntry is an entry of the audit log: an action of an operator, with the reason.
type AuditEntry struct {
	At     time.Time `json:"at,omitzero" doc:"When, by the store's clock."`
	Verb   string    `json:"verb" doc:"hold, release, sent, not-sent, cancel, replay, resend, rate, note, relay-set, relay-remove, relay-drop, the kind of an entry with -set or -remove (number-set), number-drain, number-cancel, number-move, reencrypt, onboard, registration, template-sync, person-export, person-delete, campaign-cancel, campaign-open, campaign-set or schedule-remove."`
	On     string    `json:"on" doc:"The id of the message, or the name of what is held."`
	Actor  string    `json:"actor" doc:"The name that the operator gave."`
	Key    string    `json:"key,omitempty" doc:"The name of the API key of the request."`
	Reason string    `json:"reason" doc:"The reason that the operator gave."`
}

// The verbs of audit entries.
const (
	VerbHold    = "hold"
	VerbRelease = "release"
	VerbSent    = "sent"     // an in-doubt message resolved: Meta took it
	VerbNotSent = "not-sent" // an in-doubt message resolved: Meta did not take it
	VerbCancel  = "cancel"   // a message must not be sent; if it is in doubt, whether or not Meta took it
	VerbReplay  = "replay"   // a dead letter sent again
	VerbResend  = "resend"   // ended messages sent again
	VerbNote    = "note"     // something done elsewhere
	VerbRate    = "rate"     // the rate limit of a number set or reset

	VerbRelaySet    = "relay-set"    // a relay target added or changed
	VerbRelayRemove = "relay-remove" // a relay target removed
	VerbRelayDrop   = "relay-drop"   // the dead letters of a relay target dropped

	VerbReencrypt = "reencrypt" // the stored secrets encrypted with another key

	VerbPersonExport = "person-export" // all about a recipient exported
	VerbPersonDelete = "person-delete" // all about a recipient deleted

	VerbCampaignCancel = "campaign-cancel" // the messages of a campaign cancelled and refused
	VerbCampaignOpen   = "campaign-open"   // messages of a cancelled campaign accepted again
	VerbCampaignSet    = "campaign-set"    // settings of a campaign changed

	VerbScheduleRemove = "schedule-remove" // a schedule removed

	VerbOnboard      = "onboard"       // a number connected after an Embedded Signup
	VerbRegistration = "registration"  // a number registered, deregistered or verified at Meta, or its PIN set
	VerbTemplates    = "template-sync" // the templates of an account read from Meta
)

// ReservedActor reports whether an actor belongs to Sluice: it begins with "sluice", in upper or lower case. Sluice releases the
// holds of such actors by itself, so no operator may have one.
func ReservedActor(actor string) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(actor)), "sluice")
}

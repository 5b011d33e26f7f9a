package message

import (
	"encoding/json"
	"time"
)

// EventVersion is the version of the event schema, in every event's "v". Members may be
// added within a version; none is renamed, removed or given another meaning.
const EventVersion = 1

// The types of events.
const (
	EventMessage = "message" // a message of ours changed its state
	EventStatus  = "status"  // Meta reported a status; see Receipt
	EventInbound = "inbound" // a person wrote to one of our numbers
	EventUpdate  = "update"  // Meta reported something of a template, an account or a number
	EventGap     = "gap"     // a consumer group was too slow and missed events
)

// Event is one line of an entry of the event streams: the public contract for consumers of one's own.
type Event struct {
	Version int             `json:"v" doc:"The version of this schema: 1."`
	Type    string          `json:"type" doc:"message: a message of ours changed its state. status: Meta reported a status. inbound: a person wrote. update: Meta reported something of a template, an account or a number. gap: a consumer group was too slow and missed events."`
	At      int64           `json:"at" doc:"When Sluice learned of it, Unix milliseconds."`
	Number  string          `json:"number,omitempty" doc:"Phone number id; absent in account-wide updates."`
	WABA    string          `json:"waba,omitempty" doc:"WhatsApp Business Account id; in Meta's events."`
	Field   string          `json:"field,omitempty" doc:"Meta's webhook field, such as messages; in Meta's events."`
	State   *Change         `json:"state,omitempty" when:"type=message" doc:"What changed."`
	Message *Context        `json:"message,omitempty" when:"type=message" doc:"The message that it changed of."`
	Receipt *Receipt        `json:"receipt,omitempty" when:"type=status" doc:"What Sluice read out of Meta's status."`
	Gap     *Gap            `json:"gap,omitempty" when:"type=gap" doc:"What was missed, and by whom."`
	Meta    json.RawMessage `json:"meta,omitempty" doc:"Meta's own object, unchanged: a status, a message with its contact, or an update's value."`
}

// Change is what happened to a message's state.
type Change struct {
	To      State       `json:"to" doc:"The state now."`
	Attempt int         `json:"attempt,omitempty" doc:"The number of the attempt."`
	WAMID   string      `json:"wamid,omitempty" doc:"Meta's id of the message."`
	Code    int         `json:"code,omitempty" doc:"Meta's error code."`
	Reason  string      `json:"reason,omitempty" doc:"Why, when the state does not say it."`
	Detail  ErrorDetail `json:"error,omitzero" doc:"What Meta said of the error."`
}

// Gap is what a consumer group missed: entries of its shard's stream that were dropped before
// it had read them.
type Gap struct {
	Group string `json:"group" doc:"The consumer group that missed them; the others may pass over this event."`
	From  string `json:"from" doc:"The id of the first entry missed."`
	To    string `json:"to" doc:"An entry id: nothing from it on was missed."`
}

// ReportsWithin is when Meta has reported something of a message that it took, as a rule: it
// says sent within seconds. What it said nothing of by then is told to operators.
const ReportsWithin = 15 * time.Minute

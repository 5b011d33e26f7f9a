package message

import "encoding/json"

// EventVersion is the version of the event schema, in every event's "v". Members may be
// added within a version; none is renamed, removed or given another meaning.
const EventVersion = 1

// The types of events.
const (
	EventMessage = "message" // a message of ours changed its state
	EventStatus  = "status"  // Meta reported a status; see Receipt
	EventInbound = "inbound" // a person wrote to one of our numbers
	EventUpdate  = "update"  // Meta reported something of a template, an account or a number
)

// Event is one entry of the event stream: the public contract for consumers of one's own.
type Event struct {
	Version int             `json:"v"`
	Type    string          `json:"type"`
	At      int64           `json:"at"`                // when Sluice learned of it, Unix milliseconds
	Number  string          `json:"number,omitempty"`  // phone number id; empty for account-wide updates
	WABA    string          `json:"waba,omitempty"`    // WhatsApp Business Account id; Meta's events only
	Field   string          `json:"field,omitempty"`   // Meta's webhook field; Meta's events only
	State   *Change         `json:"state,omitempty"`   // EventMessage only
	Message *Context        `json:"message,omitempty"` // EventMessage only
	Receipt *Receipt        `json:"receipt,omitempty"` // EventStatus only
	Meta    json.RawMessage `json:"meta,omitempty"`    // Meta's own object, unchanged: a status, a message with its contact, or an update's value
}

// Change is what happened to a message's state.
type Change struct {
	To      State  `json:"to"`
	Attempt int    `json:"attempt,omitempty"`
	WAMID   string `json:"wamid,omitempty"`
	Code    int    `json:"code,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// StreamKey is the Redis key of a shard's event stream.
func (s Shard) StreamKey() string { return s.Key("events") }

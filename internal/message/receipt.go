package message

import "time"

// Receipt is one thing Meta said of a message in a signed webhook.
type Receipt struct {
	Number string    `json:"number"`           // phone number id of the sender
	WAMID  string    `json:"wamid"`            // Meta's id of the message
	Status string    `json:"status"`           // sent, delivered, read, played, failed, or something newer
	At     time.Time `json:"at,omitzero"`      // Meta's time; zero when it sent none that can be true
	Marker string    `json:"marker,omitempty"` // biz_opaque_callback_data as it came back
	Code   int       `json:"code,omitempty"`   // Meta's error code, when failed
}

// State returns the state a receipt is evidence of. It is false for statuses that say
// nothing about delivery or are not known.
func (r Receipt) State() (State, bool) {
	switch r.Status {
	case "sent":
		return Sent, true
	case "delivered":
		return Delivered, true
	case "read":
		return Read, true
	case "played":
		return Played, true
	case "failed":
		return Failed, true
	}
	return "", false
}

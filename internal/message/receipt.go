package message

import "time"

// Receipt is one thing Meta said of a message in a signed webhook.
type Receipt struct {
	Number string      `json:"number" doc:"The sender's phone number id."`
	WAMID  string      `json:"wamid" doc:"Meta's id of the message."`
	Status string      `json:"status" doc:"sent, delivered, read, played, failed, or something newer."`
	At     time.Time   `json:"at,omitzero" doc:"Meta's time; absent when Meta sent none that can be true."`
	Marker string      `json:"marker,omitempty" doc:"biz_opaque_callback_data as it came back."`
	Code   int         `json:"code,omitempty" doc:"Meta's error code, when failed."`
	Detail ErrorDetail `json:"error,omitzero" doc:"What Meta said of it, when failed."`

	Type        string `json:"type,omitempty" doc:"What the status is about, where Meta says so: payment is about the payment of an order and never changes the state of the message."`
	Participant string `json:"participant,omitempty" doc:"The member of a group whom the status is about. The failure of one member is not the message's."`
}

// paymentStatus is the type of statuses about the payment of an order.
const paymentStatus = "payment"

// State returns the state a receipt is evidence of. It is false for statuses that say
// nothing about the delivery of the message or are not known.
func (r Receipt) State() (State, bool) {
	if r.Type == paymentStatus || r.Participant != "" && r.Status == "failed" {
		return "", false
	}
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

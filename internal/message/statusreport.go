package message

import "time"

// StatusReport is one status of a message in a signed webhook of Meta's.
type StatusReport struct {
	Number string      `json:"phone_number_id" doc:"Meta's id of the sending number."`
	WAMID  string      `json:"wamid" doc:"Meta's id of the message."`
	Status string      `json:"status" doc:"sent, delivered, read, played, failed, or something newer."`
	At     time.Time   `json:"at,omitzero" doc:"Meta's time of the status. Absent if Meta sent no plausible time."`
	Marker string      `json:"marker,omitempty" doc:"The biz_opaque_callback_data that Meta returned: Sluice's marker, if Sluice sent the message. Your own data is in callback_data of message events."`
	Code   int         `json:"code,omitempty" doc:"Meta's error code, when failed. Code 0 counts as no code: it is about a call, not about a message."`
	Detail ErrorDetail `json:"error,omitzero" doc:"Meta's own text about the failure."`

	Type        string `json:"type,omitempty" doc:"What the status is about, if Meta names it. payment: the payment of an order; it never changes the state of the message."`
	Participant string `json:"participant,omitempty" doc:"The group member that the status is about. A failure for one member is not a failure of the message."`
}

// paymentStatus is the type of statuses about the payment of an order.
const paymentStatus = "payment"

// State returns the state that a status report proves. It is false for a status that says nothing about the
// delivery of the message, or that is unknown.
func (r StatusReport) State() (State, bool) {
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

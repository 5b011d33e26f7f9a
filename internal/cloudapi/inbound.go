package cloudapi

import (
	"encoding/json"
	"slices"
	"time"

	"sluice/internal/message"
)

// Inbound is a message from a person that can be answered.
type Inbound struct {
	ID    string    // Meta's id
	At    time.Time // when the person wrote it, by Meta, in seconds; without a time of Meta's: when Sluice received it
	To    string    // the recipient of an answer: a phone number with its plus, or a business-scoped user id
	Texts []string  // its text, or those of the button that the person tapped; nil: it has none
}

// answerable are the types of messages that a person writes. The others report something: a reaction, a change of the phone number, a
// message that was deleted or that Meta cannot deliver.
// https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/reference/messages
var answerable = []string{"text", "button", "interactive", "image", "video", "audio", "voice", "document", "sticker", "location", "contacts", "order"}

// InboundOf returns the message of an event. It is false for events of other types, for messages that report something, and for those of
// groups.
func InboundOf(e message.Event) (Inbound, bool) {
	if e.Type != message.EventInbound || OnBizApp(e) {
		return Inbound{}, false
	}
	var v struct {
		Message struct {
			Type  string `json:"type"`
			Group string `json:"group_id"`
		} `json:"message"`
	}
	json.Unmarshal(e.Meta, &v) // members of other types stay empty
	who, ok := Identities(e)
	if !ok || v.Message.Group != "" || !slices.Contains(answerable, v.Message.Type) {
		return Inbound{}, false
	}
	in := Inbound{At: time.UnixMilli(e.At), To: who.User, Texts: said(e.Meta)}
	if len(who.Phones) > 0 {
		in.To = "+" + who.Phones[0]
	}
	id, at := Written(e)
	if in.ID = id; !at.IsZero() {
		in.At = at
	}
	return in, in.ID != "" && in.To != ""
}

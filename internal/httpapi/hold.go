package httpapi

import (
	"time"

	"sluice/internal/message"
)

// Hold is a hold as the API and the console show it. Without phone_number_id, template, tag and campaign it
// holds all messages.
type Hold struct {
	Number   string    `json:"phone_number_id,omitempty" doc:"Messages from this phone number id are held. Without it: from all numbers."`
	Template string    `json:"template,omitempty" doc:"Only messages of this template of the number, as name/language."`
	Tag      string    `json:"tag,omitempty" doc:"Only messages that were accepted with this tag."`
	Campaign string    `json:"campaign,omitempty" doc:"Only messages of this campaign of client."`
	Client   string    `json:"client,omitempty" doc:"With campaign: the client of the messages. Without it: messages of no client."`
	Reason   string    `json:"reason" doc:"Why they are held."`
	Code     int       `json:"code,omitempty" doc:"Meta's error code, when an answer from Meta caused the hold."`
	Actor    string    `json:"actor" doc:"The name of the operator who set the hold, or sluice if Sluice set it by itself."`
	Since    time.Time `json:"since" doc:"When the hold began."`
	Until    time.Time `json:"until,omitzero" doc:"When the hold ends by itself. Without it: it lasts until it is released."`
}

// ShowHold returns h as the API and the console show it.
func ShowHold(h message.Hold) Hold {
	return Hold{Number: h.Number, Template: h.Template, Tag: h.Tag, Campaign: h.Campaign, Client: h.Client, Reason: h.Reason, Code: h.Code, Actor: h.By, Since: h.Since, Until: h.Until}
}

// Target names what is held, for logs and messages to operators.
func (h Hold) Target() string { return h.on().On() }

// Whole reports whether the hold is on all messages of its number, or of all numbers.
func (h Hold) Whole() bool { return h.on().Whole() }

// on returns what is held.
func (h Hold) on() message.Hold {
	return message.Hold{Number: h.Number, Template: h.Template, Tag: h.Tag, Campaign: h.Campaign, Client: h.Client}
}

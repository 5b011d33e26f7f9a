package cloudapi

import (
	"encoding/json"
	"time"

	"sluice/internal/message"
)

// Under Conversation Routing several apps share a number, and one of them owns a conversation. The others get copies of what happens in
// it, in the field standby.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/standby/

// standbyEvent returns the event of an item in a conversation that another app owns.
func standbyEvent(e message.Event, member string, raw json.RawMessage) message.Event {
	e.Type = message.EventStandby
	e.Meta = append(append(append([]byte(`{"`), member...), `":`...), raw...)
	e.Meta = append(e.Meta, '}')
	return e
}

// standbyStatus returns the event of a status in a conversation that another app owns. With a marker of Sluice, it is about a
// message of ours: a template, which an app may send to any conversation.
func standbyStatus(e message.Event) message.Event {
	if e.Type != message.EventStatus {
		return e
	}
	if _, ours := MessageID(e.Report.Marker); ours {
		return e
	}
	e.Report = nil
	return standbyEvent(e, "status", e.Meta)
}

// Meta's names in a handover.
const (
	controlPassed = "control_passed"
	controlTaken  = "control_taken"
	roleAgent     = "ai_agent"
	appAgent      = "meta_business_agent"
)

// handoverEvent returns the event of a change of the owner of a conversation. A change of a kind that this version does not know
// stays an update. https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messaging-handovers/
func handoverEvent(e message.Event, ends *ends) message.Event {
	v := parts{ends: ends}
	var h message.Handover
	var appRole string
	for name, raw := range v.members(e.Meta) {
		if change := string(name); change != controlPassed && change != controlTaken {
			continue
		}
		v.once(&h.Change, string(name))
		for name, raw := range v.members(raw) {
			switch string(name) {
			case "previous_owner_role":
				v.once(&h.From, text(raw))
			case "new_owner_role":
				v.once(&h.To, text(raw))
			case "previous_owner_app_role":
				v.once(&appRole, text(raw))
			}
		}
	}
	if v.odd || h.Change == "" {
		return e
	}
	// Meta sends control_passed to the new owner, and control_taken to the previous one. If that was an agent of Meta, it is
	// not clear who gets it: other documents of Meta say that the app that takes the conversation from the agent does.
	switch {
	case h.Change == controlPassed:
		h.Owner = message.OwnedByUs
	case h.From == roleAgent || appRole == appAgent:
		h.Owner = message.OwnerUnknown
	default:
		h.Owner = message.OwnedByOther
	}
	e.Type, e.Handover = message.EventHandover, &h
	return e
}

// OwnerReport returns what an event says about who owns a conversation. It is false for an event that says nothing about it.
func OwnerReport(e message.Event) (message.OwnerReport, bool) {
	r := message.OwnerReport{Number: e.Number}
	switch {
	case e.Type == message.EventInbound || e.Type == message.EventStandby:
		r.Owner = message.OwnedByUs
		if e.Type == message.EventStandby {
			r.Owner = message.OwnedByOther
		}
		r.Phone, r.User = WroteBy(e)
		_, r.At = Written(e)
	case e.Handover != nil:
		var v struct {
			Sender struct {
				Phone string `json:"phone_number"`
				User  string `json:"user_id"`
			} `json:"sender"`
			At json.RawMessage `json:"timestamp"`
		}
		json.Unmarshal(e.Meta, &v) // members of other types stay empty
		r.Owner, r.Handover, r.Phone, r.User = e.Handover.Owner, true, v.Sender.Phone, v.Sender.User
		if len(v.At) > 0 {
			r.At = metaTime(text(v.At), time.UnixMilli(e.At))
		}
	}
	if r.At.IsZero() {
		r.At = time.UnixMilli(e.At)
	}
	return r, r.Owner != "" && r.Number != "" && (r.Phone != "" || r.User != "")
}

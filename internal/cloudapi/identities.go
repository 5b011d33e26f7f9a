package cloudapi

import (
	"encoding/json"
	"slices"
	"strings"

	"sluice/internal/message"
)

// Identities returns the names of the person that an event of Meta is about. It is false for an event that names none, or that
// is about a group.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
func Identities(e message.Event) (message.Identities, bool) {
	who := identities{Identities: message.Identities{Number: e.Number, Account: e.WABA}}
	switch e.Type {
	case message.EventStatus:
		who.status(e.Meta)
		for raw := range who.elements(e.Contacts) {
			who.contact(raw)
			break
		}
	case message.EventInbound, message.EventStandby:
		for name, raw := range who.members(e.Meta) {
			switch string(name) {
			case "message":
				who.inbound(raw)
			case "contact":
				who.contact(raw)
			}
		}
	}
	return who.Identities, !who.odd && !who.group && (who.User != "" || who.Parent != "" || len(who.Phones) > 0)
}

// identities reads the names of a person.
type identities struct {
	parts
	message.Identities
	group bool
}

// phone adds a phone number, however it is written.
func (w *identities) phone(number string) {
	number = strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, number)
	if number != "" && !slices.Contains(w.Phones, number) {
		w.Phones = append(w.Phones, number)
	}
}

func (w *identities) status(raw json.RawMessage) {
	for name, raw := range w.members(raw) {
		switch string(name) {
		case "recipient_type":
			w.group = w.group || text(raw) == "group"
		case "recipient_id":
			w.phone(text(raw))
		case "recipient_user_id":
			w.once(&w.User, text(raw))
		case "recipient_parent_user_id":
			w.once(&w.Parent, text(raw))
		}
	}
}

func (w *identities) contact(raw json.RawMessage) {
	for name, raw := range w.members(raw) {
		switch string(name) {
		case "wa_id":
			w.phone(text(raw))
		case "user_id":
			w.once(&w.User, text(raw))
		case "parent_user_id":
			w.once(&w.Parent, text(raw))
		}
	}
}

// inbound reads a message. Of a system message about a change, the outer members are those before the change, and those of
// system are the new ones.
func (w *identities) inbound(raw json.RawMessage) {
	var from, user, parent, id string
	var system json.RawMessage
	for name, raw := range w.members(raw) {
		switch string(name) {
		case "from":
			from = text(raw)
		case "from_user_id":
			user = text(raw)
		case "from_parent_user_id":
			parent = text(raw)
		case "id":
			id = text(raw)
		case "system":
			system = raw
		}
	}
	kind, now, former := w.system(system)
	if kind != "user_changed_number" && kind != "user_changed_user_id" {
		w.phone(from)
		w.once(&w.User, user)
		w.once(&w.Parent, parent)
		return
	}
	w.Change = id
	w.phone(now.number)
	w.User, w.Parent = now.user, parent
	if former == "" {
		former = user
	}
	if former != w.User {
		w.FormerUser = former
	}
	switch before := strings.TrimPrefix(from, "+"); {
	case before == "" || slices.Contains(w.Phones, before):
	case now.number != "":
		w.FormerPhone = before
	default:
		w.phone(before) // the user id alone changed
	}
}

// system reads the object of a system message: the new names, and the former user id.
func (w *identities) system(raw json.RawMessage) (kind string, now person, former string) {
	for name, raw := range w.members(raw) {
		switch string(name) {
		case "type":
			kind = text(raw)
		case "wa_id":
			now.number = text(raw)
		case "user_id":
			now.user = text(raw)
		case "previous_user_id":
			former = text(raw)
		}
	}
	return kind, now, former
}

// answered returns the names of the recipient in Meta's answer to an accepted message. It is false if it names one only.
func answered(number string, body []byte) (message.Identities, bool) {
	who := identities{Identities: message.Identities{Number: number}}
	for name, raw := range who.members(body) {
		if string(name) != "contacts" {
			continue
		}
		for raw := range who.elements(raw) {
			who.contact(raw)
			for name, raw := range who.members(raw) {
				if input := text(raw); string(name) == "input" && message.IsUserID(input) {
					who.once(&who.User, input)
				} else if string(name) == "input" {
					who.phone(input)
				}
			}
			break
		}
	}
	return who.Identities, !who.odd && (len(who.Phones) > 1 || who.User != "")
}

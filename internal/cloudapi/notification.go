package cloudapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"sluice/internal/message"
)

// ErrOtherObject means that a webhook is about something other than WhatsApp: the app has another subscription too.
var ErrOtherObject = errors.New("webhook is not about a WhatsApp Business Account")

var errNoWebhook = errors.New("webhook is not a JSON object in Meta's form")

const whatsappObject = "whatsapp_business_account"

// messagesField is Meta's webhook field for statuses and inbound messages.
const messagesField = "messages"

// handoversField is Meta's webhook field for conversations that another app took over or gave back. It names the number
// under recipient.
const handoversField = "messaging_handovers"

// text returns a JSON string or number as a string, because Meta uses both for ids, codes and times. It is empty for
// other types, so that an unexpected type does not make the other members unreadable.
func text(raw json.RawMessage) string {
	switch c := raw[0]; {
	case c == '-' || c >= '0' && c <= '9':
		return string(raw)
	case c == '"':
		return string(unquote(raw))
	}
	return ""
}

// standbyField is Meta's webhook field for conversations that another app owns.
const standbyField = "standby"

// Events returns the events of a webhook body, in order: an EventInbound for each message from a customer, an
// EventStatus for each status, an EventStandby for each message and status in a conversation that another app owns, an
// EventHandover for each change of the owner, and an EventUpdate for each other change, also for errors of an account.
// Unknown fields, types and statuses become events too. now is when the body arrived.
//
// Meta of an event has Meta's JSON unchanged: the status, or {"message": ..., "contact": ...} with the contact of the
// message if there is one, or the value of the change. If a part is malformed, the other parts become events, and the
// object around the part becomes an EventUpdate. If a list or a value comes twice, both are read. If a member of an
// item comes twice with different values, the item is malformed. If a value has two phone number ids, it becomes one
// EventUpdate without a number, because it is unknown which number its items belong to.
//
// The events have parts of body, which must not be changed afterwards.
//
// The error is ErrOtherObject for a webhook about something else, and another error if body is not a webhook. Then
// there are no events.
func Events(body []byte, now time.Time) ([]message.Event, error) {
	if !json.Valid(body) {
		return nil, errNoWebhook
	}
	body = bytes.TrimSpace(body)
	r := reader{now: now, parts: parts{ends: endsOf(body)}}
	var ours bool
	var entries []json.RawMessage
	for name, raw := range r.members(body) {
		switch string(name) {
		case "object":
			ours = ours || text(raw) == whatsappObject
		case "entry":
			entries = append(entries, raw)
		}
	}
	switch {
	case r.odd:
		return nil, errNoWebhook
	case !ours:
		return nil, ErrOtherObject
	}
	for _, some := range entries {
		for entry := range r.elements(some) {
			r.entry(entry)
		}
	}
	if r.odd {
		whole := r.stamp(message.Event{Type: message.EventUpdate, Meta: body})
		r.events = slices.Insert(r.events, 0, whole)
	}
	return r.events, nil
}

// reader collects the events of one body, see
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
type reader struct {
	parts
	now    time.Time
	events []message.Event
}

func (r *reader) stamp(e message.Event) message.Event {
	e.Version, e.At = message.EventVersion, r.now.UnixMilli()
	e.Meta = slices.Clip(e.Meta)
	return e
}

func (r *reader) add(e message.Event) { r.events = append(r.events, r.stamp(e)) }

func (r *reader) entry(raw json.RawMessage) {
	var waba string
	var changes []json.RawMessage
	for name, raw := range r.members(raw) {
		switch string(name) {
		case "id":
			r.once(&waba, text(raw))
		case "changes":
			changes = append(changes, slices.Collect(r.elements(raw))...)
		}
	}
	for _, raw := range changes {
		e := message.Event{Type: message.EventUpdate, WABA: waba}
		var values []json.RawMessage
		for name, raw := range r.members(raw) {
			switch string(name) {
			case "field":
				r.once(&e.Field, text(raw))
			case "value":
				values = append(values, raw)
			}
		}
		for _, e.Meta = range values {
			r.change(e)
		}
		if len(values) == 0 && e.Field != "" { // a malformed change is in the event of the whole body
			r.change(e)
		}
	}
}

// change adds the events of a change: one for each message and status, and the update itself if it has others.
func (r *reader) change(update message.Event) {
	v := changeItems{parts: parts{ends: r.ends}}
	var from sender
	for name, raw := range v.members(update.Meta) {
		switch string(name) {
		case "metadata":
			v.sender(&from, raw)
		case "recipient":
			if update.Field == handoversField {
				v.sender(&from, raw)
			}
		case standbyField:
			if update.Field == standbyField {
				for name, raw := range v.members(raw) {
					v.take(name, raw)
				}
			}
		default:
			v.take(name, raw)
		}
	}
	if !from.odd {
		update.Display = from.display
		if message.IsNumberID(from.id) { // Redis keys and metric labels have the number
			update.Number = from.id
		}
	}
	standby := update.Field == standbyField
	switch {
	case from.odd: // its items may belong to neither of the numbers
		r.add(update)
		return
	case update.Field == handoversField:
		r.add(handoverEvent(update, r.ends))
		return
	case update.Field != messagesField && !standby:
		r.add(update)
		return
	}
	var people []person
	for _, raw := range v.contacts {
		if raw[0] == '{' {
			people = append(people, (&parts{ends: r.ends}).person(raw, "wa_id", "user_id"))
		}
	}
	// A single item and a single contact belong together, whatever their ids: Meta changes the ids of some countries.
	single := len(v.messages)+len(v.statuses) == 1 && len(people) == 1
	for _, raw := range v.messages {
		e := inboundEvent(update, raw, people, single, r.ends)
		if standby && e.Type == message.EventInbound {
			e.Type = message.EventStandby
		}
		r.add(e)
	}
	for _, raw := range v.statuses {
		e := statusEvent(update, raw, people, single, r.now, r.ends)
		if standby {
			e = standbyStatus(e)
		}
		r.add(e)
	}
	if standby {
		for _, raw := range v.echoes {
			r.add(standbyEvent(update, "message_echo", raw))
		}
	}
	// Errors next to messages are about the number or the account. The event of the whole value has them, and
	// everything that Meta may add to this field.
	items := len(v.messages) + len(v.statuses)
	if standby {
		items += len(v.echoes)
	}
	if v.odd || len(v.errs) > 0 || items == 0 {
		r.add(update)
	}
}

// changeItems are the items of a change.
type changeItems struct {
	parts
	contacts, messages, statuses, echoes, errs []json.RawMessage
}

// take takes the items in a member.
func (v *changeItems) take(name []byte, raw json.RawMessage) {
	var to *[]json.RawMessage
	switch string(name) {
	case "contacts":
		to = &v.contacts
	case "messages":
		to = &v.messages
	case "statuses":
		to = &v.statuses
	case "message_echoes":
		to = &v.echoes
	case "errors":
		to = &v.errs
	default:
		return
	}
	*to = append(*to, slices.Collect(v.elements(raw))...)
}

// sender is the number that a change names.
type sender struct {
	parts   // odd: it has two ids
	id      string
	display string
}

// sender reads the number of a change from an object with its id.
func (p *parts) sender(s *sender, raw json.RawMessage) {
	for name, raw := range p.members(raw) {
		switch string(name) {
		case "phone_number_id":
			s.once(&s.id, text(raw))
		case "display_phone_number":
			s.display = cmp.Or(s.display, text(raw))
		}
	}
}

// statusEvent returns the event of a status with the contacts of its recipient. single: the one contact is of the recipient.
func statusEvent(e message.Event, raw json.RawMessage, contacts []person, single bool, now time.Time, ends *ends) message.Event {
	e.Meta = raw
	s := parts{ends: ends}
	var to person
	r := &message.StatusReport{Number: e.Number}
	var at string
	for name, raw := range s.members(raw) {
		switch string(name) {
		case "id":
			if id := text(raw); ValidWAMID(id) {
				s.once(&r.WAMID, id)
			}
		case "status":
			s.once(&r.Status, text(raw))
		case "type":
			s.once(&r.Type, text(raw))
		case "timestamp":
			s.once(&at, text(raw))
		case "biz_opaque_callback_data":
			s.once(&r.Marker, text(raw))
		case "recipient_id":
			to.number = text(raw)
		case "recipient_user_id":
			to.user = text(raw)
		case "recipient_participant_id", "participant_recipient_id": // Meta's examples have both
			r.Participant = cmp.Or(text(raw), r.Participant)
		case "errors":
			if r.Code == 0 {
				r.Code, r.Detail = firstError(raw)
			}
		}
	}
	r.At = metaTime(at, now)
	if s.odd {
		return e // not a status: it stays an update
	}
	e.Type, e.Report = message.EventStatus, r
	for _, c := range contacts {
		if single || c.same(to) {
			e.Contacts = append(append(e.Contacts, ','), c.raw...)
		}
	}
	if e.Contacts != nil {
		e.Contacts[0] = '['
		e.Contacts = append(e.Contacts, ']')
	}
	return e
}

// firstError returns the first error of a status that has a code, or the first error.
func firstError(raw json.RawMessage) (code int, detail message.ErrorDetail) {
	var errs parts
	var first graphError
	for raw := range errs.elements(raw) {
		g := errs.graphError(raw)
		switch {
		case g == nil:
		case g.coded:
			return g.code, shown(g.detail)
		case first == (graphError{}):
			first = *g
		}
	}
	return 0, shown(first.detail)
}

// person is the sender of an inbound message: a phone number, a business-scoped user id, or both.
type person struct {
	number, user string
	raw          json.RawMessage
}

func (p person) same(q person) bool {
	return p.number != "" && p.number == q.number || p.user != "" && p.user == q.user
}

// person reads a person from an object. number and user are the names of its members.
func (p *parts) person(raw json.RawMessage, number, user string) person {
	found := person{raw: raw}
	for name, raw := range p.members(raw) {
		switch string(name) {
		case number:
			found.number = text(raw)
		case user:
			found.user = text(raw)
		}
	}
	return found
}

// inboundEvent returns the event of a message with the contact that wrote it. single: the one contact wrote it. System
// messages have no contact.
func inboundEvent(e message.Event, raw json.RawMessage, contacts []person, single bool, ends *ends) message.Event {
	e.Meta = raw
	m := parts{ends: ends}
	from := m.person(raw, "from", "from_user_id")
	if m.odd {
		return e // not a message: it stays an update
	}
	meta := append([]byte(`{"message":`), raw...)
	i := slices.IndexFunc(contacts, from.same)
	if single {
		i = 0
	}
	if i >= 0 {
		meta = append(append(meta, `,"contact":`...), contacts[i].raw...)
	}
	e.Type, e.Meta = message.EventInbound, append(meta, '}')
	return e
}

// Written returns Meta's id of the message in an inbound event, and when it was written. Both may be zero.
func Written(e message.Event) (id string, at time.Time) {
	var p parts
	for name, raw := range p.members(e.Meta) {
		if string(name) != "message" {
			continue
		}
		for name, raw := range p.members(raw) {
			switch string(name) {
			case "id":
				id = text(raw)
			case "timestamp":
				at = metaTime(text(raw), time.UnixMilli(e.At))
			}
		}
		break
	}
	return id, at
}

// WroteBy returns who wrote an inbound message: the phone number, without a plus, and the business-scoped user id; empty: unknown.
func WroteBy(e message.Event) (phone, user string) {
	var v struct {
		Message struct {
			From string `json:"from"`
			User string `json:"from_user_id"`
		} `json:"message"`
	}
	json.Unmarshal(e.Meta, &v) // members of other types stay empty
	return v.Message.From, v.Message.User
}

// earliest is a time before the API existed.
var earliest = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// metaTime parses a time of Meta. It is zero for an implausible time: before the API existed, or more than a day ahead.
func metaTime(s string, now time.Time) time.Time {
	n, ok := metaMillis(s)
	// Compare numbers, because distant times overflow and would look plausible.
	if !ok || n < earliest || n > now.Add(24*time.Hour).UnixMilli() {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// metaMillis parses a time of Meta: seconds, in some places milliseconds, since 1970. It returns milliseconds; those of a
// time that is too far away are the farthest.
func metaMillis(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	if n >= 0 && n <= 100_000_000_000 { // as seconds the year 5138, as milliseconds 1973
		n *= 1000
	}
	return n, true
}

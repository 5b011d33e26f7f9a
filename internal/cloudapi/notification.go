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

// ErrOtherObject says that a webhook is genuine JSON but not about WhatsApp: the app is
// subscribed to something else as well.
var ErrOtherObject = errors.New("webhook is not about a WhatsApp Business Account")

var errNoWebhook = errors.New("webhook is not a JSON object of Meta's")

const whatsappObject = "whatsapp_business_account"

// messagesField is Meta's webhook field for statuses and inbound messages.
const messagesField = "messages"

// text reads a JSON string or number as a string: Meta uses both for ids, codes and times.
// Anything else reads as empty: a member of a strange type must not hide its neighbours.
func text(raw json.RawMessage) string {
	switch c := raw[0]; {
	case c == '-' || c >= '0' && c <= '9':
		return string(raw)
	case c == '"':
		return string(unquote(raw))
	}
	return ""
}

// Events returns everything that a webhook body reports, in its order: each message from a customer as
// EventInbound, each status as EventStatus, and each other change, with account-level errors
// among them, as EventUpdate. Fields, types and statuses that we do not know are events all
// the same. now is when the body arrived.
//
// An event's Meta holds Meta's JSON as it came: the status; {"message": ..., "contact": ...}
// with the contact that belongs to the message, if there is one; the value of the change.
// A malformed part does not hide its neighbours: they become events, and so does what the
// part was in, whole and as an EventUpdate. Of a member that comes twice both lists and values are read;
// where it says two things of one item, the item is malformed.
//
// The events hold parts of body, which must not be changed after.
//
// The error is ErrOtherObject for a webhook about something else, and any other error for
// what is no webhook at all; there are no events then.
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
		if len(values) == 0 && e.Field != "" { // else nothing is known of it; if malformed, it is in the whole
			r.change(e)
		}
	}
}

// change takes a change as an update and splits it if it holds messages or statuses.
func (r *reader) change(update message.Event) {
	v := parts{ends: r.ends}
	var contacts, messages, statuses, errs []json.RawMessage
	for name, raw := range v.members(update.Meta) {
		switch string(name) {
		case "metadata":
			for name, raw := range v.members(raw) {
				// Redis keys and metric labels are made of the number.
				if n := text(raw); string(name) == "phone_number_id" && message.IsNumberID(n) {
					v.once(&update.Number, n)
				}
			}
		case "contacts":
			contacts = append(contacts, slices.Collect(v.elements(raw))...)
		case "messages":
			messages = append(messages, slices.Collect(v.elements(raw))...)
		case "statuses":
			statuses = append(statuses, slices.Collect(v.elements(raw))...)
		case "errors":
			errs = append(errs, slices.Collect(v.elements(raw))...)
		}
	}
	if update.Field != messagesField {
		r.add(update)
		return
	}
	var people []person
	for _, raw := range contacts {
		people = append(people, (&parts{ends: r.ends}).person(raw, "wa_id", "user_id"))
	}
	for _, raw := range messages {
		r.add(inboundEvent(update, raw, people, r.ends))
	}
	for _, raw := range statuses {
		r.add(statusEvent(update, raw, r.now, r.ends))
	}
	// Errors beside the messages are about the number or the account. They are passed on
	// with the whole value, and so is whatever else comes in this field one day.
	if v.odd || len(errs) > 0 || len(messages)+len(statuses) == 0 {
		r.add(update)
	}
}

func statusEvent(e message.Event, raw json.RawMessage, now time.Time, ends *ends) message.Event {
	e.Meta = raw
	s := parts{ends: ends}
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
		return e // not a status at all: passed on as an update
	}
	e.Type, e.Report = message.EventStatus, r
	return e
}

// firstError returns the first error with a code among a status's errors, and what Meta says of it;
// without one, what it says of the first.
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

// person is who wrote a message: a phone number, a business-scoped user id, or both.
type person struct {
	number, user string
	raw          json.RawMessage
}

func (p person) same(q person) bool {
	return p.number != "" && p.number == q.number || p.user != "" && p.user == q.user
}

// person reads a person from what has the members of those names.
func (p *parts) person(raw json.RawMessage, number, user string) person {
	who := person{raw: raw}
	for name, raw := range p.members(raw) {
		switch string(name) {
		case number:
			who.number = text(raw)
		case user:
			who.user = text(raw)
		}
	}
	return who
}

// inboundEvent puts a message together with the contact that wrote it; system messages come
// without one.
func inboundEvent(e message.Event, raw json.RawMessage, contacts []person, ends *ends) message.Event {
	e.Meta = raw
	m := parts{ends: ends}
	from := m.person(raw, "from", "from_user_id")
	if m.odd {
		return e // not a message at all: passed on as an update
	}
	meta := append([]byte(`{"message":`), raw...)
	if i := slices.IndexFunc(contacts, from.same); i >= 0 {
		meta = append(append(meta, `,"contact":`...), contacts[i].raw...)
	}
	e.Type, e.Meta = message.EventInbound, append(meta, '}')
	return e
}

// Written returns Meta's id of the message in an inbound event, and when the person wrote it; empty and
// zero where it does not say so.
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

// earliest is before the API existed.
var earliest = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// metaTime reads one of Meta's times: seconds, in places milliseconds, since 1970. It is zero
// for a time that cannot be true: before the API existed or more than a day ahead.
func metaTime(s string, now time.Time) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	// Compared as numbers: times that are far enough away overflow, and then pass as ordinary ones.
	if n >= 0 && n <= 100_000_000_000 { // as seconds the year 5138, as milliseconds 1973
		n *= 1000
	}
	if n < earliest || n > now.Add(24*time.Hour).UnixMilli() {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

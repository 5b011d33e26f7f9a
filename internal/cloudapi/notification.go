package cloudapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"sluice/internal/message"
)

// ErrOtherObject says that a webhook is genuine JSON but not about WhatsApp: the app is
// subscribed to something else as well.
var ErrOtherObject = errors.New("webhook is not about a WhatsApp Business Account")

const whatsappObject = "whatsapp_business_account"

// messagesField is Meta's webhook field for statuses and inbound messages.
const messagesField = "messages"

// What we read of a webhook; the rest stays raw JSON, for what we publish is Meta's own. See
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
type (
	notification struct {
		Object text `json:"object"`
		Entry  []struct {
			ID      text `json:"id"`
			Changes []struct {
				Field text            `json:"field"`
				Value json.RawMessage `json:"value"`
			} `json:"changes"`
		} `json:"entry"`
	}
	value struct {
		Metadata struct {
			PhoneNumberID text `json:"phone_number_id"`
		} `json:"metadata"`
		Contacts []json.RawMessage `json:"contacts"`
		Messages []json.RawMessage `json:"messages"`
		Statuses []json.RawMessage `json:"statuses"`
		Errors   []json.RawMessage `json:"errors"`
	}
	contact struct {
		WAID   text `json:"wa_id"`
		UserID text `json:"user_id"`
		raw    json.RawMessage
	}
	inbound struct {
		From       text `json:"from"`
		FromUserID text `json:"from_user_id"`
	}
	status struct {
		ID        text `json:"id"`
		Status    text `json:"status"`
		Timestamp text `json:"timestamp"`
		Marker    text `json:"biz_opaque_callback_data"`
		Errors    []struct {
			Code text `json:"code"`
		} `json:"errors"`
	}
)

// text reads a JSON string or number as a string: Meta uses both for ids, codes and times.
// Anything else reads as empty.
type text string

// UnmarshalJSON never fails: a member of a strange type must not hide its neighbours.
func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch {
	case b[0] == '-' || b[0] >= '0' && b[0] <= '9':
		*t = text(b)
	case b[0] == '"':
		var s string
		if json.Unmarshal(b, &s) == nil {
			*t = text(s)
		}
	}
	return nil
}

// Events returns everything a webhook body tells, in its order: each message from a person as
// EventInbound, each status as EventStatus, and each other change, with account-level errors
// among them, as EventUpdate. Fields, types and statuses that we do not know are events all
// the same. now is when the body arrived.
//
// An event's Meta holds Meta's JSON as it came: the status; {"message": ..., "contact": ...}
// with the contact that belongs to the message, if there is one; the value of the change.
// A malformed part does not hide its neighbours: they become events, and so does what the
// part was in, whole and as an EventUpdate.
//
// The error is ErrOtherObject for a webhook about something else, and any other error for
// what is no webhook at all; there are no events then.
func Events(body []byte, now time.Time) ([]message.Event, error) {
	r := reader{now: now}
	var n notification
	// Of parts of another type than ours json reads the rest, and tells of the first.
	err := json.Unmarshal(body, &n)
	_, malformed := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case err != nil && (!malformed || n.Object == ""):
		return nil, errors.New("webhook is not a JSON object of Meta's")
	case n.Object != whatsappObject:
		return nil, ErrOtherObject
	case malformed:
		r.add(message.Event{Type: message.EventUpdate, Meta: bytes.Clone(body)})
	}
	for _, e := range n.Entry {
		for _, c := range e.Changes {
			if c.Field == "" && len(c.Value) == 0 {
				continue // nothing is known of it; a malformed one is in the body passed on above
			}
			r.change(message.Event{Type: message.EventUpdate, WABA: string(e.ID), Field: string(c.Field), Meta: c.Value})
		}
	}
	return r.events, nil
}

// reader collects the events of one body.
type reader struct {
	now    time.Time
	events []message.Event
}

func (r *reader) add(e message.Event) {
	e.Version, e.At = message.EventVersion, r.now.UnixMilli()
	r.events = append(r.events, e)
}

// change takes a change as an update and splits it if it holds messages or statuses.
func (r *reader) change(update message.Event) {
	var v value
	err := json.Unmarshal(update.Meta, &v)
	// Redis keys and metric labels are made of the number.
	if n := string(v.Metadata.PhoneNumberID); message.IsNumberID(n) {
		update.Number = n
	}
	if update.Field != messagesField {
		r.add(update)
		return
	}
	contacts := make([]contact, len(v.Contacts))
	for i, raw := range v.Contacts {
		if json.Unmarshal(raw, &contacts[i]) == nil {
			contacts[i].raw = raw
		}
	}
	for _, raw := range v.Messages {
		r.add(inboundEvent(update, raw, contacts))
	}
	for _, raw := range v.Statuses {
		r.add(statusEvent(update, raw, r.now))
	}
	// Errors beside the messages are about the number or the account. They are passed on
	// with the whole value, and so is whatever else comes in this field one day.
	if err != nil || len(v.Errors) > 0 || len(v.Messages)+len(v.Statuses) == 0 {
		r.add(update)
	}
}

func statusEvent(e message.Event, raw json.RawMessage, now time.Time) message.Event {
	e.Meta = raw
	var s status
	err := json.Unmarshal(raw, &s)
	if err != nil && s.ID == "" {
		return e // not a status at all: passed on as an update
	}
	r := &message.Receipt{
		Number: e.Number,
		Status: string(s.Status),
		At:     metaTime(string(s.Timestamp), now),
		Marker: string(s.Marker),
	}
	if ValidWAMID(string(s.ID)) {
		r.WAMID = string(s.ID)
	}
	for _, e := range s.Errors {
		if code, err := strconv.Atoi(string(e.Code)); err == nil {
			r.Code = code
			break
		}
	}
	e.Type, e.Receipt = message.EventStatus, r
	return e
}

// inboundEvent puts a message together with the contact that wrote it. A person may have a
// phone number, a business-scoped user id, or both; system messages come without a contact.
func inboundEvent(e message.Event, raw json.RawMessage, contacts []contact) message.Event {
	e.Meta = raw
	var m inbound
	if json.Unmarshal(raw, &m) != nil {
		return e // not a message at all: passed on as an update
	}
	meta := struct {
		Message json.RawMessage `json:"message"`
		Contact json.RawMessage `json:"contact,omitempty"`
	}{Message: raw}
	for _, c := range contacts {
		if m.From != "" && m.From == c.WAID || m.FromUserID != "" && m.FromUserID == c.UserID {
			meta.Contact = c.raw
			break
		}
	}
	joined, err := json.Marshal(meta)
	if err != nil { // cannot be: both parts were just read
		return e
	}
	e.Type, e.Meta = message.EventInbound, joined
	return e
}

// metaTime reads one of Meta's times: seconds, in places milliseconds, since 1970. It is zero
// for a time that cannot be true: before the API existed or more than a day ahead.
func metaTime(s string, now time.Time) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	t := time.Unix(n, 0)
	if n > 100_000_000_000 { // as seconds the year 5138, as milliseconds 1973
		t = time.UnixMilli(n)
	}
	if t.Year() < 2015 || t.After(now.Add(24*time.Hour)) {
		return time.Time{}
	}
	return t.UTC()
}

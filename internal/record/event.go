package record

import (
	"encoding/json"
	"strconv"
	"time"

	"sluice/internal/message"
)

// AppendEvent appends the event of a change to b: a message.Event as JSON. It writes what encoding/json would
// write, only faster, because every message has several events.
func (r *Record) AppendEvent(b []byte, at time.Time, c message.Change) []byte {
	b = r.appendHead(b, message.EventMessage, at)
	b = append(b, `,"state":{"to":"`...)
	b = append(b, c.To...)
	b = append(b, '"')
	if c.Attempt != 0 {
		b = strconv.AppendInt(append(b, `,"attempt":`...), int64(c.Attempt), 10)
	}
	b = member(b, "wamid", c.WAMID)
	if c.Code != 0 {
		b = strconv.AppendInt(append(b, `,"code":`...), int64(c.Code), 10)
	}
	b = member(b, "reason", c.Reason)
	if c.Detail != (message.ErrorDetail{}) {
		text, _ := json.Marshal(c.Detail) // strings and a number: cannot fail
		b = append(append(b, `,"error":`...), text...)
	}
	b = member(b, "route", string(c.Route))
	b = member(b, "moved_to", c.MovedTo)
	return r.appendContext(append(b, '}'))
}

// AppendFinal appends the final event of the message to b, like AppendEvent.
func (r *Record) AppendFinal(b []byte, at time.Time, f *message.Final) []byte {
	b = r.appendHead(b, message.EventFinal, at)
	b = append(append(append(b, `,"final":{"result":"`...), f.Result...), `","certain":`...)
	b = strconv.AppendBool(b, f.Certain)
	b = append(append(append(b, `,"state":"`...), f.State...), '"')
	b = member(b, "reason", f.Reason)
	if f.Code != 0 {
		b = strconv.AppendInt(append(b, `,"code":`...), int64(f.Code), 10)
	}
	b = quote(append(b, `,"text":`...), f.Text)
	return r.appendContext(append(b, '}'))
}

// appendHead appends the members with which an event of the message begins.
func (r *Record) appendHead(b []byte, kind string, at time.Time) []byte {
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, message.EventVersion, 10)
	b = append(append(append(b, `,"type":"`...), kind...), `","at":`...)
	b = strconv.AppendInt(b, at.UnixMilli(), 10)
	return member(b, "phone_number_id", r.From)
}

// appendContext appends the member with which an event of the message ends: the message.
func (r *Record) appendContext(b []byte) []byte {
	b = append(b, `,"message":{"id":`...)
	b = quote(b, r.ID)
	b = append(b, `,"phone_number_id":`...)
	b = quote(b, r.From)
	b = append(b, `,"class":`...)
	b = quote(b, string(r.Class))
	b = append(b, `,"type":`...)
	b = quote(b, r.Type)
	b = member(b, "to", r.To)
	b = member(b, "template", r.Template)
	b = member(b, "fallback_template", r.Fallback)
	b = member(b, "fallback_for", r.Instead)
	b = member(b, "moved_from", r.MovedFrom)
	b = member(b, "ref", r.Ref)
	for i, tag := range r.Tags {
		if i == 0 {
			b = append(b, `,"tags":[`...)
		} else {
			b = append(b, ',')
		}
		b = quote(b, tag)
		if i == len(r.Tags)-1 {
			b = append(b, ']')
		}
	}
	b = member(b, "client", r.Client)
	b = member(b, "campaign", r.Campaign)
	b = member(b, "messaging_account_id", r.Context.Account)
	b = member(b, "callback_data", r.Callback)
	b = member(b, "traceparent", r.Trace)
	return append(b, "}}"...)
}

// member appends a member that is not the first of its object, unless it is empty.
func member(b []byte, name, v string) []byte {
	if v == "" {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":`...)
	return quote(b, v)
}

// quote appends a string as JSON.
func quote(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string: cannot fail
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

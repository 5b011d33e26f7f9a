package cloudapi

import (
	"encoding/json"
	"time"

	"sluice/internal/message"
)

// callsField is Meta's webhook field for calls.
const callsField = "calls"

// WindowReports returns what an event says about customer service windows that opened: a person wrote, called, or accepted a call. A
// message that Meta wrote for the person, for example that the phone number changed, opens none.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/send-messages
// https://developers.facebook.com/documentation/business-messaging/whatsapp/calling/pricing
func WindowReports(e message.Event) []message.WindowReport {
	switch {
	case e.Type == message.EventInbound || e.Type == message.EventStandby:
		var v struct {
			Message struct {
				Type string `json:"type"`
			} `json:"message"`
		}
		json.Unmarshal(e.Meta, &v) // members of other types stay empty
		if v.Message.Type == "system" {
			return nil
		}
		r := windowReport(e)
		r.Phone, r.User = WroteBy(e)
		if _, at := Written(e); !at.IsZero() {
			r.At = at
		}
		if r.Phone == "" && r.User == "" { // a copy of a message of another app
			return nil
		}
		return []message.WindowReport{r}
	case e.Type == message.EventUpdate && e.Field == callsField:
		return callReports(e)
	}
	return nil
}

// windowReport returns a report without a person, of when the event arrived.
func windowReport(e message.Event) message.WindowReport {
	return message.WindowReport{Number: e.Number, At: time.UnixMilli(e.At)}
}

// callReports returns who called or accepted a call. A call counts whether it was answered or not.
func callReports(e message.Event) (all []message.WindowReport) {
	var v struct {
		Calls []struct {
			From      string          `json:"from"`
			User      string          `json:"from_user_id"`
			Direction string          `json:"direction"`
			At        json.RawMessage `json:"timestamp"`
		} `json:"calls"`
		Statuses []struct {
			To     string          `json:"recipient_id"`
			User   string          `json:"recipient_user_id"`
			Status string          `json:"status"`
			At     json.RawMessage `json:"timestamp"`
		} `json:"statuses"`
	}
	json.Unmarshal(e.Meta, &v) // members of other types stay empty
	add := func(phone, user string, at json.RawMessage) {
		r := windowReport(e)
		if len(at) > 0 {
			if given := metaTime(text(at), r.At); !given.IsZero() {
				r.At = given
			}
		}
		if r.Phone, r.User = phone, user; phone != "" || user != "" {
			all = append(all, r)
		}
	}
	for _, c := range v.Calls {
		if c.Direction == "USER_INITIATED" {
			add(c.From, c.User, c.At)
		}
	}
	for _, s := range v.Statuses {
		if s.Status == "ACCEPTED" {
			add(s.To, s.User, s.At)
		}
	}
	return all
}

package cloudapi

import (
	"encoding/json"
	"strings"
	"time"

	"sluice/internal/message"
)

const (
	// preferencesField is Meta's webhook field for people who stop or resume marketing messages in WhatsApp.
	// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/user_preferences
	preferencesField = "user_preferences"
	// CodeMarketingStopped is Meta's code of a marketing message to a person who stopped them.
	CodeMarketingStopped = 131050
)

// Preferences returns what an event says about whether people want marketing messages. A message from a person only has the texts that
// may say so.
func Preferences(e message.Event) []message.Preference {
	p := message.Preference{At: time.UnixMilli(e.At)}
	switch {
	case e.Type == message.EventUpdate && e.Field == preferencesField:
		return preferences(e)
	case e.Type == message.EventStatus && e.Report != nil && e.Report.Status == "failed" && e.Report.Code == CodeMarketingStopped:
		p.Source, p.Stop = message.SuppressedByError, true
		if !e.Report.At.IsZero() {
			p.At = e.Report.At
		}
	case e.Type == message.EventInbound || e.Type == message.EventStandby:
		if p.Said = said(e.Meta); len(p.Said) == 0 {
			return nil
		}
		p.Source = message.SuppressedByWord
		if _, at := Written(e); !at.IsZero() {
			p.At = at
		}
	default:
		return nil
	}
	var ok bool
	if p.Who, ok = Identities(e); !ok {
		return nil
	}
	return []message.Preference{p}
}

// said returns the text of a message from a person, or those of the button that the person tapped.
func said(meta json.RawMessage) (all []string) {
	var v struct {
		Message struct {
			Type string `json:"type"`
			Text struct {
				Body string `json:"body"`
			} `json:"text"`
			Button struct {
				Text    string `json:"text"`
				Payload string `json:"payload"`
			} `json:"button"`
			Interactive struct {
				Reply struct {
					ID    string `json:"id"`
					Title string `json:"title"`
				} `json:"button_reply"`
			} `json:"interactive"`
		} `json:"message"`
	}
	json.Unmarshal(meta, &v) // members of other types stay empty
	m := v.Message
	for _, s := range []string{m.Text.Body, m.Button.Text, m.Button.Payload, m.Interactive.Reply.ID, m.Interactive.Reply.Title} {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// preferences reads an update of the field user_preferences. Categories and values that this version does not know say nothing.
func preferences(e message.Event) (all []message.Preference) {
	var v struct {
		Preferences []struct {
			Phone    string          `json:"wa_id"`
			User     string          `json:"user_id"`
			Category string          `json:"category"`
			Value    string          `json:"value"`
			At       json.RawMessage `json:"timestamp"`
		} `json:"user_preferences"`
	}
	json.Unmarshal(e.Meta, &v) // members of other types stay empty
	for _, one := range v.Preferences {
		if one.Category != "marketing_messages" || one.Value != "stop" && one.Value != "resume" {
			continue
		}
		who := identities{Identities: message.Identities{Number: e.Number, Account: e.WABA, User: one.User}}
		who.phone(one.Phone)
		p := message.Preference{Who: who.Identities, Source: message.SuppressedByPreference, Stop: one.Value == "stop", At: time.UnixMilli(e.At)}
		if len(one.At) > 0 {
			if at := metaTime(text(one.At), p.At); !at.IsZero() {
				p.At = at
			}
		}
		all = append(all, p)
	}
	return all
}

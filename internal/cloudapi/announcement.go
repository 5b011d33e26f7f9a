package cloudapi

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/message"
)

// Announcement is an update by webhook that a template or an account may send, or may not.
type Announcement struct {
	Template string        // "<name>/<language>"; empty: the update is about all numbers of the account
	Hold     bool          // it may not send; false: it may send again
	For      time.Duration // with Hold: when to try again; 0: when Meta or an operator releases it
	Event    string        // Meta's name of the update
}

// How long templates are paused, see
// https://developers.facebook.com/docs/whatsapp/message-templates/guidelines#template-pausing
var pauses = map[string]time.Duration{"FIRST_PAUSE": 3 * time.Hour, "SECOND_PAUSE": 6 * time.Hour}

const (
	// otherPause is when to try a template again whose pause has an unknown length.
	otherPause = 30 * time.Minute
	// violation is when to try an account again after a reported violation, because some are only warnings.
	violation = time.Minute
	// maxRestriction is when to try an account again at the latest whose restriction has an end.
	maxRestriction = 90 * 24 * time.Hour
)

// Announced returns the announcement in an update event. It is false if the event has none.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference
func Announced(e message.Event, now time.Time) (Announcement, bool) {
	var v struct {
		Event    string `json:"event"`
		Name     string `json:"message_template_name"`
		Language string `json:"message_template_language"`
		Other    struct {
			Title string `json:"title"`
		} `json:"other_info"`
		Ban struct {
			State words `json:"waba_ban_state"`
		} `json:"ban_info"`
		Restrictions []struct {
			Type    string          `json:"restriction_type"`
			Expires json.RawMessage `json:"expiration"`
		} `json:"restriction_info"`
	}
	json.Unmarshal(e.Meta, &v) // members of other types stay empty
	a := Announcement{Event: v.Event}
	if e.Field == "message_template_status_update" {
		if v.Name == "" {
			return a, false
		}
		a.Template = message.TemplateID(v.Name, v.Language)
		if v.Event == "REINSTATED" || v.Other.Title == "UNPAUSE" {
			return a, true
		}
		state, ok := TemplateState(a.Template, v.Event)
		if v.Event == "PAUSED" {
			state.For = cmp.Or(pauses[v.Other.Title], otherPause)
		}
		return state, ok
	}
	if e.Field != "account_update" {
		return a, false
	}
	switch v.Event {
	case "ACCOUNT_RECONNECTED", "PARTNER_ADDED":
		return a, true
	case "DISABLED_UPDATE":
		for _, state := range v.Ban.State {
			if state == "DISABLE" || state == "REINSTATE" {
				a.Hold = state == "DISABLE"
				return a, true
			}
		}
	case "ACCOUNT_DELETED", "ACCOUNT_OFFBOARDED", "PARTNER_REMOVED":
		a.Hold = true
		return a, true
	case "ACCOUNT_VIOLATION":
		a.Hold, a.For = true, violation
		return a, true
	case "ACCOUNT_RESTRICTION":
		for _, r := range v.Restrictions {
			if r.Type != "" && !strings.Contains(r.Type, "MESSAGING") {
				continue // it restricts something else, such as adding numbers
			}
			a.Hold = true
			left, ends := expiration(r.Expires, now)
			if !ends {
				a.For = 0
				return a, true
			}
			a.For = max(a.For, left)
		}
		return a, a.Hold
	}
	return a, false
}

// expiration returns how long a restriction lasts, from a second to maxRestriction. It is false if the restriction has no
// end that can be read.
func expiration(raw json.RawMessage, now time.Time) (time.Duration, bool) {
	if len(raw) == 0 {
		return 0, false
	}
	at, ok := metaMillis(text(raw))
	if !ok || at == 0 {
		return 0, false
	}
	at = min(max(at, 0), now.Add(maxRestriction).UnixMilli()) // a distant time would overflow
	return max(time.Duration(at-now.UnixMilli())*time.Millisecond, time.Second), true
}

// words are texts. Meta's pages show waba_ban_state as a text, as an array of texts, and as an object whose values are texts.
type words []string

// UnmarshalJSON reads each of these forms. It ignores another one.
func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	var all []string
	var object map[string]string
	switch {
	case json.Unmarshal(b, &one) == nil:
		*w = words{one}
	case json.Unmarshal(b, &all) == nil:
		*w = all
	case json.Unmarshal(b, &object) == nil:
		*w = slices.Sorted(maps.Values(object))
	}
	return nil
}

// Reported returns what a failed status with a code means for later messages: the same as an answer with the code.
// Code 0 has no meaning here, because it is what a status without a code has, and Meta's code 0 is about the access token
// of a call, not about a message that Meta has accepted.
func Reported(code int) message.Outcome {
	if code == 0 {
		return message.Outcome{Kind: message.Refused}
	}
	e, known := Lookup(code)
	if !known {
		return message.Outcome{Kind: message.Refused, Code: code, Unknown: true}
	}
	return message.Outcome{Kind: e.Kind, Code: code, Hold: holdOn(e), Outside: e.Code == reengagement, Endless: e.Endless, RetryAfter: e.RetryAfter}
}

// Resendable reports whether it can make sense to send a message again after a failed status with a code: the
// fault is temporary, or an operator can correct it first.
func Resendable(code int) bool {
	o := Reported(code)
	return o.Kind == message.Held || o.Unknown || Passes(code)
}

// Replaces reports whether a failed status with a code means that a fallback template may be sent in place of the message: Meta does not send the
// template of the message, or the message is free-form, and the customer service window was closed.
func Replaces(code int, template bool) bool {
	o := Reported(code)
	if template {
		return o.Hold == message.HoldTemplate
	}
	return o.Outside
}

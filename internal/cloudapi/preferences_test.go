package cloudapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

// TestPreferences: what webhooks say about whether people want marketing messages.
func TestPreferences(t *testing.T) {
	t.Parallel()
	at := time.Unix(1750101000, 0).UTC()
	const contact = `"contacts":[{"wa_id":"16505551234","user_id":"US.1"}],`
	written := func(members string) string {
		return contact + `"messages":[{"from":"16505551234","id":"wamid.A","timestamp":"1750101000",` + members + `}]`
	}
	failed := func(code int) string {
		return fmt.Sprintf(`"statuses":[{"id":"wamid.B","status":"failed","timestamp":"1750101000","recipient_id":"16505551234","errors":[{"code":%d,"title":"x"}]}]`, code)
	}
	preference := func(value string) string {
		return `"user_preferences":[{"wa_id":"16505551234","user_id":"US.1","detail":"x","category":"marketing_messages","value":"` + value + `","timestamp":1750101000}]`
	}
	for name, c := range map[string]struct{ field, members, want string }{
		"text":             {"messages", written(`"type":"text","text":{"body":" STOP "}`), "keyword false [STOP]"},
		"button":           {"messages", written(`"type":"button","button":{"text":"Stop promotions","payload":"out"}`), "keyword false [Stop promotions out]"},
		"reply button":     {"messages", written(`"type":"interactive","interactive":{"type":"button_reply","button_reply":{"id":"stop","title":"No more"}}`), "keyword false [stop No more]"},
		"of another app":   {"standby", `"standby":{` + written(`"type":"text","text":{"body":"stop"}`) + `}`, "keyword false [stop]"},
		"image":            {"messages", written(`"type":"image","image":{"id":"1"}`), ""},
		"stopped":          {"messages", failed(131050), "meta_error true []"},
		"another failure":  {"messages", failed(131026), ""},
		"stop":             {"user_preferences", preference("stop"), "user_preferences true []"},
		"resume":           {"user_preferences", preference("resume"), "user_preferences false []"},
		"unknown value":    {"user_preferences", preference("pause"), ""},
		"unknown category": {"user_preferences", strings.Replace(preference("stop"), "marketing_messages", "calls", 1), ""},
	} {
		events, err := cloudapi.Events(webhookOf(c.field, c.members), now)
		if err != nil || len(events) != 1 {
			t.Fatalf("%s: %+v, %v", name, events, err)
		}
		found := cloudapi.Preferences(events[0])
		if c.want == "" {
			if len(found) > 0 {
				t.Errorf("%s: %+v", name, found)
			}
			continue
		}
		if len(found) != 1 {
			t.Errorf("%s: found %d", name, len(found))
			continue
		}
		p := found[0]
		if got := fmt.Sprintln(p.Source, p.Stop, p.Said); strings.Join(strings.Fields(got), " ") != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if p.Who.Number != "7" || len(p.Who.Phones) != 1 || p.Who.Phones[0] != "16505551234" || !p.At.Equal(at) || p.Source != message.SuppressedByError && p.Who.User != "US.1" {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

package cloudapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/cloudapi"
)

// TestWindowReports: what webhooks say about people who wrote or called.
func TestWindowReports(t *testing.T) {
	t.Parallel()
	at := time.Unix(1750101000, 0)
	written := func(members string) string {
		return `"contacts":[{"wa_id":"16505551234","user_id":"US.1"}],"messages":[{"id":"wamid.A","timestamp":"1750101000",` + members + `}]`
	}
	call := func(direction, event string) string {
		return `"calls":[{"id":"wacid.1","to":"15550001111","from":"16505551234","from_user_id":"US.1","event":"` + event + `","direction":"` + direction + `","timestamp":"1750101000"}]`
	}
	status := func(status string) string {
		return `"statuses":[{"id":"wacid.1","type":"call","status":"` + status + `","timestamp":"1750101000","recipient_id":"16505551234"}]`
	}
	for name, c := range map[string]struct{ field, members, want string }{
		"text":                             {"messages", written(`"from":"16505551234","from_user_id":"US.1","type":"text","text":{"body":"hi"}`), "16505551234 US.1"},
		"without a phone number":           {"messages", written(`"from_user_id":"US.1","type":"image","image":{"id":"1"}`), "US.1"},
		"reaction":                         {"messages", written(`"from":"16505551234","type":"reaction","reaction":{"emoji":"x"}`), "16505551234"},
		"a type of the future":             {"messages", written(`"from":"16505551234","type":"hologram"`), "16505551234"},
		"of a conversation of another app": {"standby", `"standby":{` + written(`"from":"16505551234","type":"text","text":{"body":"hi"}`) + `}`, "16505551234"},
		"system message":                   {"messages", written(`"from":"16505551234","type":"system","system":{"type":"user_changed_number"}`), ""},
		"status":                           {"messages", `"statuses":[{"id":"wamid.B","status":"read","timestamp":"1750101000","recipient_id":"16505551234"}]`, ""},
		"the person calls":                 {"calls", call("USER_INITIATED", "connect"), "16505551234 US.1"},
		"we call":                          {"calls", call("BUSINESS_INITIATED", "connect"), ""},
		"our call rings":                   {"calls", status("RINGING"), ""},
		"our call is accepted":             {"calls", status("ACCEPTED"), "16505551234"},
	} {
		events, err := cloudapi.Events(webhookOf(c.field, c.members), now)
		if err != nil || len(events) != 1 {
			t.Fatalf("%s: %+v, %v", name, events, err)
		}
		found := cloudapi.WindowReports(events[0])
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
		r := found[0]
		if got := strings.TrimSpace(fmt.Sprint(r.Phone, " ", r.User)); got != c.want || r.Number != "7" || !r.At.Equal(at) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

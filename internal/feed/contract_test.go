package feed_test

import (
	"net/http"
	"testing"

	"sluice/internal/described"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// TestAnswersAsDescribed: the answers have the form that the description of the API gives.
func TestAnswersAsDescribed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := described.Read(t, string(httpapi.Document{Title: "x", Routes: b.feed.Routes()}.OpenAPI()))
	rich := event(numberA, 0)
	rich.Field, rich.Meta = "messages", []byte(`{"id":"wamid.0","pricing":{"billable":true}}`)
	b.append(t, rich, message.Event{Type: message.EventMessage, At: 1, Number: numberA, State: &message.Change{To: message.Sent, Attempt: 1}, Message: &message.Context{
		ID: "x", From: numberA, Class: message.Utility, Type: "template", Tags: []string{"spring"},
	}})
	at := b.page(t, "from=oldest&cursor_name=crm").Cursor
	for _, tt := range []struct {
		name, method, path, key, body string
		status                        int
	}{
		{"listEvents", "GET", "/v1/events?from=oldest", b.wide, "", http.StatusOK},
		{"listEvents", "GET", "/v1/events", "", "", http.StatusUnauthorized},
		{"listEvents", "GET", "/v1/events", b.scopeless, "", http.StatusForbidden},
		{"listEvents", "GET", "/v1/events?phone_number_id=" + numberB, b.narrow, "", http.StatusNotFound},
		{"listEvents", "GET", "/v1/events?cursor_name=crm", b.narrow, "", http.StatusConflict},
		{"listEvents", "GET", "/v1/events?nosuch=1", b.wide, "", http.StatusUnprocessableEntity},
		{"listEventCursors", "GET", "/v1/events/cursors", b.wide, "", http.StatusOK},
		{"listEventCursors", "GET", "/v1/events/cursors", b.scopeless, "", http.StatusForbidden},
		{"setEventCursor", "PUT", "/v1/events/cursors/crm", b.wide, `{"cursor":"` + at + `"}`, http.StatusOK},
		{"setEventCursor", "PUT", "/v1/events/cursors/crm", b.narrow, `{"cursor":"` + at + `"}`, http.StatusConflict},
		{"setEventCursor", "PUT", "/v1/events/cursors/crm", b.wide, `{`, http.StatusBadRequest},
		{"setEventCursor", "PUT", "/v1/events/cursors/crm", b.wide, `{"cursor":1}`, http.StatusUnprocessableEntity},
		{"deleteEventCursor", "DELETE", "/v1/events/cursors/crm", b.wide, "", http.StatusOK},
		{"deleteEventCursor", "DELETE", "/v1/events/cursors/crm", b.wide, "", http.StatusNotFound},
	} {
		resp, text := b.do(t, tt.method, tt.path, tt.key, tt.body)
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s: %d %s, want %d", tt.method, tt.path, resp.StatusCode, text, tt.status)
		}
		d.Check(tt.name, resp.StatusCode, resp.Header, string(text))
	}
}

package message_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"sluice/internal/message"
)

// An installation that is upgraded has events of version 1 in its streams.
func TestEventsOfVersion1AreRead(t *testing.T) {
	t.Parallel()
	for old, want := range map[string]message.Event{
		`{"v":1,"type":"status","at":1,"number":"7","waba":"9","field":"messages","receipt":{"number":"7","wamid":"wamid.A","status":"sent","at":"2026-01-31T15:04:05Z","error":{"message":"x"}},"meta":{"id":"wamid.A"}}`: {
			Version: message.EventVersion, Type: message.EventStatus, At: 1, Number: "7", WABA: "9", Field: "messages",
			Report: &message.StatusReport{Number: "7", WAMID: "wamid.A", Status: "sent", At: time.Date(2026, 1, 31, 15, 4, 5, 0, time.UTC), Detail: message.ErrorDetail{Message: "x"}},
			Meta:   json.RawMessage(`{"id":"wamid.A"}`),
		},
		`{"v":1,"type":"message","at":2,"number":"7","state":{"to":"queued"},"message":{"id":"7-a","from":"7","class":"utility","type":"text"}}`: {
			Version: message.EventVersion, Type: message.EventMessage, At: 2, Number: "7", State: &message.Change{To: message.Queued},
			Message: &message.Context{ID: "7-a", From: "7", Class: message.Utility, Type: "text"},
		},
	} {
		got, err := message.DecodeEvent([]byte(old))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v, %v, want\n%+v", old, got, err, want)
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := message.DecodeEvent(text); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%s:\n%+v, %v, want\n%+v", text, again, err, want)
		}
	}
	for _, text := range []string{`{"number":"7","wamid":"wamid.A","status":"sent"}`, `{"phone_number_id":"7","wamid":"wamid.A","status":"sent"}`} {
		if got, err := message.DecodeStatusReport([]byte(text)); err != nil || got != (message.StatusReport{Number: "7", WAMID: "wamid.A", Status: "sent"}) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

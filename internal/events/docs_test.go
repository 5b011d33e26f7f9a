package events_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/internal/message"
)

// The examples in the documentation are events, in every member.
func TestTheDocumentedEventsAreEvents(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)\n```").FindAllStringSubmatch(string(page), -1) {
		d := json.NewDecoder(strings.NewReader(block[1]))
		d.DisallowUnknownFields()
		var e message.Event
		if err := d.Decode(&e); err != nil {
			t.Errorf("%v in %s", err, block[1])
			continue
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != block[1] {
			t.Errorf("example\n%s\nis written as\n%s", block[1], again)
		}
		if e.Message != nil {
			if _, ok := message.Number(e.Message.ID); !ok {
				t.Errorf("%q is no message id", e.Message.ID)
			}
		}
		types = append(types, e.Type)
	}
	if want := []string{message.EventMessage, message.EventStatus, message.EventInbound, message.EventUpdate}; !slices.Equal(types, want) {
		t.Errorf("examples of %v, want %v", types, want)
	}
}

package events_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"sluice/internal/golden"
	"sluice/internal/message"
)

//go:generate go test . -run TestEventsPage -update

// docs/events.md is its template with the members of message.Event.
func TestEventsPage(t *testing.T) {
	t.Parallel()
	page, err := template.ParseFiles(filepath.Join("testdata", "events.md.tmpl"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, map[string]string{
		"event":    members[message.Event](),
		"change":   members[message.Change](),
		"final":    members[message.Final](),
		"detail":   members[message.ErrorDetail](),
		"context":  members[message.Context](),
		"report":   members[message.StatusReport](),
		"optout":   members[message.OptOut](),
		"gap":      members[message.Gap](),
		"consumer": consumerOfTheDocs(t),
	}); err != nil {
		t.Fatal(err)
	}
	golden.File(t, filepath.Join("..", "..", "docs", "events.md"), b.Bytes())
}

// consumerOfTheDocs is the part of consumer_test.go that the page shows.
func consumerOfTheDocs(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("consumer_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, began := strings.Cut(string(source), "is in docs/events.md.\n\n")
	text, _, ended := strings.Cut(rest, "\n// The mark:")
	if !began || !ended {
		t.Fatal("consumer_test.go lacks the marks")
	}
	return text
}

// members returns the table rows of the JSON of a struct, from the tags that events.schema.json is made of.
func members[T any]() string {
	var b strings.Builder
	for f := range reflect.TypeFor[T]().Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		there := "always"
		if typ, ok := strings.CutPrefix(f.Tag.Get("when"), "type="); ok {
			there = "`" + strings.ReplaceAll(typ, ",", "`, `") + "` events"
		} else if strings.HasPrefix(options, "omit") {
			there = "where it applies"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, there, f.Tag.Get("doc"))
	}
	return b.String()
}

// The examples in the documentation are events, without unknown members.
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
	if want := []string{message.EventMessage, message.EventFinal, message.EventFinal, message.EventStatus, message.EventInbound, message.EventStandby, message.EventHandover, message.EventUpdate, message.EventSuppression, message.EventGap}; !slices.Equal(types, want) {
		t.Errorf("examples of %v, want %v", types, want)
	}
}

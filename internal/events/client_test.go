package events_test

import (
	"context"
	"slices"
	"testing"

	"sluice/internal/events"
	"sluice/internal/message"
)

// TestFilterOfAClient: of a number that other clients use too, a client gets the events of its own messages only; of its own number, all
// but those of messages of other clients.
func TestFilterOfAClient(t *testing.T) {
	t.Parallel()
	of := func(number, client string) message.Event {
		return message.Event{Type: message.EventMessage, Number: number, Message: &message.Context{Client: client}}
	}
	status := func(number, marker string) message.Event {
		return message.Event{Type: message.EventStatus, Number: number, Report: &message.StatusReport{Marker: marker}}
	}
	all := []message.Event{
		of("1", "acme"), of("1", "globex"), of("1", ""), status("1", "acme"), status("1", "globex"), status("1", ""),
		{Type: message.EventInbound, Number: "1"},
		of("2", "acme"), of("2", "globex"), of("2", ""), status("2", ""),
		{Type: message.EventInbound, Number: "2"},
	}
	var lines []events.Line
	for i, e := range all {
		lines = append(lines, events.Line{Event: e, Place: events.Place{N: i}})
	}
	messagesOf := func(_ context.Context, markers []string) (named []message.Context, _ error) {
		for _, client := range markers {
			named = append(named, message.Context{Client: client})
		}
		return named, nil
	}
	selected, err := events.Filter{Numbers: []string{"1", "2"}, Client: "acme", Shared: []string{"1"}}.Select(t.Context(), lines, nil, messagesOf)
	var got []int
	for _, l := range selected {
		got = append(got, l.Place.N)
	}
	if want := []int{0, 3, 7, 9, 10, 11}; err != nil || !slices.Equal(got, want) {
		t.Errorf("selected %v, %v, want %v", got, err, want)
	}
}

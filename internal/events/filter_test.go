package events_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"sluice/internal/events"
	"sluice/internal/message"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	marked := status(numberA, 1)
	marked.WABA, marked.Report.Marker = "77", "spring"
	all := []message.Event{
		0: {Type: message.EventMessage, Number: numberA, Message: &message.Context{Tags: []string{"autumn", "spring"}}},
		1: {Type: message.EventMessage, Number: numberB, Message: &message.Context{Tags: []string{"autumn"}}},
		2: marked,
		3: status(numberB, 2),
		4: {Type: message.EventInbound, Number: numberA, WABA: "78"},
		5: {Type: message.EventUpdate, WABA: "77"},
	}
	var lines []events.Line
	for i, e := range all {
		lines = append(lines, events.Line{Event: e, Place: events.Place{N: i}})
	}
	accounts := events.NewAccounts(func(context.Context) (map[string]string, error) { return map[string]string{numberA: "77"}, nil })
	calls := 0
	messagesOf := func(_ context.Context, markers []string) (all []message.Context, err error) {
		calls++
		for _, m := range markers {
			all = append(all, message.Context{Tags: []string{m}, Client: m})
		}
		return all, nil
	}
	for _, tt := range []struct {
		filter events.Filter
		want   []int
	}{
		{events.Filter{}, []int{0, 1, 2, 3, 4, 5}},
		{events.Filter{Numbers: []string{numberA}}, []int{0, 2, 4}},
		{events.Filter{WABAs: []string{"77", "78"}}, []int{0, 2, 4, 5}},
		{events.Filter{WABAs: []string{"78"}}, []int{4}}, // what the event says counts
		{events.Filter{WABAs: []string{"77"}, Numbers: []string{numberA, numberB}}, []int{0, 2}},
		{events.Filter{Types: []string{message.EventInbound, message.EventStatus}}, []int{2, 3, 4}},
		{events.Filter{Tags: []string{"spring"}}, []int{0, 2}},
		{events.Filter{Tags: []string{"autumn", "spring"}, Types: []string{message.EventMessage}}, []int{0, 1}},
		{events.Filter{Tags: []string{"nosuch"}}, nil},
	} {
		selected, err := tt.filter.Select(t.Context(), slices.Clone(lines), accounts, messagesOf)
		var got []int
		for _, l := range selected {
			got = append(got, l.Place.N)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v, %v, want %v", tt.filter, got, err, tt.want)
		}
	}
	if calls != 2 {
		t.Errorf("%d reads of tags, want one for each filter that has tags and selects statuses", calls)
	}
	failed := errors.New("failed")
	_, err := events.Filter{Tags: []string{"x"}}.Select(t.Context(), lines, nil, func(context.Context, []string) ([]message.Context, error) { return nil, failed })
	if !errors.Is(err, failed) {
		t.Errorf("tags that cannot be read: %v", err)
	}
	unreadable := events.NewAccounts(func(context.Context) (map[string]string, error) { return nil, failed })
	if _, err := (events.Filter{WABAs: []string{"77"}}).Select(t.Context(), lines, unreadable, nil); !errors.Is(err, failed) {
		t.Errorf("accounts that cannot be read: %v", err)
	}
}

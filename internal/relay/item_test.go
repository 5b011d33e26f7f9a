package relay

import (
	"context"
	"maps"
	"strconv"
	"testing"

	"sluice/internal/events"
	"sluice/internal/message"
)

// TestFinalEventsInMetaForm: a final event becomes a status only when Meta reported none, and is selected as one.
func TestFinalEventsInMetaForm(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		final message.Final
		types []string
		want  bool
	}{
		{message.Final{Result: message.ResultNotDelivered, State: message.Expired}, nil, true},
		{message.Final{Result: message.ResultNotDelivered, State: message.Expired}, []string{message.EventStatus}, true},
		{message.Final{Result: message.ResultNotDelivered, State: message.Expired}, []string{message.EventFinal}, true},
		{message.Final{Result: message.ResultNotDelivered, State: message.Expired}, []string{message.EventInbound}, false},
		{message.Final{Result: message.ResultNotDelivered, State: message.Dead}, nil, true},
		{message.Final{Result: message.ResultNotDelivered, State: message.Dead, Reason: message.ReasonReported}, nil, false},
		{message.Final{Result: message.ResultNotDelivered, State: message.Failed}, nil, false},
		{message.Final{Result: message.ResultUnknown, State: message.Failed, Reason: message.ReasonUndetermined}, nil, false},
		{message.Final{Result: message.ResultDelivered, State: message.Delivered}, nil, false},
	} {
		p := preparer{
			target:  message.RelayTarget{Format: message.RelayMeta, Types: c.types},
			display: func(string) string { return "" },
			records: func(context.Context, message.Shard, []string) (map[string]Record, error) { return nil, nil },
		}
		line := events.Line{Event: message.Event{Type: message.EventFinal, Number: testNumber, Message: &message.Context{ID: message.NewID(testNumber, strconv.Itoa(i))}, Final: &c.final}}
		got, err := p.prepare(t.Context(), 0, []events.Line{line}, false)
		if err != nil || got[0] != nil != c.want {
			t.Errorf("%+v, types %v: selected %v, %v", c.final, c.types, got[0] != nil, err)
		}
	}
}

// TestANewNumber: the first events of a number whose account Sluice has just learned are for a target of the account.
func TestANewNumber(t *testing.T) {
	t.Parallel()
	known := map[string]string{}
	p := preparer{
		target:   message.RelayTarget{Format: message.RelaySluice, Accounts: []string{"102290129340398"}},
		accounts: events.NewAccounts(func(context.Context) (map[string]string, error) { return maps.Clone(known), nil }),
	}
	for _, want := range []bool{false, true} {
		line := events.Line{Event: message.Event{Type: message.EventMessage, Number: testNumber, Message: &message.Context{ID: message.NewID(testNumber, "1")}}}
		got, err := p.prepare(t.Context(), 0, []events.Line{line}, false)
		if err != nil || got[0] != nil != want {
			t.Errorf("selected %v, %v", got[0] != nil, err)
		}
		known[testNumber] = "102290129340398"
	}
}

package events

import (
	"cmp"
	"context"
	"slices"

	"sluice/internal/message"
)

// Filter selects events. The values of one member are alternatives, and the members are combined. An empty member
// selects every event, and the zero value selects all.
type Filter struct {
	Numbers []string // phone number ids; updates about an account have none
	WABAs   []string // WhatsApp Business Account ids, of the event or of its number
	Tags    []string // of the message; events that are not about a message have none
	Types   []string // types of events

	// Client selects the messages of a client, and what concerns its numbers; empty: all. Shared are its numbers that other
	// clients send from too: of these it selects only events about messages of the client.
	Client string
	Shared []string
}

// MessagesOf returns for each marker the message that it names; zero: no message is found.
type MessagesOf func(ctx context.Context, markers []string) ([]message.Context, error)

// Selects reports whether the filter selects an event, apart from its tags. accounts has the account of each number.
func (f Filter) Selects(e *message.Event, accounts map[string]string) bool {
	return has(f.Numbers, e.Number) && has(f.Types, e.Type) && (len(f.WABAs) == 0 || slices.Contains(f.WABAs, cmp.Or(e.WABA, accounts[e.Number])))
}

// SelectsMessage reports whether the filter selects an event of a number about a message; about none, if it is zero.
func (f Filter) SelectsMessage(number string, m message.Context) bool {
	if f.Client != "" && m.Client != f.Client && (m.Client != "" || slices.Contains(f.Shared, number)) {
		return false
	}
	return len(f.Tags) == 0 || slices.ContainsFunc(m.Tags, func(tag string) bool { return slices.Contains(f.Tags, tag) })
}

// Select returns the lines that the filter selects, in their order. A filter with tags or a client reads the messages
// that statuses are about with messagesOf, in one call. It may return the slice all.
func (f Filter) Select(ctx context.Context, all []Line, accounts *Accounts, messagesOf MessagesOf) ([]Line, error) {
	if len(f.Numbers)+len(f.WABAs)+len(f.Tags)+len(f.Types)+len(f.Client) == 0 {
		return all, nil
	}
	var known map[string]string
	if len(f.WABAs) > 0 {
		var err error
		if known, err = accounts.All(ctx); err != nil {
			return nil, err
		}
	}
	selected := make([]Line, 0, len(all))
	for _, l := range all {
		if f.Selects(&l.Event, known) {
			selected = append(selected, l)
		}
	}
	if len(f.Tags) == 0 && f.Client == "" {
		return selected, nil
	}
	var markers []string
	for _, l := range selected {
		if marker := markerOf(l.Event); marker != "" {
			markers = append(markers, marker)
		}
	}
	var named []message.Context
	if len(markers) > 0 {
		var err error
		if named, err = messagesOf(ctx, markers); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(selected, func(l Line) bool {
		var about message.Context
		if l.Event.Message != nil {
			about = *l.Event.Message
		} else if o := l.Event.OptOut; o != nil {
			about.Client = o.Client
		} else if markerOf(l.Event) != "" {
			about, named = named[0], named[1:]
		}
		return !f.SelectsMessage(l.Event.Number, about)
	}), nil
}

func has(wanted []string, value string) bool {
	return len(wanted) == 0 || slices.Contains(wanted, value)
}

// markerOf returns the marker of a status.
func markerOf(e message.Event) string {
	if e.Message != nil || e.Report == nil {
		return ""
	}
	return e.Report.Marker
}

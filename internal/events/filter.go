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
}

// TagsOf returns for each marker the tags of the message that it names; nil: no message is found.
type TagsOf func(ctx context.Context, markers []string) ([][]string, error)

// Selects reports whether the filter selects an event, apart from its tags. accounts has the account of each number.
func (f Filter) Selects(e *message.Event, accounts map[string]string) bool {
	return has(f.Numbers, e.Number) && has(f.Types, e.Type) && (len(f.WABAs) == 0 || slices.Contains(f.WABAs, cmp.Or(e.WABA, accounts[e.Number])))
}

// SelectsTags reports whether the filter selects an event about a message with tags.
func (f Filter) SelectsTags(tags []string) bool {
	return len(f.Tags) == 0 || slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(f.Tags, tag) })
}

// Select returns the lines that the filter selects, in their order. A filter with tags reads the tags of the messages
// that statuses are about with tagsOf, in one call. It may return the slice all.
func (f Filter) Select(ctx context.Context, all []Line, accounts *Accounts, tagsOf TagsOf) ([]Line, error) {
	if len(f.Numbers)+len(f.WABAs)+len(f.Tags)+len(f.Types) == 0 {
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
	if len(f.Tags) == 0 {
		return selected, nil
	}
	var markers []string
	for _, l := range selected {
		if marker := markerOf(l.Event); marker != "" {
			markers = append(markers, marker)
		}
	}
	var tags [][]string
	if len(markers) > 0 {
		var err error
		if tags, err = tagsOf(ctx, markers); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(selected, func(l Line) bool {
		var carried []string
		if l.Event.Message != nil {
			carried = l.Event.Message.Tags
		} else if markerOf(l.Event) != "" {
			carried, tags = tags[0], tags[1:]
		}
		return !f.SelectsTags(carried)
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

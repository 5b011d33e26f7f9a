package relay

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/events"
	"sluice/internal/message"
)

// Record is what the relay needs of the record of a message.
type Record struct {
	message.Context
	Accepted  int64  // when the message was accepted, Unix milliseconds
	Recipient string // phone number or user id; empty: it is no longer known
}

// Records returns the records of messages of a shard by their ids, in one round trip. An id without a record is absent.
type Records func(ctx context.Context, shard message.Shard, ids []string) (map[string]Record, error)

// item is an event for a target.
type item struct {
	line    events.Line
	group   string // events of a group are relayed in order
	relayed cloudapi.Relayed
	written time.Time // when its entry was written
	alone   bool      // it shares no request

	done     bool // its place in the stream can be passed: it was taken, set aside or given up
	putting  bool // it is being set aside
	setAside bool

	tries   int
	against int       // tries that failed while the target took other events
	first   time.Time // the first failure
	since   time.Time // other events that the target takes from then on count against the item
	next    time.Time // the next try
	failure string    // why the last one failed
}

// stored returns the item as it is stored.
func (it *item) stored() aside {
	a := aside{Key: it.line.Key, Place: it.line.Place.String(), Text: it.line.Text, Tries: it.tries, Against: it.against, Error: it.failure}
	if !it.first.IsZero() {
		a.First, a.Next = it.first.UnixMilli(), it.next.UnixMilli()
	}
	return a
}

// field names the item among those that are set aside.
func (it *item) field() string {
	return aside{Key: it.line.Key, Place: it.line.Place.String()}.field()
}

// idIndex leads from Meta's ids to ours.
type idIndex interface {
	exchange(ctx context.Context, shard message.Shard, seen map[string]string, wanted []string) (map[string]string, error)
}

// preparer makes items of events.
type preparer struct {
	target   message.RelayTarget
	mark     func(marker string) (id string, attempt int, accepted int64, ok bool)
	records  Records
	accounts *events.Accounts
	ids      idIndex // of Meta's ids; nil: the target gets them as they are
	display  func(number string) string
	clients  func(client string) (numbers, shared []string)
}

// prepare returns the items of events of a shard, in their order, and nil for an event that is not for the target.
// again: the events were for the target before, so one of which the account or the tags are no longer known still is.
func (p preparer) prepare(ctx context.Context, shard message.Shard, lines []events.Line, again bool) ([]*item, error) {
	accounts, err := p.accounts.All(ctx)
	if err == nil && len(p.target.Accounts) > 0 && slices.ContainsFunc(lines, func(l events.Line) bool { return l.Event.WABA == "" && accounts[l.Event.Number] == "" }) {
		accounts, err = p.accounts.Reread(ctx) // perhaps the number is new
	}
	if err != nil {
		return nil, err
	}
	filter, items := p.filter(), make([]*item, len(lines))
	seen := map[string]string{}
	var ids, named []string
	for i, l := range lines {
		it := p.item(l, accounts)
		if p.ids != nil && it.relayed.ID != "" && l.Event.Report != nil {
			seen[l.Event.Report.WAMID] = it.relayed.ID
		}
		if !p.wants(filter, &it.relayed.Event, again) {
			continue
		}
		items[i] = it
		if p.ids != nil {
			named = append(named, cloudapi.NamedMessages(l.Event)...)
		}
		if number, ok := message.Number(it.relayed.ID); ok && p.needsRecord(it) && number == l.Event.Number {
			ids = append(ids, it.relayed.ID)
		}
	}
	var ours map[string]string
	if p.ids != nil {
		if ours, err = p.ids.exchange(ctx, shard, seen, named); err != nil {
			return nil, fmt.Errorf("find messages by Meta's ids: %w", err)
		}
	}
	var found map[string]Record
	if len(ids) > 0 {
		slices.Sort(ids)
		if found, err = p.records(ctx, shard, slices.Compact(ids)); err != nil {
			return nil, fmt.Errorf("read the records of relayed messages: %w", err)
		}
	}
	for i, it := range items {
		if it == nil {
			continue
		}
		r, ok := found[it.relayed.ID]
		if ok {
			p.know(it, r)
		}
		it.relayed.Ours = ours
		if !p.wantsRest(filter, it, again) {
			items[i] = nil
		}
	}
	return items, nil
}

// item returns the item of an event without what its record says.
func (p preparer) item(l events.Line, accounts map[string]string) *item {
	ms, _ := splitEntry(l.Place.Entry)
	it := &item{line: l, written: time.UnixMilli(ms), relayed: cloudapi.Relayed{Event: l.Event}}
	e := &it.relayed.Event
	e.WABA = cmp.Or(e.WABA, accounts[e.Number])
	if p.target.Format == message.RelayMeta && e.Display == "" && e.Number != "" {
		e.Display = p.display(e.Number)
	}
	switch {
	case e.Message != nil:
		it.relayed.ID, it.relayed.Message = e.Message.ID, *e.Message
		if e.Type == message.EventFinal && p.target.Format == message.RelayMeta {
			it.relayed.Ended = undelivered(l.Event.Final)
		}
	case e.OptOut != nil:
		it.relayed.Message.Client = e.OptOut.Client
	case e.Report != nil:
		if id, _, _, ok := p.mark(e.Report.Marker); ok {
			it.relayed.ID = id
		}
	}
	it.group = groupOf(it.relayed)
	it.alone = cloudapi.RelaysWhole(*e)
	return it
}

// groupOf returns the group of an event. Each message has one, each sender of inbound messages, and the updates of each
// number or account.
func groupOf(r cloudapi.Relayed) string {
	e := r.Event
	switch {
	case r.ID != "":
		return "m" + r.ID
	case e.Report != nil && e.Report.WAMID != "":
		return "w" + e.Report.WAMID
	case e.Type == message.EventInbound || e.Type == message.EventStandby && cloudapi.Sender(e) != "":
		return "i" + e.Number + " " + cloudapi.Sender(e)
	}
	return "u" + cmp.Or(e.Number, e.WABA)
}

// undelivered returns how a message ended that Meta never took; nil for a message that Meta took: Meta's own statuses
// are relayed.
func undelivered(f *message.Final) *cloudapi.Undelivered {
	if f == nil || f.Result != message.ResultNotDelivered || f.State == message.Failed || f.Reason == message.ReasonReported {
		return nil
	}
	return &cloudapi.Undelivered{State: f.State, Reason: f.Reason, Code: f.Code, Text: f.Text}
}

// filter returns the filter of the target.
func (p preparer) filter() events.Filter {
	f := events.Filter{Numbers: p.target.Numbers, WABAs: p.target.Accounts, Tags: p.target.Tags, Types: p.target.Types, Client: p.target.Client}
	if f.Client != "" {
		own, shared := p.clients(f.Client)
		f.Shared, f.Numbers = shared, slices.DeleteFunc(slices.Clone(own), func(number string) bool { return len(f.Numbers) > 0 && !slices.Contains(f.Numbers, number) })
		if len(f.Numbers) == 0 {
			f.Numbers = []string{"none"} // an empty list would select all
		}
	}
	if p.target.Format == message.RelayMeta && slices.Contains(f.Types, message.EventStatus) {
		f.Types = append(slices.Clip(f.Types), message.EventFinal) // it becomes a status
	}
	return f
}

// wants reports whether an event is for the target, as far as it is known without its tags. The event has the account of its
// number. again: see prepare.
func (p preparer) wants(f events.Filter, e *message.Event, again bool) bool {
	if e.Gap != nil && e.Gap.Target != "" {
		return p.wantsOwn(e)
	}
	if again && e.WABA == "" {
		f.WABAs = nil
	}
	return (p.target.Format != message.RelayMeta || hasMetaForm(e)) && f.Selects(e, nil)
}

// wantsOwn reports whether an event about the target itself is for it: its type decides alone.
func (p preparer) wantsOwn(e *message.Event) bool {
	return p.target.Format == message.RelaySluice && events.Filter{Types: p.target.Types}.Selects(e, nil)
}

// hasMetaForm reports whether an event may have a form of Meta's.
func hasMetaForm(e *message.Event) bool {
	switch e.Type {
	case message.EventMessage, message.EventSuppression, message.EventGap:
		return false
	}
	return true
}

// needsRecord reports whether the record of the message says more than the event.
func (p preparer) needsRecord(it *item) bool {
	if it.relayed.Event.Message != nil {
		return it.relayed.Ended != nil // for the recipient
	}
	return p.target.Format == message.RelayMeta || len(p.target.Tags) > 0 || p.target.Client != ""
}

// know adds what the record of its message says, unless the record is of a later message with the same id.
func (p preparer) know(it *item, r Record) {
	if it.relayed.Ended != nil {
		it.relayed.Ended.Recipient = r.Recipient
		return
	}
	if _, _, accepted, _ := p.mark(it.line.Event.Report.Marker); accepted == 0 || accepted == r.Accepted {
		it.relayed.Message = r.Context
	}
}

// wantsRest reports whether the filter selects the tags of an event, and whether there is anything to relay of it. again:
// see prepare.
func (p preparer) wantsRest(f events.Filter, it *item, again bool) bool {
	if it.relayed.Event.Type == message.EventFinal && p.target.Format == message.RelayMeta && it.relayed.Ended == nil {
		return false
	}
	unknown := it.relayed.ID != "" && it.relayed.Message.ID == ""
	return again && unknown || f.SelectsMessage(it.relayed.Event.Number, it.relayed.Message)
}

// body returns the body of a request with items.
func body(t message.RelayTarget, items []*item) []byte {
	if t.Format == message.RelayMeta {
		all := make([]cloudapi.Relayed, len(items))
		for i, it := range items {
			all[i] = it.relayed
		}
		return cloudapi.AppendWebhook(nil, all, t.MessageIDs == message.RelaySluice)
	}
	b := []byte(`{"events":[`)
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, it.line.Text...)
	}
	return append(b, "]}"...)
}

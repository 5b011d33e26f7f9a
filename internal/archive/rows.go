package archive

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/events"
	"sluice/internal/message"
)

// rows are rows of the archive as columns. An empty text and a zero become NULL.
type rows struct {
	at                                               []time.Time
	seq, code, recipient, metaID                     []int64
	stream, line                                     []int16
	attempt                                          []int32
	kind, number, id, state, result, reason          []string
	class, typ, template, ref, tags, region, account []string
	category, pricingType                            []string
	billable                                         []bool

	accepted   map[string]int // the row of the acceptance, by id
	unreadable int            // entries with a part that is no event
	gaps       int            // how often Redis dropped events before
}

func (r *rows) len() int { return len(r.at) }

// row is one row before it is divided into columns.
type row struct {
	events.GroupEntry
	line                                    int
	kind, number, id, state, result, reason string
	attempt, code                           int
	class, typ, template, ref               string
	tags                                    []string
	recipient, region, account, metaID      string
	priced                                  cloudapi.Priced
}

// isAcceptance reports whether an event is the first one of a message, or of a message that an operator sends again.
func isAcceptance(e message.Event) bool {
	return e.State != nil && e.State.To == message.Queued && e.State.Attempt == 0 && e.State.Code == 0 && e.State.Reason == ""
}

// message adds a message event or a final event.
func (r *rows) message(e events.GroupEntry, line int, ev message.Event) {
	m := ev.Message
	v := row{GroupEntry: e, line: line, kind: ev.Type, number: m.From, id: m.ID}
	if f := ev.Final; f != nil {
		v.state, v.result, v.reason, v.code = string(f.State), string(f.Result), f.Reason, f.Code
	} else {
		v.state, v.reason, v.code, v.attempt = string(ev.State.To), ev.State.Reason, ev.State.Code, ev.State.Attempt
	}
	if isAcceptance(ev) {
		v.class, v.typ, v.template, v.ref, v.tags = string(m.Class), m.Type, m.Template, m.Ref, m.Tags
		if r.accepted == nil {
			r.accepted = map[string]int{}
		}
		r.accepted[m.ID] = r.len()
	}
	r.add(v)
}

// status adds a status. id is Sluice's id of the message, and recipient and metaID are hashes.
func (r *rows) status(e events.GroupEntry, line int, ev message.Event, id string, p cloudapi.Priced, recipient, metaID string) {
	r.add(row{
		GroupEntry: e, line: line, kind: message.EventStatus, number: ev.Report.Number, id: id, state: ev.Report.Status, code: ev.Report.Code,
		recipient: recipient, region: regionOf(p.Recipient), account: ev.WABA, metaID: metaID, priced: p,
	})
}

// recipients adds the recipients of accepted messages.
func (r *rows) recipients(known map[string]Recipient) {
	for id, to := range known {
		if i, is := r.accepted[id]; is {
			r.recipient[i], r.region[i] = number(to.Hash), regionOf(to.Text)
		}
	}
}

func (r *rows) add(v row) {
	ms, seq, _ := strings.Cut(v.ID, "-")
	at, _ := strconv.ParseInt(ms, 10, 64) // Redis made the id
	n, _ := strconv.ParseInt(seq, 10, 64)
	tags := ""
	if len(v.tags) > 0 {
		cleaned := make([]string, len(v.tags))
		for i, tag := range v.tags {
			cleaned[i] = clean(tag)
		}
		text, _ := json.Marshal(cleaned) // strings: cannot fail
		tags = string(text)
	}
	r.at, r.seq, r.stream, r.line = append(r.at, time.UnixMilli(at)), append(r.seq, n), append(r.stream, streamNumber(v.GroupEntry)), append(r.line, int16(v.line))
	r.kind, r.number, r.id = append(r.kind, v.kind), append(r.number, clean(v.number)), append(r.id, clean(v.id))
	r.state, r.result, r.reason = append(r.state, clean(v.state)), append(r.result, v.result), append(r.reason, clean(v.reason))
	r.attempt, r.code = append(r.attempt, int32(v.attempt)), append(r.code, int64(v.code))
	r.class, r.typ, r.template = append(r.class, v.class), append(r.typ, clean(v.typ)), append(r.template, clean(v.template))
	r.ref, r.tags = append(r.ref, clean(v.ref)), append(r.tags, tags)
	r.recipient, r.region = append(r.recipient, number(v.recipient)), append(r.region, clean(v.region))
	r.account, r.metaID = append(r.account, clean(v.account)), append(r.metaID, number(v.metaID))
	r.category, r.pricingType = append(r.category, clean(v.priced.Category)), append(r.pricingType, clean(v.priced.Type))
	r.billable = append(r.billable, v.priced.Billable)
}

// clean replaces the character that PostgreSQL does not store.
func clean(text string) string { return strings.ReplaceAll(text, "\x00", "?") }

// streamNumber returns the number of an event stream in the archive: 2 x shard, plus 1 for what Meta reported.
func streamNumber(e events.GroupEntry) int16 {
	n := int16(2 * e.Shard)
	if e.Meta {
		n++
	}
	return n
}

// number returns a hash of 8 bytes as a number; 0: there is none.
func number(hash string) int64 {
	if len(hash) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64([]byte(hash)))
}

// HashRecipient returns the hash of a recipient, as records have it; empty: there is no recipient.
func HashRecipient(hash func(string) string, recipient string) string {
	if recipient = strings.TrimPrefix(recipient, "+"); recipient == "" {
		return ""
	}
	return hash(recipient)
}

// regionOf returns what decides about the price: the first four digits of a phone number, or the country of a business-scoped
// user id (DE.1234).
func regionOf(recipient string) string {
	recipient = strings.TrimPrefix(recipient, "+")
	if country, _, scoped := strings.Cut(recipient, "."); scoped && len(country) == 2 {
		return country
	}
	return recipient[:min(len(recipient), 4)]
}

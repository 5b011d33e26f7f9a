package cloudapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"sluice/internal/message"
)

// Relayed is an event that is relayed in Meta's form.
type Relayed struct {
	Event message.Event
	// ID is our id of the message of a status, by its marker; empty: another program sent the message. Message is what
	// its record says, and may be zero.
	ID      string
	Message message.Context
	// Ended is set for a message that ended before Meta took it: a status failed of it is relayed.
	Ended *Undelivered
	// Ours has our ids of the messages that an inbound message names, by Meta's.
	Ours map[string]string
}

// Undelivered is how a message ended that Meta never took.
type Undelivered struct {
	Recipient string        // phone number or user id; empty: unknown
	State     message.State // rejected, expired, ...
	Reason    string        // a short constant word
	Code      int           // Meta's error code; 0: none
	Text      string        // in words
}

// aboutMessage is the member sluice of a relayed status.
type aboutMessage struct {
	ID       string   `json:"id"`
	Ref      string   `json:"ref,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	Callback string   `json:"callback_data,omitempty"`
	Trace    string   `json:"traceparent,omitempty"`

	State  message.State `json:"state,omitempty"` // of a message that Meta never took
	Reason string        `json:"reason,omitempty"`
}

func (r Relayed) about() aboutMessage {
	a := aboutMessage{ID: r.ID, Ref: r.Message.Ref, Tags: r.Message.Tags, Callback: r.Message.Callback, Trace: r.Message.Trace}
	if r.Ended != nil {
		a.State, a.Reason = r.Ended.State, r.Ended.Reason
	}
	return a
}

// RelaysWhole reports whether an event is a whole webhook, parts of which could not be read. AppendWebhook relays it
// alone.
func RelaysWhole(e message.Event) bool {
	return e.Type == message.EventUpdate && e.Field == "" && e.WABA == "" && len(e.Meta) > 0 && e.Meta[0] == '{'
}

// AppendWebhook appends a webhook in Meta's form with events: statuses, inbound messages, items of other apps, updates and ended messages.
// Statuses and messages of the same number that follow each other share an entry, as Meta sends them. ourIDs: the ids of
// messages that Sluice sent are ours, not Meta's.
func AppendWebhook(b []byte, events []Relayed, ourIDs bool) []byte {
	if len(events) == 1 && RelaysWhole(events[0].Event) {
		return appendASCII(b, events[0].Event.Meta)
	}
	return appendASCII(b, webhook(nil, events, ourIDs))
}

func webhook(b []byte, events []Relayed, ourIDs bool) []byte {
	b = append(b, `{"object":"`+whatsappObject+`","entry":[`...)
	for i := 0; i < len(events); {
		same := 1
		for i+same < len(events) && shareEntry(events[i], events[i+same]) {
			same++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEntry(b, events[i:i+same], ourIDs)
		i += same
	}
	return append(b, "]}"...)
}

// isItem reports whether an event is an item of the fields messages or standby.
func (r Relayed) isItem() bool {
	switch r.Event.Type {
	case message.EventStatus, message.EventInbound, message.EventStandby:
		return true
	}
	return r.Ended != nil
}

func shareEntry(a, b Relayed) bool {
	x, y := a.Event, b.Event
	return a.isItem() && b.isItem() && x.WABA == y.WABA && x.Number == y.Number && x.Display == y.Display && x.Field == y.Field
}

// appendEntry appends an entry with one change.
func appendEntry(b []byte, events []Relayed, ourIDs bool) []byte {
	e := events[0].Event
	b = jsonMember(append(b, '{'), "id", e.WABA)
	if !events[0].isItem() {
		b = strconv.AppendInt(append(b, `,"time":`...), e.At/1000, 10)
		b = append(b, `,"changes":[{"value":`...)
		if len(e.Meta) > 0 {
			b = append(b, e.Meta...)
		} else {
			b = append(b, "null"...)
		}
		return append(jsonMember(append(b, ','), "field", e.Field), "}]}"...)
	}
	b = append(b, `,"changes":[{"value":{"messaging_product":"whatsapp","metadata":{`...)
	b = jsonMember(append(jsonMember(b, "display_phone_number", e.Display), ','), "phone_number_id", e.Number)
	b = append(b, '}')
	var contacts, statuses, messages, echoes list
	for _, r := range events {
		var p parts
		switch {
		case r.Ended != nil:
			statuses.add(failedStatus(r))
		case r.Event.Type == message.EventStatus:
			for contact := range p.elements(r.Event.Contacts) {
				contacts.addNew(contact)
			}
			statuses.add(ourStatus(r, ourIDs))
		default:
			for name, raw := range p.members(r.Event.Meta) {
				switch string(name) {
				case "message":
					messages.add(withOurIDs(raw, r.Ours))
				case "contact":
					contacts.addNew(raw)
				case "status":
					for contact := range p.elements(r.Event.Contacts) {
						contacts.addNew(contact)
					}
					statuses.add(raw)
				case "message_echo":
					echoes.add(raw)
				}
			}
		}
	}
	items := echoes.append(messages.append(statuses.append(contacts.append(nil, "contacts"), "statuses"), "messages"), "message_echoes")
	if e.Field == standbyField && len(items) > 0 {
		items = append(append([]byte(`,"standby":{`), items[1:]...), '}')
	}
	b = append(b, items...)
	return append(jsonMember(append(b, `},`...), "field", cmp.Or(e.Field, messagesField)), "}]}"...)
}

// list is the elements of an array.
type list []json.RawMessage

func (l *list) add(raw json.RawMessage) { *l = append(*l, raw) }

// addNew adds an element that is not there.
func (l *list) addNew(raw json.RawMessage) {
	for _, other := range *l {
		if string(other) == string(raw) {
			return
		}
	}
	l.add(raw)
}

// append appends the member unless it is empty.
func (l list) append(b []byte, name string) []byte {
	if len(l) == 0 {
		return b
	}
	b = append(b, `,"`+name+`":[`...)
	for i, raw := range l {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, raw...)
	}
	return append(b, ']')
}

// ourStatus returns a status of Meta's with the member sluice and the caller's own callback data in place of our marker. A
// status of a message that another program sent stays as it is.
func ourStatus(r Relayed, ourIDs bool) json.RawMessage {
	if r.ID == "" {
		return r.Event.Meta
	}
	b := []byte{'{'}
	var p parts
	for name, raw := range p.members(r.Event.Meta) {
		switch string(name) {
		case "biz_opaque_callback_data", "sluice":
			continue
		case "id":
			if ourIDs {
				raw = jsonText(r.ID)
			}
		}
		b = append(append(append(b, jsonText(string(name))...), ':'), raw...)
		b = append(b, ',')
	}
	return appendOurs(b, r)
}

// appendOurs appends the members that Sluice adds to a status, and its end.
func appendOurs(b []byte, r Relayed) []byte {
	if r.Message.Callback != "" {
		b = append(jsonMember(b, "biz_opaque_callback_data", r.Message.Callback), ',')
	}
	about, _ := json.Marshal(r.about()) // strings: cannot fail
	return append(append(append(b, `"sluice":`...), about...), '}')
}

// naming has the members of an inbound message that name another message, each with the member that has its id.
var naming = map[string]string{"context": "id", "reaction": "message_id"}

// NamedMessages returns Meta's ids of the messages that an inbound message names: the one that it replies to, and the one
// that it reacts to.
func NamedMessages(e message.Event) (wamids []string) {
	if e.Type != message.EventInbound {
		return nil
	}
	var p parts
	for part, raw := range p.members(e.Meta) {
		if string(part) != "message" {
			continue
		}
		for member, inner := range p.members(raw) {
			if naming[string(member)] == "" {
				continue
			}
			for name, id := range p.members(inner) {
				if string(name) == naming[string(member)] && id[0] == '"' {
					wamids = append(wamids, string(unquote(id)))
				}
			}
		}
	}
	return wamids
}

// withOurIDs returns an inbound message with our ids in place of Meta's, where it names messages that Sluice sent.
func withOurIDs(inbound json.RawMessage, ours map[string]string) json.RawMessage {
	if len(ours) == 0 {
		return inbound
	}
	return changed(inbound, func(member string, inner json.RawMessage) json.RawMessage {
		if naming[member] == "" {
			return inner
		}
		return changed(inner, func(name string, id json.RawMessage) json.RawMessage {
			if name == naming[member] && id[0] == '"' {
				if our := ours[string(unquote(id))]; our != "" {
					return jsonText(our)
				}
			}
			return id
		})
	})
}

// changed returns an object with the values that f returns for its members. Another value stays as it is.
func changed(object json.RawMessage, f func(name string, value json.RawMessage) json.RawMessage) json.RawMessage {
	if object[0] != '{' {
		return object
	}
	b := []byte{'{'}
	var p parts
	for name, value := range p.members(object) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, jsonText(string(name))...), ':'), f(string(name), value)...)
	}
	return append(b, '}')
}

// failedStatus returns a status failed of a message that Meta never took. It has no id of Meta's, so it has ours.
func failedStatus(r Relayed) json.RawMessage {
	u := r.Ended
	b := append(jsonMember([]byte{'{'}, "id", r.ID), `,"status":"failed",`...)
	b = append(jsonMember(b, "timestamp", strconv.FormatInt(time.UnixMilli(r.Event.At).Unix(), 10)), ',')
	switch digits := strings.TrimPrefix(u.Recipient, "+"); {
	case digits == "":
	case message.IsNumberID(digits):
		b = append(jsonMember(b, "recipient_id", digits), ',')
	default:
		b = append(jsonMember(b, "recipient_user_id", u.Recipient), ',')
	}
	type data struct {
		Details string `json:"details"`
	}
	code := cmp.Or(u.Code, codeUnknown)
	known, _ := Lookup(code)
	errs, _ := json.Marshal([]struct {
		Code    int    `json:"code"`
		Title   string `json:"title"`
		Message string `json:"message"`
		Data    data   `json:"error_data"`
	}{{code, known.Title, known.Title, data{u.Text}}}) // strings: cannot fail
	b = append(append(append(b, `"errors":`...), errs...), ',')
	return appendOurs(b, r)
}

// codeUnknown is Meta's code for a message that failed for a reason without a code of its own.
const codeUnknown = 131000

// Sender returns who wrote an inbound message: a phone number, or a business-scoped user id. It may be empty.
func Sender(e message.Event) string {
	var p parts
	for name, raw := range p.members(e.Meta) {
		if string(name) == "message" {
			from := p.person(raw, "from", "from_user_id")
			return cmp.Or(from.number, from.user)
		}
	}
	return ""
}

// appendASCII appends JSON with escapes in place of characters that are not ASCII, as Meta sends and signs it. Some
// receivers compute the signature of a text that they have escaped in this way.
func appendASCII(b, text []byte) []byte {
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			b = append(b, text[i])
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		} else {
			b = fmt.Appendf(b, `\u%04x`, r)
		}
		i += size
	}
	return b
}

func jsonText(s string) json.RawMessage {
	text, _ := json.Marshal(s) // cannot fail for a string
	return text
}

func jsonMember(b []byte, name, value string) []byte {
	return append(append(append(append(b, '"'), name...), `":`...), jsonText(value)...)
}

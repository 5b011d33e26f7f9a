package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// Limits of one entry. An entry with a single event may be larger.
const (
	entryEvents = 100
	entryBytes  = 512 << 10
)

// encode appends an event as one line of JSON, in the current version of the schema. It copies the members contacts
// and meta, which are already JSON and most of the text.
func encode(b []byte, e message.Event) ([]byte, error) {
	contacts, meta := e.Contacts, e.Meta
	e.Version, e.Contacts, e.Meta = message.EventVersion, nil, nil
	b, err := encodeOwn(b, e)
	if err != nil {
		return b, err
	}
	return rawMember(rawMember(b, `,"contacts":`, contacts), `,"meta":`, meta), nil
}

// rawMember adds a member to the object at the end of b, unless it is empty. Its value is JSON already.
func rawMember(b []byte, name string, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	b = append(b[:len(b)-1], name...)
	start := len(b)
	b = append(append(b, value...), '}')
	// Line breaks in JSON are white space between tokens, because strings escape them. Replace them by spaces.
	for rest := b[start:]; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return b
		}
		rest[i] = ' '
		rest = rest[i+1:]
	}
}

// encodeOwn appends all members but contacts and meta, as encoding/json writes them. It has a faster path for statuses, which
// are most of the events.
func encodeOwn(b []byte, e message.Event) ([]byte, error) {
	if e.State != nil || e.Message != nil || e.Gap != nil || e.Handover != nil || e.OptOut != nil {
		text, err := json.Marshal(e)
		return append(b, text...), err
	}
	b = strconv.AppendInt(append(b, `{"v":`...), int64(e.Version), 10)
	b = quote(append(b, `,"type":`...), e.Type)
	b = strconv.AppendInt(append(b, `,"at":`...), e.At, 10)
	b = member(b, `,"phone_number_id":`, e.Number)
	b = member(b, `,"display_phone_number":`, e.Display)
	b = member(b, `,"waba_id":`, e.WABA)
	b = member(b, `,"field":`, e.Field)
	if r := e.Report; r != nil {
		b = quote(append(b, `,"report":{"phone_number_id":`...), r.Number)
		b = quote(append(b, `,"wamid":`...), r.WAMID)
		b = quote(append(b, `,"status":`...), r.Status)
		if !r.At.IsZero() {
			var err error
			if b, err = r.At.AppendText(append(b, `,"at":"`...)); err != nil {
				return b, err
			}
			b = append(b, '"')
		}
		b = member(b, `,"marker":`, r.Marker)
		if r.Code != 0 {
			b = strconv.AppendInt(append(b, `,"code":`...), int64(r.Code), 10)
		}
		if r.Detail != (message.ErrorDetail{}) {
			text, err := json.Marshal(r.Detail)
			if err != nil {
				return b, err
			}
			b = append(append(b, `,"error":`...), text...)
		}
		b = member(b, `,"type":`, r.Type)
		b = member(b, `,"participant":`, r.Participant)
		b = append(b, '}')
	}
	return append(b, '}'), nil
}

// member appends a member unless it is empty.
func member(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return quote(append(b, name...), value)
}

func quote(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // cannot fail for a string
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// entry is an entry of a stream.
type entry struct {
	id     string
	events []message.Event
	lines  []string       // the texts of the events
	bad    []string       // lines that are not events
	values map[string]any // all fields of an entry that lacks Field, and cannot be read
	newer  int            // the version of an event that only later programs can read; 0: there is none
}

// whole reports whether all of the entry could be read.
func (e entry) whole() bool { return e.values == nil && len(e.bad) == 0 && e.newer == 0 }

func parse(x redis.XMessage) entry {
	e := entry{id: x.ID}
	text, _ := x.Values[Field].(string)
	if text == "" {
		e.values = x.Values
		return e
	}
	for line := range strings.SplitSeq(text, "\n") {
		ev, err := message.DecodeEvent([]byte(line))
		if err != nil {
			e.bad = append(e.bad, line)
			continue
		}
		if ev.Version > message.EventVersion {
			e.newer = ev.Version
		}
		e.events, e.lines = append(e.events, ev), append(e.lines, line)
	}
	return e
}

// Decode returns the events of an entry. It returns an error if parts of the entry cannot be read, with the
// events of the other parts.
func Decode(x redis.XMessage) ([]message.Event, error) {
	e := parse(x)
	if !e.whole() {
		return e.events, fmt.Errorf("entry %s: parts of it are not events", x.ID)
	}
	return e.events, nil
}

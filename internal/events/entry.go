package events

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// Limits of one entry. One event may be larger alone.
const (
	entryEvents = 100
	entryBytes  = 512 << 10
)

// encode writes an event as one line of JSON. Meta goes in as it is: it is JSON already, and the
// most of it.
func encode(e message.Event) ([]byte, error) {
	e.Version = cmp.Or(e.Version, message.EventVersion)
	meta := e.Meta
	e.Meta = nil
	text, err := json.Marshal(e)
	if err != nil || len(meta) == 0 {
		return text, err
	}
	text = append(text[:len(text)-1], `,"meta":`...)
	start := len(text)
	text = append(append(text, meta...), '}')
	// In JSON a line break is space between tokens: within a string it is escaped.
	for i := bytes.IndexByte(text[start:], '\n'); i >= 0; i = bytes.IndexByte(text[start:], '\n') {
		text[start+i] = ' '
	}
	return text, nil
}

// entry is an entry of a stream.
type entry struct {
	id     string
	events []message.Event
	lines  []string       // the events as they were read
	bad    []string       // lines that are no events
	values map[string]any // of an entry without the field: nothing of it can be read
}

// whole tells whether everything in the entry can be read.
func (e entry) whole() bool { return e.values == nil && len(e.bad) == 0 }

func parse(x redis.XMessage) entry {
	e := entry{id: x.ID}
	text, _ := x.Values[message.EventsField].(string)
	if text == "" {
		e.values = x.Values
		return e
	}
	for line := range strings.SplitSeq(text, "\n") {
		var ev message.Event
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			e.bad = append(e.bad, line)
			continue
		}
		e.events, e.lines = append(e.events, ev), append(e.lines, line)
	}
	return e
}

// Decode returns the events of an entry. The error says that not all of it can be read.
func Decode(x redis.XMessage) ([]message.Event, error) {
	e := parse(x)
	if !e.whole() {
		return e.events, fmt.Errorf("entry %s: not all of it is events", x.ID)
	}
	return e.events, nil
}

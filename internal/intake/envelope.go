package intake

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sluice/internal/message"
)

// What an envelope may hold, beside Meta's limits on the message in it.
const (
	maxKey   = 255 // bytes, printable ASCII
	maxRef   = 255 // code points
	maxTags  = 10
	maxTag   = 64 // code points
	maxAhead = 90 * 24 * time.Hour
)

// maxProblems bounds an answer, as message.Parse does its part of it.
const maxProblems = 20

// members are those of a request.
var members = []string{"from", "message", "class", "key", "ref", "tags", "send_at", "expires_at"}

// envelope reads a request member by member and collects its problems. A member that is
// null is as good as absent.
type envelope struct {
	document
	problems refusal
}

func open(d document) *envelope {
	e := &envelope{document: d}
	var unknown []string
	for name := range e.members {
		if !slices.Contains(members, name) {
			unknown = append(unknown, pathName(name))
		}
	}
	slices.Sort(unknown)
	for _, name := range slices.Compact(unknown) {
		e.refuse(name, "field_unknown")
	}
	return e
}

// order reads the message a caller asked for, all but what depends on the time of asking.
// key is his Idempotency-Key header.
func (e *envelope) order(key *string) message.Message {
	m := message.Message{
		From:      e.from(),
		Class:     message.Class(e.text("class")),
		Key:       e.key(key),
		Ref:       e.text("ref"),
		Tags:      e.tags(),
		SendAt:    e.time("send_at"),
		ExpiresAt: e.time("expires_at"),
		Payload:   e.message,
	}
	if m.Class != "" && !m.Class.Valid() {
		e.refuse("class", "class_unknown")
	}
	if e.members["ref"] != nil && !label(m.Ref, maxRef) {
		e.refuse("ref", "ref_invalid")
	}
	if !m.ExpiresAt.IsZero() && !m.SendAt.Before(m.ExpiresAt) {
		e.refuse("send_at", "schedule_after_ttl")
	}
	e.content(&m)
	return m
}

func (e *envelope) refuse(path, code string) { e.add(problem(path, code)) }

func (e *envelope) add(p message.Problem) {
	if len(e.problems) < maxProblems {
		e.problems = append(e.problems, p)
	}
}

// content reads Meta's object.
func (e *envelope) content(m *message.Message) {
	object := e.members["message"]
	if object == nil {
		e.refuse("message", "message_missing")
		return
	}
	var problems []message.Problem
	m.Content, problems = message.ParseDecoded(object)
	for _, p := range problems {
		p.Path = strings.TrimSuffix("message."+p.Path, ".")
		e.add(p)
	}
	m.Callback = m.Content.Callback
}

// text returns a string member, empty when there is none or it is something else.
func (e *envelope) text(name string) string {
	s, ok := e.members[name].(string)
	if !ok && e.members[name] != nil {
		e.refuse(name, "type_mismatch")
		delete(e.members, name)
	}
	return s
}

func (e *envelope) from() string {
	given := e.members["from"] != nil
	from := e.text("from")
	switch {
	case !given:
		e.refuse("from", "from_missing")
	case e.members["from"] != nil && !message.IsNumberID(from):
		e.refuse("from", "from_invalid")
	}
	return from
}

// key returns the idempotency key, which may come as a header, as a member, or as both.
func (e *envelope) key(header *string) string {
	key := e.text("key")
	if e.members["key"] != nil {
		e.checkKey("key", key)
		if header != nil && *header != key {
			e.refuse("key", "idempotency_key_mismatch")
		}
		return key
	}
	if header == nil {
		return ""
	}
	e.checkKey("Idempotency-Key", *header)
	return *header
}

func (e *envelope) checkKey(path, key string) {
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	if key == "" || len(key) > maxKey || strings.ContainsFunc(key, odd) {
		e.refuse(path, "idempotency_key_invalid")
	}
}

func (e *envelope) tags() (tags []string) {
	list, ok := e.members["tags"].([]any)
	if !ok && e.members["tags"] != nil {
		e.refuse("tags", "type_mismatch")
	}
	if len(list) > maxTags {
		e.refuse("tags", "tags_too_many")
		return nil
	}
	for i, value := range list {
		tag, ok := value.(string)
		if path := "tags[" + strconv.Itoa(i) + "]"; !ok {
			e.refuse(path, "type_mismatch")
		} else if !label(tag, maxTag) {
			e.refuse(path, "tag_invalid")
		}
		tags = append(tags, tag)
	}
	return tags
}

// label tells whether s can name something: it is there, it is short, and it can do no harm
// on a terminal.
func label(s string, most int) bool {
	return s != "" && utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, unicode.IsControl)
}

// time returns a time to the millisecond, which is what records keep; zero when there is none.
func (e *envelope) time(name string) (t time.Time) {
	s := e.text(name)
	if e.members[name] == nil {
		return time.Time{}
	}
	if t.UnmarshalText([]byte(s)) != nil || t.Unix() < 0 {
		e.refuse(name, "time_invalid")
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

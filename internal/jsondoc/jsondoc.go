// Package jsondoc reads a JSON text once, and strictly: it refuses what JSON readers understand
// in different ways, so that Meta reads in a message what we read in it. encoding/json passes
// members that come twice, and text that is not Unicode. A Doc keeps where each value lies in
// the text, so checking, hashing and writing a part of it again need no second pass.
package jsondoc

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may be nested.
const MaxDepth = 64

// Codes of what a text is refused for. They are codes of the API.
const (
	Empty           = "body_empty"
	Invalid         = "json_invalid"
	TrailingData    = "json_trailing_data"
	DuplicateMember = "json_duplicate_member"
	TooDeep         = "json_too_deep"
	InvalidUTF8     = "utf8_invalid"
	ForbiddenChar   = "char_not_allowed" // U+0000
)

// Error is why a text was refused. It never repeats the text, except plain names of members in
// the path.
type Error struct {
	Code string
	Path string // where: "message.template.components[1]"; empty: the text as a whole
}

// Error returns the code and the path.
func (e *Error) Error() string { return strings.TrimSpace(e.Code + " " + e.Path) }

// at puts a step before the path: "message" before "text.body", "tags" before "[0]".
func (e *Error) at(step string) *Error {
	if e.Path != "" && e.Path[0] != '[' {
		step += "."
	}
	e.Path = step + e.Path
	return e
}

// Doc is one JSON text that was read. A Doc can be read into again, which makes all Values of
// the text before invalid; strings that came from it stay good. The zero value is ready to use.
type Doc struct {
	text    string
	entries []entry  // each value before those in it
	decoded []string // strings that were written with escapes, or set by a caller
	spaced  bool     // there is white space between values
}

// entry is a value, with its name if it is a member.
type entry struct {
	kind  Kind
	name  span
	value span  // with the quotes of a string; empty: set by a caller
	text  span  // of a string: what it reads as
	after int32 // the entry behind the value and all that is in it
	count int32 // of members or elements
}

// span is a piece of the text; with an end below zero, the decoded string of that number.
type span struct{ start, end int32 }

func (d *Doc) read(s span) string {
	if s.end < 0 {
		return d.decoded[s.start]
	}
	return d.text[s.start:s.end]
}

// keep returns the span of a string that does not stand in the text.
func (d *Doc) keep(s string) span {
	d.decoded = append(d.decoded, s)
	return span{int32(len(d.decoded) - 1), -1}
}

// maxKept is how many values of a text a Doc keeps the memory of for the next one: far more than
// any message has.
const maxKept = 4096

// Reset empties d and lets go of the text.
func (d *Doc) Reset() {
	clear(d.decoded)
	d.text, d.entries, d.decoded, d.spaced = "", d.entries[:0], d.decoded[:0], false
	if cap(d.entries) > maxKept {
		d.entries = nil
	}
}

// Root returns the outermost value; a Value that is absent before anything was read.
func (d *Doc) Root() Value {
	if len(d.entries) == 0 {
		return Value{}
	}
	return Value{d, 0}
}

// Read reads a text of less than 2 GiB: one JSON value of any kind. On an error d is empty.
func (d *Doc) Read(text string) *Error {
	d.Reset()
	err := d.readAll(text)
	if err != nil {
		d.Reset()
	}
	return err
}

func (d *Doc) readAll(text string) *Error {
	if !utf8.ValidString(text) {
		return &Error{Code: InvalidUTF8}
	}
	d.text = text
	s := scanner{Doc: d}
	s.space()
	if s.at == len(text) {
		return &Error{Code: Empty}
	}
	err := s.value(span{}, 0)
	switch {
	case err != nil && err.Code == Invalid: // where it breaks is not always where the mistake is
		return &Error{Code: Invalid}
	case err != nil:
		return err
	}
	if s.space(); s.at < len(text) {
		return &Error{Code: TrailingData}
	}
	return nil
}

// scanner reads the text of a Doc from a place on.
type scanner struct {
	*Doc
	at int
}

// space steps over white space.
func (s *scanner) space() {
	for i := s.at; i < len(s.text); i++ {
		if c := s.text[i]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			s.spaced = s.spaced || i > s.at
			s.at = i
			return
		}
	}
	s.at = len(s.text)
}

// take steps over c, and the white space before it, if it is the next character.
func (s *scanner) take(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] <= ' ' {
		s.space()
	}
	if s.at == len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	return true
}

func invalid() *Error { return &Error{Code: Invalid} }

// value reads a value in so many objects and arrays, with its name if it is a member.
func (s *scanner) value(name span, depth int) *Error {
	if s.space(); s.at == len(s.text) {
		return invalid()
	}
	i := len(s.entries)
	start := int32(s.at)
	s.entries = append(s.entries, entry{name: name})
	e := entry{name: name}
	var err *Error
	switch s.text[s.at] {
	case '{':
		e.kind = Object
		e.count, err = s.members(depth + 1)
	case '[':
		e.kind = Array
		e.count, err = s.elements(depth + 1)
	case '"':
		e.kind = String
		e.text, err = s.string()
	default:
		e.kind, err = s.scalar()
	}
	e.value, e.after = span{start, int32(s.at)}, int32(len(s.entries))
	s.entries[i] = e
	return err
}

func (s *scanner) members(depth int) (n int32, err *Error) {
	if depth > MaxDepth {
		return 0, &Error{Code: TooDeep}
	}
	s.at++
	if s.take('}') {
		return 0, nil
	}
	first := len(s.entries)
	var seen map[string]bool // of an object with many members
	for {
		if !s.take('"') {
			return 0, invalid()
		}
		s.at--
		name, err := s.string()
		if err != nil {
			return 0, err
		}
		if seen, err = s.distinct(name, first, n, seen); err != nil {
			return 0, err
		}
		if !s.take(':') {
			return 0, invalid()
		}
		if err := s.value(name, depth); err != nil {
			return 0, err.at(PathName(s.read(name)))
		}
		n++
		if s.take('}') {
			return n, nil
		}
		if !s.take(',') {
			return 0, invalid()
		}
	}
}

// manyMembers is from how many members on a map looks for duplicates.
const manyMembers = 16

// distinct refuses a name that one of the n members before has.
func (s *scanner) distinct(name span, first int, n int32, seen map[string]bool) (map[string]bool, *Error) {
	text := s.read(name)
	if n < manyMembers {
		for i, left := int32(first), n; left > 0; i, left = s.entries[i].after, left-1 {
			if s.read(s.entries[i].name) == text {
				return nil, (&Error{Code: DuplicateMember}).at(PathName(text))
			}
		}
		return nil, nil
	}
	if seen == nil {
		seen = map[string]bool{}
		for i, left := int32(first), n; left > 0; i, left = s.entries[i].after, left-1 {
			seen[s.read(s.entries[i].name)] = true
		}
	}
	if seen[text] {
		return nil, (&Error{Code: DuplicateMember}).at(PathName(text))
	}
	seen[text] = true
	return seen, nil
}

func (s *scanner) elements(depth int) (n int32, err *Error) {
	if depth > MaxDepth {
		return 0, &Error{Code: TooDeep}
	}
	s.at++
	if s.take(']') {
		return 0, nil
	}
	for {
		if err := s.value(span{}, depth); err != nil {
			return 0, err.at("[" + strconv.Itoa(int(n)) + "]")
		}
		n++
		if s.take(']') {
			return n, nil
		}
		if !s.take(',') {
			return 0, invalid()
		}
	}
}

// PathName returns a member's name as a path shows it: "?" unless it is plain. We never send back
// what a caller made up.
func PathName(name string) string {
	if len(name) > 64 {
		return "?"
	}
	for i := range len(name) {
		if c := name[i]; c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return "?"
		}
	}
	return name
}

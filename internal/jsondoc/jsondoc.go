// Package jsondoc parses JSON strictly and in one pass. It refuses text that JSON parsers understand in
// different ways, so Meta reads the same message as Sluice. encoding/json, in contrast, accepts duplicate
// members and invalid Unicode. A Doc stores the position of each value in the text, so checking, hashing and
// copying parts of it need no second pass.
package jsondoc

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxDepth is the maximum nesting depth of objects and arrays.
const MaxDepth = 64

// The codes of an Error. They are problem codes of the API.
const (
	Empty           = "body_empty"
	Invalid         = "json_invalid"
	TrailingData    = "json_trailing_data"
	DuplicateMember = "json_duplicate_member"
	TooDeep         = "json_too_deep"
	InvalidUTF8     = "utf8_invalid"
	ForbiddenChar   = "char_not_allowed" // U+0000
)

// Error says why Read refused a text. It has nothing of the text except plain member names in the path.
type Error struct {
	Code string
	Path string // for example "message.template.components[1]"; empty: the whole text
}

// Error returns the code and the path.
func (e *Error) Error() string { return strings.TrimSpace(e.Code + " " + e.Path) }

// at adds a step at the start of the path: "message" before "text.body", "tags" before "[0]".
func (e *Error) at(step string) *Error {
	if e.Path != "" && e.Path[0] != '[' {
		step += "."
	}
	e.Path = step + e.Path
	return e
}

// Doc is a parsed JSON text. Reading another text into a Doc invalidates the Values of the text before;
// strings that they returned stay valid. The zero value is ready to use. A Doc is not safe for concurrent use.
type Doc struct {
	text    string
	entries []entry  // in the order of the text: a value comes before the values that it contains
	decoded []string // strings with escapes, and strings set by a caller
	spaced  bool     // the text has white space between values
}

// entry is a value, with its name if it is a member.
type entry struct {
	kind  Kind
	name  span
	value span  // with the quotes of a string; empty: set by a caller
	text  span  // of a string: its decoded text
	after int32 // the index of the first entry after the value and its contents
	count int32 // the number of members or elements
}

// span is a part of the text. With a negative end, start is an index of decoded.
type span struct{ start, end int32 }

func (d *Doc) read(s span) string {
	if s.end < 0 {
		return d.decoded[s.start]
	}
	return d.text[s.start:s.end]
}

// keep stores a decoded string and returns its span.
func (d *Doc) keep(s string) span {
	d.decoded = append(d.decoded, s)
	return span{int32(len(d.decoded) - 1), -1}
}

// maxKept is the capacity, in values, that a Doc reuses for its next text. It is far more than any message has.
const maxKept = 4096

// Reset empties d and releases the text.
func (d *Doc) Reset() {
	clear(d.decoded)
	d.text, d.entries, d.decoded, d.spaced = "", d.entries[:0], d.decoded[:0], false
	if cap(d.entries) > maxKept {
		d.entries = nil
	}
}

// Root returns the outermost value. It is absent if d is empty.
func (d *Doc) Root() Value {
	if len(d.entries) == 0 {
		return Value{}
	}
	return Value{d, 0}
}

// Read parses a text of less than 2 GiB: one JSON value of any kind. After an error d is empty.
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
	case err != nil && err.Code == Invalid: // without a path: the mistake is often at an earlier place
		return &Error{Code: Invalid}
	case err != nil:
		return err
	}
	if s.space(); s.at < len(text) {
		return &Error{Code: TrailingData}
	}
	return nil
}

// scanner parses the text of a Doc from position at.
type scanner struct {
	*Doc
	at int
}

// space skips white space.
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

// take skips white space, and then c. It is false if the next character is not c.
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

// value parses a value at a nesting depth, with its name if it is a member.
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
	var seen map[string]bool // used only for objects with many members
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

// manyMembers is the number of members from which a map finds duplicates.
const manyMembers = 16

// distinct refuses a name that one of the n earlier members has.
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

// PathName returns a member name for a path: the name if it is at most 64 ASCII letters, digits and
// underscores, else "?". Answers must not repeat arbitrary input.
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

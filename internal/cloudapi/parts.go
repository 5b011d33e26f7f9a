package cloudapi

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
)

// parts splits valid JSON into parts, without decoding or copying them. encoding/json would parse the contents of an
// object again at each level.
type parts struct {
	odd  bool  // a value was neither null nor absent nor of the expected type
	ends *ends // of the text of all parts; nil: each end is searched
}

// ends are the ends of the objects and arrays of a text, so that their contents are not read again at each level. The
// position of a part in the text follows from its capacity, which extends to the end of the text.
type ends struct {
	size  int // capacity of the text
	spans []span
}

// span is the offset and the length of an object or array.
type span struct{ at, length int }

// endsOf finds the ends of all objects and arrays of a text.
func endsOf(text []byte) *ends {
	e := &ends{size: cap(text), spans: make([]span, 0, 16)}
	var open []int // spans
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i += quoted(text[i:]) - 1
		case '{', '[':
			open = append(open, len(e.spans))
			e.spans = append(e.spans, span{at: i})
		case '}', ']':
			last := &e.spans[open[len(open)-1]]
			last.length = i + 1 - last.at
			open = open[:len(open)-1]
		}
	}
	return e
}

// length returns the length of the object or array at the start of b.
func (e *ends) length(b []byte) int {
	at := e.size - cap(b)
	i, _ := slices.BinarySearchFunc(e.spans, at, func(s span, at int) int { return s.at - at })
	return e.spans[i].length
}

// once sets a member that an object may have once. A second, different value is odd, because it is unknown which one
// is right.
func (p *parts) once(member *string, value string) {
	if *member != "" && *member != value {
		p.odd = true
	}
	*member = value
}

// members yields the members of an object, with decoded names.
func (p *parts) members(object json.RawMessage) iter.Seq2[[]byte, json.RawMessage] {
	return func(yield func([]byte, json.RawMessage) bool) {
		for rest := p.open(object, '{'); len(rest) > 0; {
			var name, value json.RawMessage
			name, rest = p.cut(rest)
			value, rest = p.cut(after(rest)) // the colon
			if !yield(unquote(name), value) {
				return
			}
			rest = after(rest) // the comma, or the brace
		}
	}
}

// elements yields the elements of an array.
func (p *parts) elements(array json.RawMessage) iter.Seq[json.RawMessage] {
	return func(yield func(json.RawMessage) bool) {
		for rest := p.open(array, '['); len(rest) > 0; {
			var element json.RawMessage
			element, rest = p.cut(rest)
			if !yield(element) {
				return
			}
			rest = after(rest) // the comma, or the bracket
		}
	}
}

// open returns the contents of an object or array, with its closing bracket. It is empty for an empty object or
// array, and for other types.
func (p *parts) open(value json.RawMessage, bracket byte) []byte {
	switch {
	case len(value) == 0 || value[0] == 'n':
		return nil
	case value[0] != bracket:
		p.odd = true
		return nil
	}
	inside := after(value)
	if inside[0] == bracket+2 { // in ASCII, ] is [ + 2, and } is { + 2
		return nil
	}
	return inside
}

// cut returns the value at the start of b, and the rest. Do not append to the value: that would overwrite the rest.
func (p *parts) cut(b []byte) (value json.RawMessage, rest []byte) {
	var end int
	if p.ends != nil && (b[0] == '{' || b[0] == '[') {
		end = p.ends.length(b)
	} else {
		end = length(b)
	}
	return b[:end], trim(b[end:])
}

// after skips a byte and the white space after it.
func after(b []byte) []byte { return trim(b[1:]) }

func trim(b []byte) []byte {
	for len(b) > 0 && b[0] <= ' ' {
		b = b[1:]
	}
	return b
}

// length returns the length of the value at the start of b.
func length(b []byte) int {
	switch b[0] {
	case '"':
		return quoted(b)
	case '{', '[':
		for i, depth := 0, 0; ; i++ {
			switch b[i] {
			case '"':
				i += quoted(b[i:]) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	if end := bytes.IndexAny(b, ",]} \t\r\n"); end >= 0 {
		return end
	}
	return len(b)
}

// quoted returns the length of the string at the start of b, with its quotes.
func quoted(b []byte) int {
	end := 1 + bytes.IndexByte(b[1:], '"')
	escape := bytes.IndexByte(b[1:end], '\\')
	if escape < 0 {
		return end + 1
	}
	for end = 1 + escape; b[end] != '"'; end++ {
		if b[end] == '\\' {
			end++
		}
	}
	return end + 1
}

// unquote returns the decoded text of a string.
func unquote(s json.RawMessage) []byte {
	if plain := s[1 : len(s)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return plain
	}
	var text string
	json.Unmarshal(s, &text) // cannot fail for a valid string
	return []byte(text)
}

package cloudapi

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
)

// parts takes apart JSON that is known to be valid. It gives out pieces of what it is given,
// not decoded and not copied: encoding/json would check and read all that lies in an object
// again at each step down.
type parts struct {
	odd  bool  // something was neither null nor absent nor what it was taken for
	ends *ends // of the text that all pieces are of; nil: they are looked for each time
}

// ends are where the objects and arrays of a text end, so that none is read again at each step
// down. A piece's place in the text follows from its capacity, which reaches to the text's end.
type ends struct {
	size  int // capacity of the text
	spans []span
}

// span is an object or array: the offset of its bracket, and its length.
type span struct{ at, length int }

// endsOf looks for them once.
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

// length is that of the object or array that b begins with.
func (e *ends) length(b []byte) int {
	at := e.size - cap(b)
	i, _ := slices.BinarySearchFunc(e.spans, at, func(s span, at int) int { return s.at - at })
	return e.spans[i].length
}

// once takes in the value of a member that an object has once. A second one that says something else is
// odd: then nobody knows which of the two holds.
func (p *parts) once(member *string, value string) {
	if *member != "" && *member != value {
		p.odd = true
	}
	*member = value
}

// members yields an object's members, their names as they read.
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

// elements yields an array's elements.
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

// open returns what is in an object or an array, with the bracket that closes it; nothing for
// an empty one, and for anything else.
func (p *parts) open(value json.RawMessage, bracket byte) []byte {
	switch {
	case len(value) == 0 || value[0] == 'n':
		return nil
	case value[0] != bracket:
		p.odd = true
		return nil
	}
	inside := after(value)
	if inside[0] == bracket+2 { // in ASCII ] is [ and 2, } is { and 2
		return nil
	}
	return inside
}

// cut returns the value that b begins with, and what follows it. To append to the value would
// overwrite that.
func (p *parts) cut(b []byte) (value json.RawMessage, rest []byte) {
	var end int
	if p.ends != nil && (b[0] == '{' || b[0] == '[') {
		end = p.ends.length(b)
	} else {
		end = length(b)
	}
	return b[:end], trim(b[end:])
}

// after steps over a byte and the white space behind it.
func after(b []byte) []byte { return trim(b[1:]) }

func trim(b []byte) []byte {
	for len(b) > 0 && b[0] <= ' ' {
		b = b[1:]
	}
	return b
}

// length is that of the value that b begins with.
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

// quoted is the length of the string that b begins with, quotes and all.
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

// unquote returns what a string reads as.
func unquote(s json.RawMessage) []byte {
	if plain := s[1 : len(s)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return plain
	}
	var text string
	json.Unmarshal(s, &text) // it is valid
	return []byte(text)
}

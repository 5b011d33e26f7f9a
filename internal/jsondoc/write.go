package jsondoc

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

// AppendCompact appends v as written, without the white space between values.
func (v Value) AppendCompact(b []byte) []byte {
	raw := v.Raw()
	if v.doc == nil || !v.doc.spaced {
		return append(b, raw...)
	}
	for len(raw) > 0 {
		// Copy up to the next string without white space, then the string unchanged.
		i := 0
		for i < len(raw) && raw[i] != '"' {
			if raw[i] > ' ' {
				b = append(b, raw[i])
			}
			i++
		}
		end := i
		for end < len(raw) {
			end++
			if end < len(raw) && raw[end] == '\\' {
				end++
			} else if end < len(raw) && raw[end] == '"' {
				end++
				break
			}
		}
		b = append(b, raw[i:end]...)
		raw = raw[end:]
	}
	return b
}

// Inline returns the text of d with some strings replaced by their decoded texts, without quotes. The strings must be
// values of d.
func (d *Doc) Inline(strings []Value) string {
	sorted := slices.SortedFunc(slices.Values(strings), func(a, b Value) int { return a.Start() - b.Start() })
	var b []byte
	end := int32(0)
	for _, v := range sorted {
		text, _ := v.Text()
		place := v.entry().value
		b = append(append(b, d.text[end:place.start]...), text...)
		end = place.end
	}
	return string(append(b, d.text[end:]...))
}

// AppendWithout appends an object as written, without some of its members.
func (v Value) AppendWithout(b []byte, names ...string) []byte {
	b = append(b, '{')
	first := true
	for name, value := range v.Members() {
		if slices.Contains(names, name) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(value.AppendName(b), ':'), value.Raw()...)
	}
	return append(b, '}')
}

// AppendName appends the name of a member with quotes, as encoding/json writes it.
func (v Value) AppendName(b []byte) []byte {
	if v.doc == nil {
		return b
	}
	return AppendString(b, v.doc.read(v.entry().name))
}

// AppendCanonical appends the canonical form of v: members sorted by name, no white space, strings as
// encoding/json escapes them, numbers as written. Texts with the same meaning have the same canonical form,
// except for numbers that are written differently.
func (v Value) AppendCanonical(b []byte) []byte {
	switch v.Kind() {
	case Absent, Null:
		return append(b, "null"...)
	case String:
		s, _ := v.Text()
		return AppendString(b, s)
	case Array:
		b = append(b, '[')
		for i, element := range v.Elements() {
			if i > 0 {
				b = append(b, ',')
			}
			b = element.AppendCanonical(b)
		}
		return append(b, ']')
	case Object:
		return v.appendSorted(b)
	default:
		return append(b, v.Raw()...)
	}
}

func (v Value) appendSorted(b []byte) []byte {
	var few [16]member
	members := few[:0]
	for name, value := range v.Members() {
		members = append(members, member{name, value})
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	b = append(b, '{')
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(AppendString(b, m.name), ':')
		b = m.value.AppendCanonical(b)
	}
	return append(b, '}')
}

type member struct {
	name  string
	value Value
}

// AppendString appends s as a JSON string, as encoding/json writes it.
func AppendString(b []byte, s string) []byte {
	if !plain(s) {
		quoted, _ := json.Marshal(s) // cannot fail for a string
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// plain reports whether encoding/json writes s without escapes.
func plain(s string) bool {
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0x7f:
			return false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return ascii || utf8.ValidString(s) && !strings.Contains(s, "\u2028") && !strings.Contains(s, "\u2029")
}

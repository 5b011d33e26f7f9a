package jsondoc

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// string parses the string that begins here.
func (s *scanner) string() (span, *Error) {
	start := s.at + 1
	for i := start; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.at = i + 1
			return span{int32(start), int32(i)}, nil
		case c == '\\':
			return s.escaped(start, i)
		case c < ' ':
			return span{}, invalid()
		}
	}
	return span{}, invalid()
}

// escaped parses a string from start whose first escape is at i.
func (s *scanner) escaped(start, i int) (span, *Error) {
	out := make([]byte, 0, i-start+64)
	out = append(out, s.text[start:i]...)
	lone, null := false, false // the string has an unpaired surrogate; it has U+0000
	for i < len(s.text) {
		switch c := s.text[i]; {
		case c == '"':
			s.at = i + 1
			switch {
			case lone:
				return span{}, &Error{Code: InvalidUTF8}
			case null:
				return span{}, &Error{Code: ForbiddenChar}
			}
			return s.keep(string(out)), nil
		case c < ' ':
			return span{}, invalid()
		case c != '\\':
			out = append(out, c)
			i++
			continue
		}
		if i+1 == len(s.text) {
			return span{}, invalid()
		}
		if c := s.text[i+1]; c != 'u' {
			j := strings.IndexByte(`"\/bfnrt`, c)
			if j < 0 {
				return span{}, invalid()
			}
			out = append(out, "\"\\/\b\f\n\r\t"[j])
			i += 2
			continue
		}
		r, ok := hex(s.text[i+2:])
		if !ok {
			return span{}, invalid()
		}
		i += 6
		if utf16.IsSurrogate(r) {
			second := rune(-1)
			if strings.HasPrefix(s.text[i:], `\u`) {
				second, _ = hex(s.text[i+2:])
			}
			if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
				r = pair
				i += 6
			} else {
				lone = true
			}
		}
		null = null || r == 0
		out = utf8.AppendRune(out, r)
	}
	return span{}, invalid()
}

// hex parses the four hexadecimal digits at the start of s.
func hex(s string) (r rune, ok bool) {
	if len(s) < 4 {
		return -1, false
	}
	for i := range 4 {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// scalar parses a number, true, false or null. A separator or the end of the text must follow.
func (s *scanner) scalar() (k Kind, err *Error) {
	rest := s.text[s.at:]
	switch rest[0] {
	case 't':
		k, rest = Bool, strings.TrimPrefix(rest, "true")
	case 'f':
		k, rest = Bool, strings.TrimPrefix(rest, "false")
	case 'n':
		k, rest = Null, strings.TrimPrefix(rest, "null")
	default:
		k, rest = Number, rest[number(rest):]
	}
	at := len(s.text) - len(rest)
	if at == s.at || rest != "" && strings.IndexByte(" \t\r\n,]}", rest[0]) < 0 {
		return k, invalid()
	}
	s.at = at
	return k, nil
}

// IsNumber reports whether s is a JSON number.
func IsNumber(s string) bool { return s != "" && number(s) == len(s) }

// number returns the length of the number at the start of s; 0: there is none.
func number(s string) int {
	digits := func(i int) int {
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i
	}
	i := 0
	if strings.HasPrefix(s, "-") {
		i = 1
	}
	end := digits(i)
	if end == i || s[i] == '0' && end > i+1 {
		return 0
	}
	if i = end; i < len(s) && s[i] == '.' {
		if end = digits(i + 1); end == i+1 {
			return 0
		}
		i = end
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if end = digits(i); end == i {
			return 0
		}
		i = end
	}
	return i
}

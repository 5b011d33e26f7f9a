package intake

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is deeper than any object of Meta's.
const maxDepth = 64

// document is a request's JSON object.
type document struct {
	members map[string]any  // as encoding/json has them, numbers as json.Number
	message json.RawMessage // the member "message" as it was written
}

// strict reads one JSON object and refuses what JSON readers understand in different ways,
// so that Meta reads in a message what we read in it: members that come twice, text that is
// no Unicode, something after the end. encoding/json passes all of these.
func strict(body []byte) (document, refusal) {
	if !utf8.Valid(body) {
		return document{}, refuse("utf8_invalid")
	}
	s := scanner{rest: body}
	if s.next() == 0 && len(s.rest) == 0 {
		return document{}, refuse("body_empty")
	}
	value, path, code := s.value(0)
	switch members, ok := value.(map[string]any); {
	case code == "json_invalid": // where it breaks is not always where the mistake is
		return document{}, refuse(code)
	case code != "":
		return document{}, refuseAt(path, code)
	case s.next() != 0 || len(s.rest) > 0:
		return document{}, refuse("json_trailing_data")
	case !ok:
		return document{}, refuse("json_not_object")
	default:
		return document{members, s.message}, nil
	}
}

// scanner reads JSON. Its methods return what they read, or else where they met a problem
// and the problem's code.
type scanner struct {
	rest    []byte
	message json.RawMessage
}

// next skips white space and returns the byte that follows; 0 at the end.
func (s *scanner) next() byte {
	for i, c := range s.rest {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			s.rest = s.rest[i:]
			return c
		}
	}
	s.rest = nil
	return 0
}

// take steps over c if it is the next byte.
func (s *scanner) take(c byte) bool {
	if s.next() != c || len(s.rest) == 0 {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) value(depth int) (value any, path, code string) {
	switch s.next() {
	case '{':
		return s.object(depth + 1)
	case '[':
		return s.array(depth + 1)
	case '"':
		value, code = s.text()
	default:
		value, code = s.scalar()
	}
	return value, "", code
}

func (s *scanner) object(depth int) (object map[string]any, path, code string) {
	if depth > maxDepth {
		return nil, "", "json_too_deep"
	}
	object = map[string]any{}
	s.take('{')
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') || s.next() != '"' {
			return nil, "", "json_invalid"
		}
		name, code := s.text()
		if _, twice := object[name]; twice && code == "" {
			return nil, pathName(name), "json_duplicate_member"
		}
		if code == "" && !s.take(':') {
			code = "json_invalid"
		}
		if code != "" {
			return nil, "", code
		}
		s.next()
		start := s.rest
		value, path, code := s.value(depth)
		if code != "" {
			return nil, join(pathName(name), path), code
		}
		object[name] = value
		if depth == 1 && name == "message" {
			s.message = start[:len(start)-len(s.rest)]
		}
	}
	return object, "", ""
}

func (s *scanner) array(depth int) (array []any, path, code string) {
	if depth > maxDepth {
		return nil, "", "json_too_deep"
	}
	array = []any{}
	s.take('[')
	for !s.take(']') {
		if len(array) > 0 && !s.take(',') {
			return nil, "", "json_invalid"
		}
		value, path, code := s.value(depth)
		if code != "" {
			return nil, join("["+strconv.Itoa(len(array))+"]", path), code
		}
		array = append(array, value)
	}
	return array, "", ""
}

// text reads a string.
func (s *scanner) text() (text, code string) {
	end, escaped := 1, false
	for ; end < len(s.rest) && s.rest[end] != '"'; end++ {
		if s.rest[end] < ' ' {
			return "", "json_invalid"
		}
		if s.rest[end] == '\\' {
			escaped = true
			end++
		}
	}
	if end >= len(s.rest) {
		return "", "json_invalid"
	}
	quoted := s.rest[:end+1]
	s.rest = s.rest[end+1:]
	switch {
	case !escaped:
		return string(quoted[1:end]), ""
	case json.Unmarshal(quoted, &text) != nil:
		return "", "json_invalid"
	case loneSurrogate(quoted):
		return "", "utf8_invalid"
	case strings.ContainsRune(text, 0):
		return "", "char_not_allowed"
	}
	return text, ""
}

// scalar reads a number, true, false or null.
func (s *scanner) scalar() (value any, code string) {
	end := bytes.IndexAny(s.rest, " \t\r\n,]}")
	if end < 0 {
		end = len(s.rest)
	}
	word := s.rest[:end]
	if !json.Valid(word) {
		return nil, "json_invalid"
	}
	s.rest = s.rest[end:]
	switch string(word) {
	case "null":
		return nil, ""
	case "true", "false":
		return word[0] == 't', ""
	}
	return json.Number(word), ""
}

// join puts a step before a path: "message" before "text.body", "tags" before "[0]".
func join(step, path string) string {
	if path == "" || path[0] == '[' {
		return step + path
	}
	return step + "." + path
}

// pathName is a member's name as a path shows it. What is no plain name is left out: we
// never send back what a caller made up.
func pathName(name string) string {
	if len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return "?"
	}
	return name
}

// loneSurrogate tells whether an escape in a valid JSON string is half of a pair. Go's
// decoder would put another character in its place.
func loneSurrogate(quoted []byte) bool {
	for i := 0; i < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		i++ // to what is escaped, a backslash too
		first := escape(quoted[i:])
		if !utf16.IsSurrogate(first) {
			continue
		}
		if quoted[i+5] != '\\' || utf16.DecodeRune(first, escape(quoted[i+6:])) == utf8.RuneError {
			return true
		}
		i += 10 // to the end of the second
	}
	return false
}

// escape reads the "uXXXX" that s begins with; 0 when it begins with another escape.
func escape(s []byte) rune {
	if s[0] != 'u' {
		return 0
	}
	v, _ := strconv.ParseUint(string(s[1:5]), 16, 32)
	return rune(v)
}

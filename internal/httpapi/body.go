package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// maxBody is the maximum size of the body that ReadJSON reads, in bytes.
const maxBody = 64 << 10

// BodyCodes returns the codes of the problems that ReadJSON finds.
func BodyCodes() []string {
	return []string{
		"unsupported_media_type", "charset_not_supported", "encoding_not_supported", "body_empty", "body_too_large", "timeout", "json_invalid", "json_trailing_data", "json_not_object",
		"json_duplicate_member", "json_too_deep", "utf8_invalid", "char_not_allowed", "type_mismatch", "field_unknown", "value_empty", "time_invalid",
	}
}

// CheckMedia refuses a body unless its headers declare one of the media types, in UTF-8 and without compression.
func CheckMedia(h http.Header, media ...string) Refusal {
	given := h.Values("Content-Type")
	if len(given) != 1 {
		return Refuse("unsupported_media_type")
	}
	if given[0] != media[0] { // the usual case needs no parsing
		name, parameters, err := mime.ParseMediaType(given[0])
		if err != nil || !slices.Contains(media, name) {
			return Refuse("unsupported_media_type")
		}
		if charset, given := parameters["charset"]; given && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8") {
			return Refuse("charset_not_supported")
		}
	}
	if encoding := h.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return Refuse("encoding_not_supported")
	}
	return nil
}

// ReadJSON reads the body of a small request into a struct: one JSON object, parsed as strictly as a message.
// It refuses members that the struct does not have; the case of names matters. It treats null like absent.
// An optional string must not be empty, because an empty string is probably a mistake of the caller.
func ReadJSON(w http.ResponseWriter, r *http.Request, into any) Refusal {
	return ReadLargeJSON(w, r, maxBody, into)
}

// ReadLargeJSON is ReadJSON for a body of up to most bytes.
func ReadLargeJSON(w http.ResponseWriter, r *http.Request, most int64, into any) Refusal {
	if refused := CheckMedia(r.Header, "application/json"); refused != nil {
		return refused
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		return Unread(err)
	}
	var d jsondoc.Doc
	if err := d.Read(string(text)); err != nil {
		return RefuseAt(err.Path, err.Code)
	}
	if d.Root().Kind() != jsondoc.Object {
		return Refuse("json_not_object")
	}
	known := fields(reflect.TypeOf(into).Elem())
	var refused Refusal
	for name, value := range d.Root().Members() {
		i := slices.IndexFunc(known, func(f field) bool { return f.name == name })
		switch {
		case i < 0:
			refused = append(refused, generic(Problem(jsondoc.PathName(name), "field_unknown")))
		case value.Present():
			refused = append(refused, readMember(value, known[i], reflect.ValueOf(into).Elem())...)
		}
	}
	return refused[:min(len(refused), maxProblems)]
}

// ReadNothing refuses a body that has more than an empty JSON object: what it says would be ignored otherwise.
func ReadNothing(w http.ResponseWriter, r *http.Request) Refusal {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil && len(text) == 0 {
		return nil
	}
	var d jsondoc.Doc
	if err != nil || d.Read(string(text)) != nil || d.Root().Kind() != jsondoc.Object {
		return Refuse("body_not_allowed")
	}
	for range d.Root().Members() {
		return Refuse("body_not_allowed")
	}
	return nil
}

// maxProblems is the maximum number of problems in an answer.
const maxProblems = 20

// readMember reads the value of a member into the field f of a struct.
func readMember(value jsondoc.Value, f field, into reflect.Value) Refusal {
	target := into.FieldByIndex(f.index)
	text, isText := value.Text()
	switch {
	case isText && text == "" && f.optional:
		return RefuseAt(f.name, "value_empty")
	case isText && target.Type() == reflect.TypeFor[time.Time]():
		t, ok := ParseTime(text)
		if !ok {
			return RefuseAt(f.name, "time_invalid")
		}
		target.Set(reflect.ValueOf(t))
	case json.Unmarshal(value.AppendCanonical(nil), target.Addr().Interface()) != nil:
		return Refusal{generic(Problem(f.name, "type_mismatch"))}
	}
	return nil
}

// generic returns p with a fix for any request. The usual fix is about messages.
func generic(p message.Problem) message.Problem {
	p.Fix = "Check the names and the types of the members. /openapi.json lists them."
	return p
}

// Unread returns the refusal of a body that could not be read completely.
func Unread(err error) Refusal {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Refuse("body_too_large")
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return Refuse("timeout")
	}
	return Refuse("json_invalid") // the body is incomplete
}

package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
)

// maxBody is the most that a small request may have, in bytes.
const maxBody = 64 << 10

// BodyCodes are the problems that ReadJSON may find.
func BodyCodes() []string {
	return []string{"unsupported_media_type", "body_empty", "body_too_large", "timeout", "json_invalid", "json_trailing_data", "type_mismatch", "field_unknown"}
}

// ReadJSON reads a small request's body, one JSON object with no other members than into has.
func ReadJSON(w http.ResponseWriter, r *http.Request, into any) Refusal {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return Refuse("unsupported_media_type")
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return Refuse("json_trailing_data")
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		p := Problem(wrong.Field, "type_mismatch")
		p.Fix = "The description at /openapi.json tells its type."
		return Refusal{p}
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return Refuse("timeout")
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Refuse("body_too_large")
	}
	switch {
	case errors.Is(err, io.EOF):
		return Refuse("body_empty")
	case strings.HasPrefix(err.Error(), "json: unknown field"): // it has no type
		p := Problem("", "field_unknown")
		p.Fix = "The description at /openapi.json tells the members."
		return Refusal{p}
	}
	return Refuse("json_invalid")
}

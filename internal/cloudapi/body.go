package cloudapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"sluice/internal/message"
)

// Body returns what is POSTed to Meta for a message object: "messaging_product" is set, "to"
// is replaced when to is not empty, and the marker goes into biz_opaque_callback_data, where
// Meta gives it back in every status; without a marker the member is left out. Other members
// stay as they are, known to us or not. A Direct Send message without a ttl_seconds gets one
// that ends when expires says; with a zero time it gets none. The error names no content.
func Body(object json.RawMessage, to, marker string, expires time.Time) ([]byte, error) {
	var plain bytes.Buffer // without the caller's white space
	if json.Compact(&plain, object) != nil || plain.Bytes()[0] != '{' {
		return nil, errors.New("message object: not a JSON object")
	}
	body := make([]byte, 0, plain.Len()+256)
	body = append(body, `{"messaging_product":"whatsapp"`...)
	if to != "" {
		body = appendMember(body, "to", quote(to))
	}
	if marker != "" {
		body = appendMember(body, "biz_opaque_callback_data", quote(marker))
	}
	longest := 0
	for name, value := range new(parts).members(plain.Bytes()) {
		switch name := string(name); {
		case name == "messaging_product", name == "biz_opaque_callback_data", name == "to" && to != "":
			continue
		case name == "category":
			longest = message.MaxTTL[text(value)]
		case name == "ttl_seconds" && string(value) == "null": // as good as none
			continue
		case name == "ttl_seconds":
			expires = time.Time{} // the caller's own stands
		}
		body = appendMember(body, string(name), value)
	}
	if longest > 0 && !expires.IsZero() {
		left := min(max(int(time.Until(expires).Seconds()), message.MinTTL), longest)
		body = appendMember(body, "ttl_seconds", strconv.AppendInt(nil, int64(left), 10))
	}
	return append(body, '}'), nil
}

func appendMember(b []byte, name string, value json.RawMessage) []byte {
	b = append(append(b, ','), quote(name)...)
	return append(append(b, ':'), value...)
}

func quote(s string) json.RawMessage {
	quoted, _ := json.Marshal(s) // a string always marshals
	return quoted
}

package cloudapi

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Body returns what is POSTed to Meta for a message object: "messaging_product" is set, "to"
// is replaced when to is not empty, and the marker goes into biz_opaque_callback_data, where
// Meta gives it back in every status. Other members stay as they are, known to us or not.
// The error names no content.
func Body(object json.RawMessage, to, marker string) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil || members == nil {
		return nil, errors.New("message object: not a JSON object")
	}
	set := func(name, value string) { members[name], _ = json.Marshal(value) } // a string always marshals
	set("messaging_product", "whatsapp")
	set("biz_opaque_callback_data", marker)
	if to != "" {
		set("to", to)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // links keep their "&"
	if err := enc.Encode(members); err != nil {
		return nil, errors.New("message object: cannot be written")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

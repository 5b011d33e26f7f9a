package content

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"strings"

	"sluice/internal/jsondoc"
)

// AppendPayload appends Meta's object in the form in which it is stored, and from which a request
// to Meta is made by appending alone: "messaging_product" first; "product_policy" next, if it has one, so that the
// beginning says whether the message is for the Marketing Messages API, see ForMarketing; then "to", unless to is empty;
// the object's other members as they were written, known to us or not, without white space; and
// last "category" and "ttl_seconds", so that the end reports whether Meta still needs a TTL, see
// OpenTTL. The caller's biz_opaque_callback_data is left out: our marker takes its place. So is an access token.
func AppendPayload(b []byte, object jsondoc.Value, to string) []byte {
	b = append(b, `{"messaging_product":"whatsapp"`...)
	if policy := object.Get("product_policy"); policy.Present() {
		b = append(b, `,"product_policy":`...)
		b = policy.AppendCanonical(b)
	}
	if to != "" {
		b = append(b, `,"to":`...)
		b = jsondoc.AppendString(b, to)
	}
	var category, ttl jsondoc.Value
	for name, value := range object.Members() {
		switch {
		case name == "messaging_product", name == "biz_opaque_callback_data", name == "access_token", name == "product_policy", name == "to" && to != "":
		case name == "category":
			category = value
		case name == "ttl_seconds":
			ttl = value
		case value.Raw() != "":
			b = append(value.AppendName(append(b, ',')), ':')
			b = value.AppendCompact(b)
		}
	}
	if category.Present() {
		b = append(b, `,"category":`...)
		b = category.AppendCanonical(b) // "utility" may have been written with escapes
	}
	if ttl.Present() {
		b = append(b, `,"ttl_seconds":`...)
		b = ttl.AppendCompact(b)
	}
	return append(b, '}')
}

// Addressee returns the recipient of a stored message, a phone number with its plus or a user id, and whether it is a service message:
// free-form, so neither a template nor a Direct Send message of another category. to is empty for a group.
func Addressee(payload string) (to string, service bool) {
	var m struct {
		Type      string `json:"type"`
		Kind      string `json:"recipient_type"`
		To        string `json:"to"`
		Recipient string `json:"recipient"`
		Category  string `json:"category"`
	}
	json.Unmarshal([]byte(payload[max(0, strings.IndexByte(payload, '{')):]), &m) // a signature, which may precede it, has no '{'
	service = !strings.EqualFold(m.Type, "template") && (m.Category == "" || strings.EqualFold(m.Category, "service"))
	if strings.EqualFold(m.Kind, "group") {
		return "", service
	}
	return cmp.Or(m.To, m.Recipient), service
}

// ForMarketing reports whether a stored message is for the Marketing Messages API.
func ForMarketing(payload []byte) bool {
	return bytes.HasPrefix(payload, []byte(`{"messaging_product":"whatsapp","product_policy":`))
}

// Payload is AppendPayload for an object that was not read yet. The error names no content.
func Payload(object json.RawMessage, to string) (json.RawMessage, error) {
	var d jsondoc.Doc
	if err := d.Read(string(object)); err != nil || d.Root().Kind() != jsondoc.Object {
		return nil, errors.New("message object: not a JSON object")
	}
	return AppendPayload(nil, d.Root(), to), nil
}

// Ordered returns a stored message with its members in the order of AppendPayload. Before format 2 of
// the records they were stored in the caller's order. Of most messages it is what they are.
func Ordered(payload []byte) ([]byte, error) {
	const category, ttl = `,"category":`, `,"ttl_seconds":`
	// In a string these quotes would have backslashes before them.
	before, rest, direct := bytes.Cut(payload, []byte(category))
	if !direct && !bytes.Contains(payload, []byte(ttl)) {
		return payload, nil
	}
	value, after, _ := bytes.Cut(rest, []byte(ttl))
	if direct && !bytes.ContainsAny(value, ",:") && !bytes.ContainsAny(after, ",:") && !bytes.Contains(before, []byte(ttl)) {
		return payload, nil
	}
	return Payload(payload, "")
}

// OpenTTL returns the most that Meta takes as the ttl_seconds of a stored Direct Send message whose
// caller gave none; 0 for every other message.
func OpenTTL(payload []byte) int {
	rest, ok := bytes.CutSuffix(payload, []byte(`"}`))
	quote := bytes.LastIndexByte(rest, '"') + 1
	// In a string these quotes would have backslashes before them, so this is the last member.
	if !ok || !bytes.HasSuffix(rest[:quote], []byte(`,"category":"`)) {
		return 0
	}
	return MaxTTL[strings.ToLower(string(rest[quote:]))]
}

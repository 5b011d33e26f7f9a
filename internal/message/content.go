package message

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// contentTypes are the types of message Meta takes, each with its content in a member of
// that name. Meta, Cloud API, "Send messages".
var contentTypes = []string{
	"text", "image", "document", "template", "interactive",
	"video", "audio", "sticker", "location", "contacts", "reaction", "pin",
}

// callbackLimit is from Meta, Cloud API, "Status messages webhook reference".
var callbackLimit = limit{what: "callback data", code: "callback_data", max: 512, optional: true}

// Parse reads Meta's message object and checks it against Meta's limits, so that a caller
// learns at once what Meta would say later. Text, image, document, template and the
// interactive kinds button and list are checked in full, of the other types only what all
// have in common: Meta has the last word on those. Members this version does not know pass.
// It returns up to 20 problems, their paths relative to the object; without any, the
// object may be sent. It expects JSON without duplicate members.
func Parse(object json.RawMessage) (Content, []Problem) {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.UseNumber() // a member we do not know may hold any number
	if err := decoder.Decode(&value); err != nil {
		return Content{}, []Problem{{Code: "json_invalid", Detail: "The message is not valid JSON.", Fix: "Send Meta's message object."}}
	}
	return ParseDecoded(value)
}

// ParseDecoded is Parse for what has been decoded already, numbers as json.Number.
func ParseDecoded(object any) (Content, []Problem) {
	var r report
	root := node{value: object, report: &r}
	if _, ok := root.value.(map[string]any); !ok {
		root.mismatch("an object")
		return Content{}, r.problems
	}
	c := Content{Type: root.contentType()}
	root.recipient(&c)
	root.common(&c)
	content := root.get(c.Type)
	switch c.Type {
	case "text":
		content.checkText()
	case "image", "document":
		content.checkMedia()
		content.checkCaption()
	case "template":
		c.Template, c.Language = content.checkTemplate()
	case "interactive":
		content.checkInteractive()
	}
	return c, r.problems
}

// contentType returns the type, and reports a missing content and a second one.
func (n node) contentType() string {
	t := n.get("type")
	name, ok := t.text()
	if !ok {
		return ""
	}
	if !slices.Contains(contentTypes, name) {
		t.refuse("type_unknown", "The type must be one of "+strings.Join(contentTypes, ", ")+".", "Name the type of the content.")
		return ""
	}
	if content := n.get(name); !content.present() {
		content.refuse("content_missing", "A message of this type needs its content in the member of the same name.", "Add it, or change the type.")
	}
	for _, other := range contentTypes {
		if second := n.get(other); other != name && second.present() {
			second.refuse("content_ambiguous", "A message has one content, the one its type names.", "Remove this member, or change the type.")
		}
	}
	return name
}

// common checks what all types share beside the recipient.
func (n node) common(c *Content) {
	product := n.get("messaging_product")
	if s, _ := product.text(); s != "" && s != "whatsapp" {
		product.refuse("value_not_allowed", "The messaging product must be whatsapp.", "Leave it out; it is filled in.")
	}
	c.Callback = n.get("biz_opaque_callback_data").within(callbackLimit)
	quoted := n.get("context")
	if !quoted.object() {
		return
	}
	id := quoted.get("message_id")
	if s, ok := id.text(); ok && s == "" {
		id.refuse("context_message_id_empty", "A reply names the message it quotes.", "Give the wamid of that message, or leave out context.")
	}
}

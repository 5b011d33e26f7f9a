// Package content checks what Meta calls the message object: the JSON body of its call to send a
// message. It holds Meta's rules for the object, reads out of it what Sluice needs to know, and
// writes the form in which the object is stored.
package content

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// contentTypes are the types of message Meta takes, each with its content in a member of
// that name. Meta, Cloud API, "Send messages".
var contentTypes = []string{
	"text", "image", "document", "template", "interactive",
	"video", "audio", "sticker", "location", "contacts", "reaction", "pin",
}

var (
	kindInvalid      = rule(Invalid, "kind_invalid", "Types and kinds are words of lower-case letters, digits and underscores.", "Name the type as Meta does.")
	typeMissing      = needed("type_missing", "A message needs its type.", "Give "+list(contentTypes)+".")
	typeUnknown      = rule(Invalid, "type_unknown", "The type must be "+list(contentTypes)+".", "Name the type of the content.")
	contentMissing   = needed("content_missing", "A message needs its content in the member that its type names.", "Add it, or change the type.")
	contentAmbiguous = rule(Invalid, "content_ambiguous", "A message has one content, the one its type names.", "Remove this member, or change the type.")
)

// callbackLimit is from Meta, Cloud API, "Status messages webhook reference".
var callbackLimit = atMost(512, "callback_data", "callback data")

// Meta, Cloud API, "Contextual replies".
var (
	quotedMissing     = needed("context_message_id_empty", "A reply names the message it quotes.", "Give the wamid of that message, or leave out context.")
	contextNotAllowed = rule(Invalid, "context_not_allowed", "A reaction cannot be a reply.", "Leave out context.")
)

// Parse is Check for an object that was not read yet. Whatever jsondoc refuses is one problem,
// json_invalid.
func Parse(object json.RawMessage) (message.Content, []message.Problem) {
	var d jsondoc.Doc
	if d.Read(string(object)) != nil {
		return message.Content{}, []message.Problem{{Code: jsonInvalid.Code, Detail: jsonInvalid.Detail, Fix: jsonInvalid.Fix}}
	}
	return Check(d.Root())
}

// IsUnknownKind reports whether a problem of Check is a type or an interactive kind that Meta may have
// added since this version was made. The rest of the object is checked as usual.
func IsUnknownKind(p message.Problem) bool {
	return p.Code == typeUnknown.Code || p.Code == interactiveUnknown.Code
}

// kindName is how Meta names types and interactive kinds.
var kindName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// unknownKind reports a type or an interactive kind that this version does not know. What cannot be a kind of
// Meta's breaks another rule, so that no setting lets it pass; it returns false for that.
func (n node) unknownKind(name string, r *Rule) bool {
	if !kindName.MatchString(name) {
		n.refuseWord(kindInvalid, kindInvalid.Detail, kindInvalid.Fix)
		return false
	}
	n.refuse(r)
	return true
}

// Check checks Meta's message object against Meta's rules, so that a caller learns at once what
// Meta would say later, and returns what Sluice needs to know of it. docs/messages.md shows each
// type and what is checked of it. A type or interactive kind this version does not know is
// refused; a member it does not know passes, see Content.Extra, and so does what only Meta can know: whether a
// template or a file is there. It returns up to 20 problems, their paths relative to the object;
// without any, the object may be sent. A problem for which IsUnknownKind is true means that this
// version cannot check the content: Meta may know the kind since. Like Meta, Check takes a text without a type, and
// compares the values of enumerations without case.
func Check(object jsondoc.Value) (message.Content, []message.Problem) {
	var c message.Content
	problems := inspect(object, func(root node) { c = root.content() })
	return c, problems
}

func (n node) content() (c message.Content) {
	if !n.isObject() {
		n.mismatch("an object")
		return c
	}
	n.checkSpelling()
	n.checkCommand()
	if c.Type = n.contentType(); c.Type != "" && !slices.Contains(contentTypes, c.Type) {
		c.Unknown = "type"
	}
	n.recipient(&c)
	n.common(&c)
	content := n.get(c.Type)
	switch c.Type {
	case "text":
		content.checkText(n.directText())
	case "template":
		c.Template, c.Language = content.checkTemplate()
	case "image", "video", "document", "audio", "sticker":
		content.checkMediaMessage(c.Type)
	case "interactive":
		if !content.checkInteractive(c.Group) {
			c.Unknown = "interactive.type"
		}
	case "location":
		content.checkLocation()
	case "contacts":
		content.checkContacts()
	case "reaction":
		content.checkReaction()
	case "pin":
		content.checkPin(c.Group)
	}
	c.Extra = n.extra(c.Type)
	return c
}

// contentType returns the type, and reports a missing content and a second one.
func (n node) contentType() string {
	t := n.get("type")
	name, ok := t.text()
	if !ok {
		return ""
	}
	if !t.present() && n.get("text").present() {
		name = "text"
	}
	if name == "" {
		t.refuse(typeMissing)
		return ""
	}
	name = strings.ToLower(name)
	if !slices.Contains(contentTypes, name) {
		if !t.unknownKind(name, typeUnknown) {
			return ""
		}
		return name
	}
	if content := n.get(name); !content.present() {
		content.refuse(contentMissing)
	}
	for _, other := range contentTypes {
		if other != name && n.value.Get(other).Present() {
			n.get(other).refuse(contentAmbiguous)
		}
	}
	return name
}

// common checks what all types share beside the recipient.
func (n node) common(c *message.Content) {
	n.get("messaging_product").oneOf("whatsapp")
	c.Callback = n.get("biz_opaque_callback_data").within(callbackLimit)
	n.texts("recipient_identity_key_hash", "messaging_account_id")
	if account, _ := n.value.Get("messaging_account_id").Text(); message.IsNumberID(account) {
		c.Account = account
	}
	c.Category = n.checkDirectSend()
	c.Marketing = n.checkMarketing(c.Type)
	quoted := n.get("context")
	if !quoted.object() {
		return
	}
	if c.Type == "reaction" {
		quoted.refuse(contextNotAllowed)
		return
	}
	quoted.get("message_id").id(quotedMissing)
}

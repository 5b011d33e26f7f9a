package content

import (
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// Meta, Cloud API, "Mark messages as read" and "Typing indicators".
var (
	markMissing   = needed("mark_message_id_empty", "What is marked as read is a message that a person sent.", "Give its wamid, messages[].id of the webhook, in message_id.")
	markAmbiguous = rule(Invalid, "mark_ambiguous", "A body with a status marks a message as read, and one with a type is a message.", "Remove type; or remove status, to send a message.")
)

// Mark is Meta's other body for the path of messages. It sends nothing: it marks a message
// that a person sent as read, and all before it, and may show that an answer is being typed.
type Mark struct {
	MessageID string // the wamid of the person's message
	Typing    bool   // show it for 25 seconds or until the answer comes
}

// IsMark reports whether a body is meant for CheckMark rather than for Check: it has a status,
// which no message has.
func IsMark(object jsondoc.Value) bool { return object.Get("status").Present() }

// CheckMark checks Meta's body {"status": "read", "message_id": ..., "typing_indicator":
// {"type": "text"}} as Check checks a message: up to 20 problems, their paths relative to the
// object; without any, the object may go to Meta as it is. Members this version does not know pass.
func CheckMark(object jsondoc.Value) (Mark, []message.Problem) {
	var m Mark
	problems := inspect(object, func(root node) { m = root.mark() })
	return m, problems
}

func (n node) mark() (m Mark) {
	if !n.isObject() {
		n.mismatch("an object")
		return m
	}
	n.checkSpelling()
	n.checkCommand()
	n.get("messaging_product").oneOf("whatsapp")
	n.get("status").neededOneOf("read")
	m.MessageID = n.get("message_id").id(markMissing)
	if t := n.get("type"); t.present() {
		t.refuse(markAmbiguous)
	}
	if typing := n.get("typing_indicator"); typing.object() {
		typing.get("type").neededOneOf("text")
		m.Typing = true
	}
	return m
}

package content

import (
	"slices"
	"strings"

	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// naming are the members of a message that name another message: a reply, a reaction, a pin.
var naming = []string{"context", "reaction", "pin"}

// Named returns the ids of Sluice with which a message names other messages of its number: Meta knows these by other
// ids. payload is a stored message, see AppendPayload, perhaps after a signature, and number its number. Nil for most
// messages.
func Named(payload, number string) (ids []string) {
	if !strings.Contains(payload, `"message_id":"`+number+`-`) { // almost always
		return nil
	}
	eachNamed(payload[max(0, strings.IndexByte(payload, '{')):], func(_ int, id string) { ids = append(ids, id) }) // a signature has no {
	return ids
}

// Rename returns a stored message with Meta's ids in place of those of Sluice that ids has.
func Rename(payload []byte, ids map[string]string) []byte {
	out, end := make([]byte, 0, len(payload)+256), 0
	eachNamed(string(payload), func(at int, id string) {
		if theirs, ok := ids[id]; ok {
			out = jsondoc.AppendString(append(out, payload[end:at]...), theirs)
			end = at + len(id) + len(`""`)
		}
	})
	return append(out, payload[end:]...)
}

// eachNamed calls f with the place and the id of each message that a stored message names by an id of Sluice, in
// their order.
func eachNamed(payload string, f func(at int, id string)) {
	var d jsondoc.Doc
	if d.Read(payload) != nil {
		return
	}
	for name, member := range d.Root().Members() {
		if !slices.Contains(naming, name) {
			continue
		}
		v := member.Get("message_id")
		id, _ := v.Text()
		if _, ours := message.Number(id); ours && v.Raw() == `"`+id+`"` {
			f(v.Start(), id)
		}
	}
}

// OtherNumber returns the path of an id of Sluice in a message object that is not of the number; empty: there is none.
// Meta knows messages only at the number that sent them.
func OtherNumber(object jsondoc.Value, number string) string {
	for _, name := range naming {
		id, _ := object.Get(name).Get("message_id").Text()
		if of, ours := message.Number(strings.TrimSpace(id)); ours && of != number {
			return name + ".message_id"
		}
	}
	return ""
}

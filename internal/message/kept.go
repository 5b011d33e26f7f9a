package message

import "encoding/json"

// Kept is what is stored of a message, with its content: for an export to its recipient.
type Kept struct {
	Record
	Object json.RawMessage // Meta's message object; nil: it is deleted
}

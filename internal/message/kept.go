package message

import "encoding/json"

// Kept is what is stored of a message, for the person to whom it was sent.
type Kept struct {
	Record
	Object json.RawMessage // Meta's message object; nil: it is deleted
}

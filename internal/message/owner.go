package message

import (
	"crypto/sha256"
	"time"
)

// Owner is who owns a conversation of a person with a number, under Meta's Conversation Routing.
type Owner string

// The owners.
const (
	OwnedByUs    Owner = "us"
	OwnedByOther Owner = "other_app"
	OwnerUnknown Owner = "unknown"
)

// OwnerReport is what an event of Meta says about the owner of a conversation.
type OwnerReport struct {
	Number   string
	Phone    string // of the person, without a plus; empty: unknown
	User     string // business-scoped user id; empty: unknown
	Owner    Owner
	Handover bool      // Meta reported a change; else a message from the person shows who the owner is
	At       time.Time // by Meta
}

// Pair returns 8 bytes that identify a number and a recipient: a phone number with its plus, or a user id.
func Pair(number, recipient string) string {
	sum := sha256.Sum256([]byte(number + "\x00" + recipient))
	return string(sum[:8])
}

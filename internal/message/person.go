package message

import (
	"encoding/base64"
	"strings"
	"time"
)

// Identities are the names of one person in one report of Meta. Empty members are not known. They are personal data: they are
// in no log and no metric.
type Identities struct {
	Number  string   // Meta's id of the number that the report is about
	Account string   // the WhatsApp Business Account of the number
	User    string   // business-scoped user id
	Parent  string   // the user id for linked portfolios
	Phones  []string // phone numbers and wa_ids, without a plus

	// What the person had before, if Meta reports a change.
	FormerUser  string
	FormerPhone string
	Change      string // Meta's id of the report of the change
}

// IsUserID reports whether a recipient, which may be masked, has the form of a business-scoped user id: DE.1234.
func IsUserID(recipient string) bool {
	if len(recipient) < 3 || recipient[2] != '.' {
		return false
	}
	return isUpper(recipient[0]) && isUpper(recipient[1])
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

// WindowReport says that a person wrote to a number or called it: the customer service window is open for 24 hours from then.
type WindowReport struct {
	Number string
	Phone  string // of the person; empty: unknown
	User   string // business-scoped user id; empty: unknown
	At     time.Time
}

// PersonNames finds a person in what is stored.
type PersonNames struct {
	Hashes []string                    // the keyed hashes that may stand for the person
	Is     func(recipient string) bool // reports whether a phone number or user id is one of the person's names
}

// In reports whether a text has one of the names as Meta writes them: a phone number of digits, a business-scoped user id, or Meta's id of a message,
// which is Base64 of bytes with the phone number.
func (p PersonNames) In(text string) bool {
	for name := range strings.FieldsFuncSeq(text, func(c rune) bool { return c != '.' && !isAlphanumeric(c) }) {
		number := 7 <= len(name) && len(name) <= 15 && name[0] <= '9'
		if (number || IsUserID(name)) && p.Is(name) {
			return true
		}
	}
	for i, id := range strings.Split(text, "wamid.") {
		if i == 0 {
			continue // what is before the first id
		}
		if end := strings.IndexFunc(id, func(c rune) bool { return !isAlphanumeric(c) && !strings.ContainsRune("+/-_", c) }); end >= 0 {
			id = id[:end]
		}
		if plain, _ := base64.RawStdEncoding.DecodeString(id); p.In(string(plain)) {
			return true
		}
	}
	return false
}

func isAlphanumeric(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// PersonEntry is what a part of Sluice stores about a person, apart from messages, opt-outs and schedules.
type PersonEntry struct {
	What   string    `json:"what" doc:"customer_service_window (the person wrote to the number), conversation (an app owns the conversation), frequency_cap (messages that the person got from the client are counted), automatic_reply (the person wrote to the number or was answered), unreadable_webhook, event_dead_letter or relay_dead_letter (an event names the person)."`
	Client string    `json:"client,omitempty" doc:"The client that it is about."`
	Number string    `json:"phone_number_id,omitempty" doc:"The number that it is about."`
	Target string    `json:"relay_target,omitempty" doc:"The relay target that it is about."`
	At     time.Time `json:"at,omitzero" doc:"When the latest of it was stored. Absent: not known."`
}

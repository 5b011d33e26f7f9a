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
// which is Base64 of bytes with the phone number. It reads each byte once: texts are all dead letters.
func (p PersonNames) In(text string) bool {
	for from, i := 0, 0; i < len(text); from = i { // from is where the last name ended
		for i < len(text) && text[i] != '.' && !isDigit(text[i]) {
			i++
		}
		before, after := text[from:i], text[min(i+1, len(text)):]
		switch {
		case i == len(text):
		case isDigit(text[i]):
			name := text[i : i+run(text[i:], isDigit)]
			if i += len(name); 7 <= len(name) && len(name) <= 15 && p.Is(name) {
				return true
			}
		case strings.HasSuffix(before, "wamid"):
			id := after[:run(after, isBase64)]
			plain, _ := base64.RawStdEncoding.DecodeString(id)
			if i += 1 + len(id); p.In(string(plain)) {
				return true
			}
		case len(before) >= 2 && IsUserID(text[i-2:]):
			id := strings.TrimPrefix(after, "ENT.")
			start := i - 2
			if i = len(text) - len(id) + run(id, isAlphanumeric); p.Is(text[start:i]) {
				return true
			}
		default:
			i++
		}
	}
	return false
}

// run returns how many bytes at the beginning of a text are of a kind.
func run(text string, is func(byte) bool) (n int) {
	for n < len(text) && is(text[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlphanumeric(c byte) bool { return isDigit(c) || isUpper(c) || c >= 'a' && c <= 'z' }

func isBase64(c byte) bool { return isAlphanumeric(c) || strings.IndexByte("+/-_", c) >= 0 }

// PersonEntry is what a part of Sluice stores about a person, apart from messages, opt-outs and schedules.
type PersonEntry struct {
	What   string    `json:"what" doc:"customer_service_window (the person wrote to the number), conversation (an app owns the conversation), frequency_cap (messages that the person got from the client are counted), automatic_reply (the person wrote to the number or was answered), unreadable_webhook, event_dead_letter or relay_dead_letter (an event names the person)."`
	Client string    `json:"client,omitempty" doc:"The client that it is about."`
	Number string    `json:"phone_number_id,omitempty" doc:"The number that it is about."`
	Target string    `json:"relay_target,omitempty" doc:"The relay target that it is about."`
	At     time.Time `json:"at,omitzero" doc:"When the latest of it was stored. Absent: not known."`
}

package message

import "time"

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

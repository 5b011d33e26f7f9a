package content

import (
	"strings"

	"sluice/internal/message"
)

var (
	recipientMissing = needed("recipient_missing", "A message needs a recipient.", "Give a phone number or the id of a group in to, or a business-scoped user id in recipient.")
	groupMissing     = needed("recipient_group_missing", "A message to a group has the group's id in to.", "Give it, or leave out recipient_type to write to a person.")
	needsPlus        = rule(Invalid, "recipient_needs_plus", "A phone number begins with a plus and the country code.", "Write it as +<country code><number>.")
	recipientInvalid = rule(Invalid, "recipient_invalid", "The recipient is neither a phone number of 7 to 15 digits, nor a group's id, nor a business-scoped user id.", "Write a phone number as +<country code><number>.")
)

// mostGroupID bounds a group id. Meta says only that it is a string; Meta, Cloud API, "Groups".
const mostGroupID = 256

// What people put between the digits, and Meta ignores.
var unformat = strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", ".", "")

// recipient reads "to", "recipient" and "recipient_type" (Meta, Cloud API, "Send messages"). If a message has both, Meta uses
// "to".
func (n node) recipient(c *message.Content) {
	c.Group = n.get("recipient_type").oneOf("individual", "group") == "group"
	to, user := n.get("to"), n.get("recipient")
	switch {
	case c.Group && !to.present():
		to.refuse(groupMissing)
	case !to.present() && !user.present():
		to.refuse(recipientMissing)
	}
	if s, ok := to.text(); ok && to.present() {
		if c.Group {
			c.To = to.group(s)
		} else {
			c.To = to.phone(s)
		}
	}
	if s, ok := user.text(); ok && user.present() {
		c.UserID = s
		if !isUserID(s) {
			user.refuseWord(recipientInvalid, "A business-scoped user id is a country code, a full stop and up to 128 letters and digits.", "Copy user_id from a webhook, or use to with a phone number.")
		}
	}
}

// phone returns a number in E.164. Without its plus Meta would put the sender's country
// code before it and might reach somebody else, so that is refused.
func (n node) phone(given string) string {
	s := unformat.Replace(given)
	digits, plus := strings.CutPrefix(s, "+")
	switch {
	case isUserID(given):
		n.refuseAs(recipientInvalid, "This is a business-scoped user id.", "Give it in recipient instead of to.")
	case strings.Contains(strings.ReplaceAll(given, " ", ""), "(0"):
		n.refuseAs(recipientInvalid, "A phone number has no 0 in brackets: it is dialled only within the country.", "Leave out the 0: write +44 (0)20 7946 0958 as +442079460958.")
	case !isNumber(digits) && strings.ContainsAny(given, "xX,;#"), extended(given):
		n.refuseAs(recipientInvalid, "A phone number has no extension: WhatsApp reaches none.", "Leave it out.")
	case !isNumber(digits):
		n.refuseWord(recipientInvalid, "A phone number is a plus, then 7 to 15 digits of which the first is not 0.", recipientInvalid.Fix)
	case !plus:
		n.refuse(needsPlus)
	default:
		return s
	}
	return ""
}

// extended reports whether a complete number is followed by digits in brackets, and by no others. Brackets around an
// area code have digits after them.
func extended(s string) bool {
	open := strings.LastIndexByte(s, '(')
	if open < 0 || !isNumber(strings.TrimPrefix(unformat.Replace(s[:open]), "+")) {
		return false
	}
	_, after, _ := strings.Cut(s[open:], ")")
	return !strings.ContainsAny(after, "0123456789")
}

// isNumber reports whether s may be an international number without its plus; the longest has
// 15 digits (ITU-T E.164).
func isNumber(s string) bool {
	if len(s) < 7 || len(s) > 15 || s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (n node) group(s string) string {
	if s == "" || len(s) > mostGroupID || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		n.refuseWord(recipientInvalid, "A group id is a word of up to 256 characters.", "Copy the group's id as Meta gave it.")
		return ""
	}
	return s
}

// isUserID knows a business-scoped user id: a country, a full stop and up to 128 letters and
// digits; a parent's begins with "ENT." after the country. Meta, Cloud API, "Business-scoped
// user IDs".
func isUserID(s string) bool {
	country, id, _ := strings.Cut(s, ".")
	id = strings.TrimPrefix(id, "ENT.")
	return len(country) == 2 && only(country, 'A', 'Z') && id != "" && len(id) <= 128 &&
		!strings.ContainsFunc(id, func(r rune) bool {
			return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z')
		})
}

// only reports whether all of s lies between two characters.
func only(s string, first, last rune) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < first || r > last })
}

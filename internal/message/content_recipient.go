package message

import (
	"regexp"
	"strings"
)

// An international number without its formatting; the longest has 15 digits (ITU-T E.164).
var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// A business-scoped user id: a country, a full stop and up to 128 letters and digits; a
// parent's begins with "ENT." after the country. Meta, Cloud API, "Business-scoped user IDs".
var userID = regexp.MustCompile(`^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$`)

// mostGroupID bounds a group id. Meta says only that it is a string; Meta, Cloud API, "Groups".
const mostGroupID = 256

// What people put between the digits, and Meta ignores.
var unformat = strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", ".", "")

// recipient reads "to", "recipient" and "recipient_type" (Meta, Cloud API, "Send messages").
func (n node) recipient(c *Content) {
	kind := n.get("recipient_type")
	switch s, _ := kind.text(); s {
	case "", "individual":
	case "group":
		c.Group = true
	default:
		kind.refuse("value_not_allowed", "The recipient type must be individual or group.", "Leave it out for a person.")
	}
	to, user := n.get("to"), n.get("recipient")
	if !to.present() && !user.present() {
		to.refuse("recipient_missing", "A message needs a recipient.", "Give a phone number in to, or a business-scoped user id in recipient.")
		return
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
		if !userID.MatchString(s) {
			user.refuse("recipient_invalid", "A business-scoped user id is a country code, a full stop and up to 128 letters and digits.", "Copy user_id from a webhook, or use to with a phone number.")
		}
	}
}

// phone returns a number in E.164. Without its plus Meta would put the sender's country
// code before it and might reach somebody else, so that is refused.
func (n node) phone(s string) string {
	s = unformat.Replace(s)
	switch {
	case e164.MatchString(s):
		return s
	case e164.MatchString("+" + s):
		n.refuse("recipient_needs_plus", "A phone number begins with a plus and the country code.", "Write it as +<country code><number>.")
	default:
		n.refuse("recipient_invalid", "A phone number is a plus, then 7 to 15 digits of which the first is not 0.", "Write it as +<country code><number>.")
	}
	return ""
}

func (n node) group(s string) string {
	if s == "" || len(s) > mostGroupID || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		n.refuse("recipient_invalid", "A group id is a word of up to 256 characters.", "Copy the group's id as Meta gave it.")
		return ""
	}
	return s
}

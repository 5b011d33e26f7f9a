package content

import "strings"

// Direct Send is for businesses in a beta of Meta: a message without a template that may start a
// conversation. Meta, Cloud API, "Direct Send".
var (
	ttlNeedsCategory = rule(Invalid, "ttl_needs_category", "Only a message with the category utility or authentication has a ttl_seconds.", "Leave it out, or set expires_at of the request.")
	ttlInvalid       = rule(Invalid, "ttl_seconds_invalid", "ttl_seconds is 30 to 43200 for utility, 30 to 900 for authentication.", "Give whole seconds in that range, or leave it out.")
)

// MinTTL is the least that Meta takes as the ttl_seconds of such a message.
const MinTTL = 30

// MaxTTL is the most, by category; the others take none.
var MaxTTL = map[string]int{"utility": 43200, "authentication": 900}

// checkDirectSend returns the category.
func (n node) checkDirectSend() (category string) {
	category = n.get("category").oneOf("utility", "service", "authentication")
	ttl := n.get("ttl_seconds")
	if !ttl.present() {
		return category
	}
	if longest, ok := MaxTTL[category]; ok {
		ttl.whole(MinTTL, int64(longest), ttlInvalid)
	} else {
		ttl.refuse(ttlNeedsCategory)
	}
	return category
}

// directText is the limit of a text, which is shorter for some categories.
func (n node) directText() *limit {
	switch strings.ToLower(n.get("category").bare()) {
	case "utility", "authentication":
		return directTextLimit
	}
	return textLimit
}

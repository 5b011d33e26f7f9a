package message

// Direct Send is for businesses that Meta let into its beta: a message that is no template
// and may start a conversation. Meta, Cloud API, "Direct Send".
var (
	ttlNeedsCategory = rule(Invalid, "ttl_needs_category", "Only a message with the category utility or authentication has a ttl_seconds.", "Leave it out, or set expires_at beside the message.")
	ttlInvalid       = rule(Invalid, "ttl_seconds_invalid", "ttl_seconds is 30 to 43200 for utility, 30 to 900 for authentication.", "Give whole seconds in that range, or leave it out.")
)

func (n node) checkDirectSend() {
	category := n.get("category").oneOf("utility", "service", "authentication")
	ttl := n.get("ttl_seconds")
	if !ttl.present() {
		return
	}
	switch category {
	case "utility":
		ttl.whole(30, 43200, ttlInvalid)
	case "authentication":
		ttl.whole(30, 900, ttlInvalid)
	default:
		ttl.refuse(ttlNeedsCategory)
	}
}

// directText is the limit of a text, which is shorter for some categories.
func (n node) directText() *limit {
	switch n.get("category").value {
	case "utility", "authentication":
		return directTextLimit
	}
	return textLimit
}

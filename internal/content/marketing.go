package content

// Meta, Marketing Messages API: POST /{phone number id}/marketing_messages takes a template message with these two
// members. https://developers.facebook.com/docs/whatsapp/marketing-messages-api-for-whatsapp/send-marketing-messages
var (
	marketingTemplate = rule(Invalid, "product_policy_not_allowed", "Only a template message has a product_policy.", "Remove product_policy, or send a template.")
	sharingAlone      = rule(Invalid, "message_activity_sharing_not_allowed", "Only a message with a product_policy has message_activity_sharing.", "Add a product_policy, or remove it.")
)

// DefaultPolicy is the product_policy of Meta for a message to the Marketing Messages API without one.
const DefaultPolicy = "CLOUD_API_FALLBACK"

// checkMarketing reports whether the message is for the Marketing Messages API: it has a product_policy.
func (n node) checkMarketing(kind string) bool {
	policy, sharing := n.get("product_policy"), n.get("message_activity_sharing")
	if policy.oneOf(DefaultPolicy, "STRICT"); policy.present() && kind != "template" {
		policy.refuse(marketingTemplate)
	}
	if sharing.boolean(); sharing.present() && !policy.present() {
		sharing.refuse(sharingAlone)
	}
	return policy.present()
}

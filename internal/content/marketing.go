package content

import (
	"bytes"
	"strconv"
)

// Meta, Marketing Messages API: POST /{phone number id}/marketing_messages takes a template message with these two
// members. https://developers.facebook.com/docs/whatsapp/marketing-messages-api-for-whatsapp/send-marketing-messages
var (
	marketingTemplate = rule(Invalid, "product_policy_not_allowed", "Only a template message has a product_policy.", "Remove product_policy, or send a template.")
	sharingAlone      = rule(Invalid, "message_activity_sharing_not_allowed", "Only a message with a product_policy has message_activity_sharing.", "Add a product_policy, or remove it.")
)

// DefaultPolicy is the product_policy of Meta for a message to the Marketing Messages API without one.
const DefaultPolicy = "CLOUD_API_FALLBACK"

// StrictPolicy is the product_policy of a message that Meta must not send with the Cloud API instead.
const StrictPolicy = "STRICT"

// WithPolicy returns a stored template message, which has no product_policy, as one for the Marketing Messages API. A nil sharing is Meta's
// default.
func WithPolicy(payload []byte, policy string, sharing *bool) []byte {
	const start = `{"messaging_product":"whatsapp"`
	rest, ok := bytes.CutPrefix(payload, []byte(start))
	if !ok {
		return payload
	}
	b := append(make([]byte, 0, len(payload)+96), start+`,"product_policy":"`+policy+`"`...)
	if sharing != nil {
		b = strconv.AppendBool(append(b, `,"message_activity_sharing":`...), *sharing)
	}
	return append(b, rest...)
}

// checkMarketing reports whether the message is for the Marketing Messages API: it has a product_policy.
func (n node) checkMarketing(kind string) bool {
	policy, sharing := n.get("product_policy"), n.get("message_activity_sharing")
	if policy.oneOf(DefaultPolicy, StrictPolicy); policy.present() && kind != "template" {
		policy.refuse(marketingTemplate)
	}
	if sharing.boolean(); sharing.present() && !policy.present() {
		sharing.refuse(sharingAlone)
	}
	return policy.present()
}

package content

import (
	"slices"
	"strings"

	"sluice/internal/jsondoc"
)

var memberSpelling = rule(Invalid, "member_spelling", "A member is spelled as Meta spells it, in lower case.", "Write it so: Meta ignores the other spelling, or refuses the message.")

// memberNames are the members of Meta's objects that this version knows. A test finds those that
// are missing here.
var memberNames = strings.Fields(`
action address addresses amount amount_1000 audio birthday biz_opaque_callback_data body button buttons
caption card_index cards catalog_id category city code company components contacts context country
country_code coupon_code currency data date_time department description discount display_text document email
emails emoji expiration_days expiration_time_ms fallback_value filename first_name flow_action
flow_action_data flow_action_payload flow_cta flow_id flow_message_version flow_name flow_token footer
formatted_name gif header id image index interactive items language last_name latitude limited_time_offer link
location longitude message_activity_sharing message_id messaging_account_id messaging_product middle_name mode name offset order order_details org
parameter_name parameters payload phone phones pin policy prefix preview_url product product_items
product_policy product_retailer_id quantity quick_reply reaction recipient recipient_identity_key_hash recipient_type
reference_id reply rows sale_amount saved_addresses screen sections shipping state status sticker street
sub_type subtotal suffix tap_target_configuration tax template text thumbnail_product_retailer_id title to
total_amount ttl_minutes ttl_seconds type typing_indicator url urls validation_errors value values video voice
wa_id zip
`)

// freeMembers hold objects whose members the caller names.
var freeMembers = map[string]bool{"data": true, "flow_action_data": true}

// checkSpelling refuses members, at any depth, that differ from a known one by case alone:
// "Preview_url" would pass as an unknown member, and Meta would not see it. What is in members that
// this version does not know is left alone.
func (n node) checkSpelling() {
	if n.value.AnyName(oddName) { // of hardly any object
		n.spelling()
	}
}

// oddName reports whether a name has more than small letters, digits and underscores.
func oddName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_') {
			return true
		}
	}
	return false
}

func (n node) spelling() {
	for name, value := range n.value.Members() {
		member := node{value: value, report: n.report, path: strings.TrimPrefix(n.path+"."+jsondoc.PathName(name), ".")}
		if right := spelled(name); oddName(name) && right != "" {
			member.path = strings.TrimPrefix(n.path+"."+right, ".")
			member.refuseAs(memberSpelling, "This member is spelled "+right+".", memberSpelling.Fix)
		}
		if slices.Contains(memberNames, name) && !freeMembers[name] {
			member.spelling()
		}
	}
	for i, value := range n.value.Elements() {
		n.item(i, value).spelling()
	}
}

// spelled returns the known member that a name is but for its case; empty: none. Case folds as
// in Unicode, where a Kelvin sign is a k.
func spelled(name string) string {
	for _, known := range memberNames {
		if strings.EqualFold(known, name) {
			return known
		}
	}
	return ""
}

package content

// Meta, Cloud API, "Groups": a message of a group can be pinned to its top.
var (
	pinNeedsGroup = rule(Invalid, "pin_needs_group", "Only messages of a group can be pinned.", "Set recipient_type to group and to to the group's id.")
	pinnedMissing = needed("pin_message_id_empty", "A pin names the message it is for.", "Give the wamid of a message of the group.")
	pinDays       = rule(Invalid, "pin_days_invalid", "A pin lasts 1 to 30 days.", "Give expiration_days as a whole number in that range.")
)

func (n node) checkPin(group bool) {
	if !group {
		n.refuse(pinNeedsGroup)
	}
	if !n.object() {
		return
	}
	kind := n.get("type").neededOneOf("pin", "unpin")
	n.get("message_id").id(pinnedMissing)
	if days := n.get("expiration_days"); kind == "pin" || days.present() {
		days.whole(1, 30, pinDays)
	}
}

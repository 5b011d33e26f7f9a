package content

import (
	"strings"

	"sluice/internal/jsondoc"
)

// knownMembers are the members of the objects whose unknown members are reported. "" is the message itself.
var knownMembers = func() map[string]map[string]bool {
	media := append([]string{"id", "link"}, unexpectedMembers...)
	all := map[string]map[string]bool{}
	for name, members := range map[string][]string{
		"": append(strings.Fields("messaging_product recipient_type to recipient type context biz_opaque_callback_data recipient_identity_key_hash "+
			"category ttl_seconds product_policy message_activity_sharing messaging_account_id"), contentTypes...),
		"context":     {"message_id"},
		"text":        {"body", "preview_url"},
		"location":    {"latitude", "longitude", "name", "address"},
		"reaction":    {"message_id", "emoji"},
		"template":    {"name", "language", "components", "namespace"},
		"interactive": {"type", "header", "body", "footer", "action"},
		"pin":         {"type", "message_id", "expiration_days"},
		"image":       media, "video": media, "document": media, "audio": media, "sticker": media,
	} {
		all[name] = map[string]bool{}
		for _, member := range members {
			all[name][member] = true
		}
	}
	return all
}()

// extra returns the path of a member that this version does not know, the first in the order of the alphabet; empty:
// there is none. It examines the message, its context and its content, not what is in these.
func (n node) extra(kind string) (least string) {
	if knownMembers[kind] == nil && kind != "contacts" {
		return "" // the whole content is unknown
	}
	for _, in := range []string{"", "context", kind} {
		object, prefix := n.value, ""
		if in != "" {
			object, prefix = n.value.Get(in), in+"."
		}
		known := knownMembers[in]
		for name := range object.Members() {
			if known == nil || known[name] {
				continue
			}
			if path := prefix + jsondoc.PathName(name); least == "" || path < least {
				least = path
			}
		}
	}
	return least
}

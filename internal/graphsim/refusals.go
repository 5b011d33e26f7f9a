package graphsim

import (
	"fmt"

	"sluice/internal/content"
	"sluice/internal/message"
)

// wrong is why a message is refused: a Graph error code, and details.
type wrong struct {
	code    int
	plain   bool // an error of the Graph API's own check of parameters, whose message has the details, without error_data
	details string
}

// passed are the rules of Sluice that Meta does not have: Sluice refuses what would fail or go to another recipient. Meta accepts
// the message, and later reports it as failed with this code; 0: it does not.
var passed = map[string]int{
	"recipient_needs_plus": 0, // Meta adds the country code of the sender
	"member_spelling":      0, // Meta ignores the member
	"link_host_forbidden":  131053,
	"link_port_invalid":    131053,
	"link_too_long":        131053,
	"link_userinfo":        131053,
	"link_scheme":          131053,
}

// verdict returns Meta's answer to problems, or nil if Meta accepts the message.
func (m *request) verdict(problems []message.Problem) *wrong {
	for _, p := range problems {
		if failed, ok := passed[p.Code]; ok {
			m.failed = failed
			continue
		}
		code, plain := content.MetaCode(p.Code)
		switch {
		case p.Code == "type_unknown":
			return &wrong{code, plain, fmt.Sprintf("Param type must be one of {%s} - got %q.", knownTypes, m.Type)}
		case plain:
			return &wrong{code, plain, content.MetaMessage(p)}
		}
		return &wrong{code, plain, "Param " + content.MetaPath(p.Path) + ": " + p.Detail}
	}
	return nil
}

// knownTypes are the types of messages, as Meta's answer to another one lists them.
const knownTypes = "AUDIO, CONTACTS, DOCUMENT, IMAGE, INTERACTIVE, LOCATION, PIN, REACTION, STICKER, TEMPLATE, TEXT, VIDEO"

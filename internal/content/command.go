package content

import (
	"slices"
	"strings"
)

// commands are parameters of the Graph API that would change the token, the kind or the answer of a call. The Graph API
// reads parameters from bodies too, and Sluice makes each call with its own token.
var commands = []string{"access_token", "appsecret_proof", "appsecret_time", "input_token", "method", "batch", "ids"}

var commandNotAllowed = rule(Invalid, "member_not_allowed", "This is a parameter of the Graph API, not of a message. Sluice sets it itself.", "Remove it.")

// Command returns the parameter of the Graph API that a member at the top of a body would be, in any case and with other
// signs for its underscores, if it would change the token, the kind or the answer of the call; empty: none. No body with
// such a member may go to Meta.
func Command(member string) string {
	if strings.ContainsAny(member, ".[ ") {
		member, _, _ = strings.Cut(strings.TrimSpace(member), "[")
		member = strings.NewReplacer(".", "_", " ", "_").Replace(member)
	}
	i := slices.IndexFunc(commands, func(c string) bool { return strings.EqualFold(c, member) })
	if i < 0 {
		return ""
	}
	return commands[i]
}

// checkCommand refuses parameters of the Graph API that would change the call to Meta.
func (n node) checkCommand() {
	for name, value := range n.value.Members() {
		if c := Command(name); c != "" {
			node{value: value, report: n.report, path: c}.refuse(commandNotAllowed)
		}
	}
}

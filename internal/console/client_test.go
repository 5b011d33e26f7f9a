package console_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/directory"
	"sluice/internal/message"
)

// TestReadClient: an operator sees all of a client. A key of a client sees its own client only, and nothing of others on a shared number.
func TestReadClient(t *testing.T) {
	t.Parallel()
	d := setup(t)
	const third = "300000000000001"
	d.directory.entries = &directory.Entries{
		Numbers: []directory.Number{{PhoneNumberID: ours, Client: "acme"}, {PhoneNumberID: theirs, Client: "globex", SharedWith: []string{"acme"}}, {PhoneNumberID: third, Client: "globex"}},
		APIKeys: []directory.APIKey{
			{Name: "shop", Client: "acme", SHA256: strings.Repeat("a", 64), Numbers: []string{"*"}, Scopes: []string{"messages:send"}}, {Name: "other", Client: "globex", Numbers: []string{"*"}},
		},
		Clients: []directory.Client{{Name: "acme", Weight: 3, Note: "contract 4711"}, {Name: "globex"}},
	}
	d.fleet.clients = map[string]int{"acme": 2, "globex": 1}
	for name, client := range map[string]string{"crm": "acme", "lake": "globex"} {
		d.targets.all[name] = message.RelayStatus{RelayTarget: message.RelayTarget{Name: name, Client: client, URL: "https://crm.example/?token=canary"}}
	}
	read := func(key, name string) string {
		status, answer := d.ask(t, key, "GET", "/v1/clients/"+name, "")
		if status != 200 {
			return fmt.Sprint(status, " ", answer["code"])
		}
		client := answer["client"].(map[string]any)
		text := fmt.Sprintf("%v/%v/%v:", client["name"], client["weight"], client["note"])
		for _, n := range answer["numbers"].([]any) {
			one := n.(map[string]any)
			text += fmt.Sprintf(" %v %v waiting %v share %v", one["phone_number_id"], one["shared"] == true, one["waiting"], one["share"])
			if state, seen := one["number"].(map[string]any); seen {
				text += fmt.Sprintf(" of %v", state["waiting"])
			}
			text += ";"
		}
		for _, list := range []string{"api_keys", "relay_targets"} {
			for _, one := range answer[list].([]any) {
				text += fmt.Sprint(" ", one.(map[string]any)["name"])
			}
		}
		if all := fmt.Sprint(answer); strings.Contains(all, "aaaa") || strings.Contains(all, "canary") {
			t.Errorf("a secret or its hash: %s", all)
		}
		return text
	}
	mine := " " + ours + " false waiting 2 share 1"
	for _, c := range []struct{ key, name, want string }{
		{"wide", "acme", "acme/3/contract 4711:" + mine + " of 2; " + theirs + " true waiting 2 share 0.75 of 3; shop crm"},
		{"wide", "globex", "globex/<nil>/<nil>: " + theirs + " true waiting 1 share 0.25 of 3; " + third + " false waiting 0 share 1; other lake"},
		{"acmes", "acme", "acme/3/<nil>:" + mine + " of 2; " + theirs + " true waiting 2 share 0.75; shop crm"},
		{"acmes", "globex", "404 entry_not_found"},
		{"wide", "nosuch", "404 entry_not_found"},
		{"acmes", "nosuch", "404 entry_not_found"},
		{"admin", "acme", "403 all_numbers_required"},
	} {
		if got := read(c.key, c.name); got != c.want {
			t.Errorf("%s reads %s: %s, want %s", c.key, c.name, got, c.want)
		}
	}
}

package config

import (
	"testing"
	"time"
)

// TestParseEntries: entries to store pass the checks of the configuration file, and may name no file that depends on where it is.
func TestParseEntries(t *testing.T) {
	t.Parallel()
	e, mistakes := ParseEntries("", []byte(`{"numbers": [{"phone_number_id": "7", "token_file": "/token", "client": "shop", "classes": {"utility": {"deadline": "90s"}}}],
"apps": [{"name": "main"}], "clients": [{"name": "shop", "note": "a note"}]}`), nil)
	if len(mistakes) > 0 || len(e.Numbers) != 1 || len(e.Apps) != 1 || len(e.Clients) != 1 {
		t.Fatalf("%+v, %v", e, mistakes)
	}
	if n := e.Numbers[0]; !n.Learn || n.Rate != DefaultRate || n.TokenFile != "/token" || n.Client != "shop" || n.Classes["utility"].Deadline != 90*time.Second {
		t.Errorf("%+v", n)
	}
	for text, want := range map[string]string{
		`numbers: [{phone_number_id: "7", token_file: token}]`: "x:1: numbers[0].token_file: is not an absolute path: give the path that all workers can read, or set the access token itself",
		`apps: [{name: main, secret_file: /secret}]`:           "x:1: apps[0].secret_file: a stored app has no files: remove the key, and set the secret itself",
		`canary: []`:                      "x:1: canary: unknown key; valid keys: api_keys, apps, clients, numbers",
		`clients: [{name: a}, {name: a}]`: "x:1: clients[1].name: client a is in the list twice: remove one",
		`numbers: [{phone_number_id: "7", classes: {authentication: {in_doubt_window: 5s}}}]`: "in_doubt_window of class authentication of number 7: is 5s and in_doubt_policy is resend: the first request may still be running then. Set in_doubt_window to 30s or more, or in_doubt_policy to park",
		`[]`: "x:1: must be a mapping with the keys api_keys, apps, clients, numbers",
		``:   "x: is empty",
	} {
		if _, mistakes := ParseEntries("x", []byte(text), nil); len(mistakes) != 1 || mistakes[0].Error() != want {
			t.Errorf("%s: %v, want %s", text, mistakes, want)
		}
	}
}

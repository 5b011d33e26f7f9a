package pages_test

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/httpapi"
)

// TestDirectoryPage: entries of each kind are added, changed, replaced and removed by the forms, no page shows a secret, and the audit
// log has every change.
func TestDirectoryPage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	const numbers, keys = "/console/directory?kind=numbers", "/console/directory?kind=api_keys"
	shows := func(what string, p page, status int, want ...string) {
		t.Helper()
		for _, text := range want {
			if !strings.Contains(p.text, text) {
				t.Errorf("%s: no %q in %s", what, text, p.text)
			}
		}
		if p.StatusCode != status || strings.Contains(p.text, "hidden-") || strings.Contains(p.text, hostile) {
			t.Errorf("%s: %d %s", what, p.StatusCode, p.text)
		}
	}
	shows("add a client", b.act("/console/directory?kind=clients", "set", "id", "acme", "note", hostile, "reason", "new"), 200, "Stored: client acme", html.EscapeString(hostile))
	shows("without a reason", b.act(numbers, "set", "id", "77", "client", "acme"), 422, "reason is missing", `value="77"`)
	shows("a client that is not there", b.act(numbers, "set", "id", "77", "client", "nosuch", "reason", "new"), 422, "client nosuch does not exist")
	shows("not a number", b.act(numbers, "set", "id", "77", "rate_limit", "fast", "reason", "new"), 422, "must be a whole number")
	shows("add a number", b.act(numbers, "set", "id", "77", "client", "acme", "rate_limit", "50", "access_token", "hidden-token-1", "reason", "new"), 200, "Stored: number 77", "access token ", "acme", "stored")
	form := b.get(numbers + "&set=77")
	shows("the form", form, 200, "Change the number 77", `name="client" value="acme"`, `name="rate_limit" value="50"`)
	revision := regexp.MustCompile(`name="revision" value="(\d+)"`).FindStringSubmatch(form.text)
	if revision == nil {
		t.Fatal("the form has no revision")
	}
	change := []string{"id", "77", "change", "1", "revision", revision[1], "client", "acme", "rate_limit", "60", "reason", "faster"}
	shows("change it", b.act(numbers+"&set=77", "set", change...), 200, "Stored: number 77", ">60<", "access token ")
	change[len(change)-3] = "70"
	shows("another change of the same revision", b.act(numbers+"&set=77", "set", change...), 409, "another operator changed it")
	set := func(name, value string) page {
		return b.act(numbers+"&set=77", "set", "id", "77", "change", "1", "revision", "", "client", "acme", "rate_limit", "60", name, value, "reason", "test")
	}
	for name, value := range map[string]string{"message_activity_sharing": "maybe", "graph_version_canary": "v27.0", "marketing_messages": "loud"} {
		shows("a wrong "+name, set(name, value), 422, `value="`+value+`"`)
	}
	for name, value := range map[string]string{
		"unknown_types": "refuse", "other_app_conversations": "wait", "messaging_account_id": "222", "marketing_messages": "strict", "message_activity_sharing": "false", "graph_version": "v26.0", "graph_version_canary": "v27.0=5",
	} {
		listed := set(name, value)
		shows("set "+name, listed, 200, ": "+value+"<br>")
		if n := strings.Count(listed.text, "<br>"); n != 2 { // the setting and the stored secret
			t.Errorf("%s: %d other settings and secrets: %s", name, n, listed.text)
		}
		shows("the form after "+name, b.get(numbers+"&set=77"), 200, `name="`+name+`" value="`+value+`"`)
	}
	shows("a default", set("marketing_messages", "off"), 200, "Stored: number 77")
	if p := b.get(numbers); strings.Contains(p.text, "Marketing messages: ") {
		t.Errorf("a default is shown as another setting: %s", p.text)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/v1/numbers", strings.NewReader(`{"phone_number_id":"78","actor":"anna","reason":"new","access_token":"hidden-token-3",`+
		`"classes":{"marketing":{"deadline":"24h","portfolio_limit":"wait"},"service":{"portfolio_limit":"refuse"}},"template_classes":[{"name":"otp_*","class":"authentication"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.tokens["admin"])
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	settings := []string{"Class marketing, deadline: 24h", "Class marketing, portfolio limit: wait<br>", "Templates otp_*: class authentication<br>"}
	shows("settings of classes", b.get(numbers), 200, settings...)
	listed := b.act(numbers+"&set=78", "set", "id", "78", "change", "1", "revision", "", "rate_limit", "61", "reason", "test")
	shows("they stay", listed, 200, append(settings, ">61<")...)
	if strings.Contains(listed.text, "Class service") {
		t.Errorf("a default of a class is shown: %s", listed.text)
	}
	shows("replace the token", b.act(numbers+"&rotate=77", "rotate", "id", "77", "secret", "hidden-token-2", "reason", "expired"), 200, "Replaced the secret: number 77")
	shows("add an app", b.act("/console/directory?kind=apps", "set", "id", "second", "secret", "hidden-app-secret", "verify_token", "hidden-verify-token", "reason", "new"), 200, "Stored: app second", "secret ", "verify token ")

	made := b.act(keys, "set", "id", "shop", "phone_number_ids", "77", "scopes", "messages:send, messages:read", "client", "acme", "reason", "new")
	shows("add a key", made, 200, "The API key shop is", "never shown again")
	key := regexp.MustCompile(`<code>(sk_[\w-]+)</code>`).FindStringSubmatch(made.text)
	if key == nil || !strings.HasPrefix(key[1], "sk_") {
		t.Fatalf("no key: %s", made.text)
	}
	if p := b.get(keys); strings.Contains(p.text, key[1]) || !strings.Contains(p.text, "messages:send, messages:read") {
		t.Errorf("the list of keys: %s", p.text)
	}
	shows("replace the key", b.act(keys+"&rotate=shop", "rotate", "id", "shop", "previous_for", "2h", "reason", "lost"), 200, "The API key shop is")
	shows("revoke it", b.act(keys+"&set=shop", "set", "id", "shop", "change", "1", "revision", "", "phone_number_ids", "77", "scopes", "messages:send", "revoked", "true", "reason", "lost"), 200, `<span class="tag bad">revoked</span>`)
	shows("a client with a number", b.act("/console/directory?kind=clients&remove=acme", "remove", "id", "acme", "reason", "over"), 422, "still belongs to it")
	shows("remove the key", b.act(keys+"&remove=shop", "remove", "id", "shop", "reason", "over"), 200, "Removed: API key shop")
	shows("add another number", b.act(numbers, "set", "id", "79", "client", "acme", "reason", "new"), 200, "Stored: number 79")
	s.unfinished = 37
	move := []string{"id", "77", "backlog", "move", "to", "80", "reason", "blocked"}
	shows("a move to a number that is not there", b.act(numbers+"&remove=77", "remove", move...), 422, "80 is not configured", `name="to" autocomplete="off" inputmode="numeric" value="80"`)
	move[5] = "79"
	shows("a move", b.act(numbers+"&remove=77", "remove", move...), 200, "Workers remove it when its last message is final", "leaves: move to 79, 37 left")
	s.unfinished = 0
	shows("remove the number", b.act(numbers+"&remove=77", "remove", "id", "77", "backlog", "refuse", "reason", "over"), 200, "Removed: number 77")

	shows("the audit log", b.get("/console/audit"), 200, "number-set", "77 access_token", "app-set", "key-set", "key-remove", "number-remove", "client-set", "anna")
	reader, narrow := s.signIn("reader"), s.signIn("narrow")
	if p := reader.get(numbers + "&set=" + ours); p.StatusCode != 200 || strings.Count(p.text, "<form") != 1 || strings.Contains(p.text, ">Change<") || !strings.Contains(p.text, ours) {
		t.Errorf("a reader sees %s", p.text)
	}
	if p := reader.act(numbers, "set", "id", "88", "reason", "x"); p.StatusCode != 403 {
		t.Errorf("a reader adds: %d", p.StatusCode)
	}
	if p := narrow.get(numbers); p.StatusCode != 200 || strings.Contains(p.text, theirs) || !strings.Contains(p.text, ours) {
		t.Errorf("a key of one number sees %s", p.text)
	}
	if p := narrow.get(keys); p.StatusCode != 403 {
		t.Errorf("the keys for one number: %d", p.StatusCode)
	}
	if p := b.act(keys, "remove", "id", "admin", "reason", "x"); p.StatusCode != 409 {
		t.Errorf("the API key of the session is removed: %d, scope %s", p.StatusCode, httpapi.ScopeAdmin)
	}
}

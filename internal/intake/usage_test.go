package intake_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sluice/internal/message"
)

// TestUsageOfUnknownClient: the usage of a client that is neither in the directory nor counted is refused, with the member and what to do.
func TestUsageOfUnknownClient(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for client, want := range map[string]int{"": 200, "acme": 200, "removed": 200, "unknown": 422} {
		query := ""
		if client != "" {
			query = "?client=" + client
		}
		got := b.do(t, "GET", "/v1/usage"+query, "", nil)
		if got.status != want {
			t.Errorf("client %q: %d %s", client, got.status, got.body)
		}
		if want == 422 && (got.problem(t).Code != "client_not_found" && !strings.Contains(got.body, `"code":"client_not_found"`) || !strings.Contains(got.body, `"path":"client"`) || !strings.Contains(got.body, "sluice clients list")) {
			t.Errorf("client %q: %s", client, got.body)
		}
	}
}

// TestQuotasOfClients: a key sees the quotas of its client; without one it must be for all numbers, and sees those of all clients.
func TestQuotasOfClients(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, c := range []struct {
		key, query string
		status     int
		clients    string // or the code
	}{
		{b.wide, "", 200, "acme globex"},
		{b.wide, "?client=globex", 200, "globex"},
		{b.wide, "?client=unknown", 422, "client_not_found"},
		{b.narrow, "", 403, "all_numbers_required"},
		{b.acmes, "", 200, "acme"},
		{b.acmes, "?client=acme", 200, "acme"},
		{b.acmes, "?client=globex", 422, "client_not_found"},
	} {
		got := b.do(t, "GET", "/v1/quotas"+c.query, "", withHeader("Authorization", "Bearer "+c.key))
		var answer struct{ Quotas []message.QuotaUse }
		if c.status == 200 {
			if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
				t.Fatal(err)
			}
		}
		var clients []string
		for _, q := range answer.Quotas {
			clients = append(clients, q.Client)
		}
		if got.status != c.status || c.status == 200 && strings.Join(clients, " ") != c.clients || c.status != 200 && !strings.Contains(got.body, c.clients) {
			t.Errorf("%s: %d %s, want %d %s", c.query, got.status, got.body, c.status, c.clients)
		}
	}
}

package intake_test

import (
	"strings"
	"testing"
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

package pages_test

import (
	"html"
	"slices"
	"strings"
	"testing"

	"sluice/internal/message"
)

// catalogue has the templates of accounts.
type catalogue []message.TemplateAccount

func (c catalogue) Accounts() []message.TemplateAccount { return c }

// TestTemplatesPage: the page shows states, and lets workers read the templates of an account.
func TestTemplatesPage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.catalogue = catalogue{
		{ID: "11", Numbers: []string{ours}, Sync: message.TemplateSync{Synced: 1_790_000_000_000, Error: hostile}, Templates: []message.Template{
			{Name: "order", Language: "en_US", Status: "APPROVED", Category: "UTILITY", Quality: "GREEN"}, {Name: "sale", Language: "en_US", Status: "PAUSED", Category: "MARKETING", Quality: "RED"},
		}},
		{ID: "22", Numbers: []string{theirs}, Templates: []message.Template{{Name: "secret_plan", Language: "de", Status: "APPROVED"}}},
	}
	s.pages, s.url = s.serve(s.keys)
	shows := func(p page, wanted []string, hidden ...string) {
		t.Helper()
		for _, text := range wanted {
			if p.StatusCode != 200 || !strings.Contains(p.text, text) {
				t.Errorf("%d: no %q in %s", p.StatusCode, text, p.text)
			}
		}
		for _, text := range hidden {
			if strings.Contains(p.text, text) {
				t.Errorf("%q is in %s", text, p.text)
			}
		}
	}
	b := s.signIn("admin")
	shows(b.get("/console/templates"), []string{
		"sale/en_US", `<span class="tag bad">PAUSED</span>`, `<span class="tag bad">RED</span>`, "MARKETING", "secret_plan/de", "never", html.EscapeString(hostile),
	}, hostile)
	shows(b.get("/console/templates?status=PAUSED"), []string{"sale/en_US"}, "order/en_US")
	shows(s.signIn("narrow").get("/console/templates"), []string{"sale/en_US"}, "secret_plan")
	shows(b.get("/console/templates?waba_id=11&sync=1"), []string{"Read now"})
	shows(b.act("/console/templates?waba_id=11&sync=1", "sync", "waba_id", "11", "reason", "webhooks were off"), []string{"Workers read the templates of account 11"})
	if !slices.Equal(s.synced, []string{"11"}) {
		t.Errorf("%q", s.synced)
	}
	if p := s.signIn("reader").act("/console/templates", "sync", "waba_id", "11", "reason", "x"); p.StatusCode != 403 {
		t.Errorf("a reader orders a sync: %d", p.StatusCode)
	}
}

package intake_test

import (
	"net/http"
	"strings"
	"testing"

	"sluice/internal/message"
)

// A message of a campaign has its price, and one with a fallback template the higher of the two. A check says what it would cost now.
func TestPrice(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.estimate = func(m *message.Message) *message.Cost {
		if m.Content.Template == "" {
			return nil
		}
		return &message.Cost{Amount: map[string]message.Amount{"dear": 70_000, "cheap": 20_000}[m.Content.Template], Currency: "EUR"}
	}
	template := func(name string) string { return `{"name":"` + name + `","language":{"code":"en"}}` }
	request := func(object, more string) string {
		return `{"from":"` + ours + `","message":{"to":"+15551234567",` + object + `}` + more + `}`
	}
	text, cheap := `"type":"text","text":{"body":"hi"}`, `"type":"template","template":`+template("cheap")
	dear, spring := `,"fallback_template":`+template("dear"), `,"campaign":"spring"`
	for name, c := range map[string]struct {
		body  string
		price int
		check string
	}{
		"a template":                      {request(cheap, spring), 20_000, `"estimated_cost":{"amount":"0.02","currency":"EUR"}`},
		"a dearer fallback template":      {request(cheap, spring+dear), 70_000, `"estimated_cost":{"amount":"0.02","currency":"EUR"}`},
		"a text":                          {request(text, spring), 0, ``},
		"a text with a fallback template": {request(text, spring+dear), 70_000, ``},
		"of no campaign and no client":    {request(cheap, ""), 0, `"estimated_cost":{"amount":"0.02","currency":"EUR"}`},
	} {
		if m := b.store.messages[b.post(t, c.body).accepted(t).ID]; m.Price != c.price {
			t.Errorf("%s: the price is %d, want %d", name, m.Price, c.price)
		}
		r := b.do(t, http.MethodPost, "/v1/messages/check", c.body, nil)
		if !strings.Contains(r.body, c.check) || strings.Contains(r.body, "estimated_cost") != (c.check != "") {
			t.Errorf("%s: %s", name, r.body)
		}
	}
}

package graphsim_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/graphsim"
)

// TestMarketingTemplates: what cannot be sent by /messages, or not yet by /marketing_messages, is refused with Meta's codes, and a message of
// the Marketing Messages API is charged as marketing_lite.
func TestMarketingTemplates(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	b := setup(t, graphsim.Options{Webhook: graphsim.Webhook{URL: r.URL, Secret: secret}, Account: graphsim.Account{
		App: graphsim.App{Fields: []string{"messages"}}, NoCloud: true, Syncing: graphsim.Duration(time.Hour),
		Templates: []graphsim.Template{{Name: "sale", Category: "MARKETING"}, {Name: "bid", Category: "UTILITY", MaxPrice: true}, {Name: "order"}},
	}})
	b.run()
	if a := b.do("PATCH", "/_sim/templates/new/en_US", `{"category":"MARKETING"}`); a.Status >= 300 {
		t.Fatal(a.Raw)
	}
	for _, c := range []struct {
		path, template string
		code           int
	}{
		{"messages", "sale", 131063},
		{"messages", "bid", 131061},
		{"messages", "order", 0},
		{"marketing_messages", "sale", 0},
		{"marketing_messages", "new", 134101},
		{"marketing_messages", "order", 134100},
	} {
		body := `{"messaging_product":"whatsapp","to":"+16505551234","type":"template","template":{"name":"` + c.template + `","language":{"code":"en_US"}}}`
		if a := b.do("POST", "/v26.0/"+number+"/"+c.path, body); a.Error.Code != c.code {
			t.Errorf("%s of %s: %s", c.path, c.template, a.Raw)
		}
	}
	accepted := b.Accepted()
	if len(accepted) != 2 {
		t.Fatalf("%+v", accepted)
	}
	if accepted[0].Marketing || !accepted[1].Marketing || accepted[1].Version != "v26.0" {
		t.Errorf("%+v", accepted)
	}
	b.drained()
	categories := map[string]string{}
	for _, u := range r.received() {
		if u.Pricing != nil {
			categories[u.ID] = u.Pricing.Category
		}
	}
	if len(categories) != 2 || categories[accepted[0].WAMID] != "utility" || categories[accepted[1].WAMID] != "marketing_lite" {
		t.Errorf("charged for %v", categories)
	}
}

// TestGraphVersions: Meta serves an expired version by the oldest that is left, and does not know a version of the future.
func TestGraphVersions(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{Account: graphsim.Account{Versions: []string{"v24.0", "v25.0"}}})
	for asked, want := range map[string]struct {
		served string
		code   int
	}{"v21.0": {"v24.0", 0}, "v25.0": {"v25.0", 0}, "v99.0": {"v25.0", 2500}} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", b.server.URL+"/"+asked+"/"+number+"/messages", strings.NewReader(`{"messaging_product":"whatsapp",`+text("+16505551234", "")+`}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer token")
		resp, err := b.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if served, a := resp.Header.Get("Facebook-Api-Version"), read(t, resp); served != want.served || a.Error.Code != want.code {
			t.Errorf("%s: served by %s, %s", asked, served, a.Raw)
		}
	}
}

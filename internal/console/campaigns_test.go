package console_test

import (
	"errors"
	"testing"

	"sluice/internal/message"
)

// TestCancelCampaignOrder: an order about a campaign needs a key for all numbers, and a campaign with messages.
func TestCancelCampaignOrder(t *testing.T) {
	t.Parallel()
	d := setup(t)
	spring := message.Flow{Client: "acme", Campaign: "spring"}
	body := `{"client":"acme",` + signed + `}`
	ask := func(key, path string, want int, code any) map[string]any {
		t.Helper()
		status, a := d.ask(t, key, "POST", "/v1/campaigns/"+path, body)
		if status != want || a["code"] != code {
			t.Errorf("%s with the key %s: %d %v, want %d %v", path, key, status, a, want, code)
		}
		return a
	}
	for _, verb := range []string{"cancel", "open"} {
		ask("admin", "spring/"+verb, 403, "all_numbers_required")
	}
	ask("wide", "sprnig/cancel", 404, "campaign_not_found")
	d.store.err = errors.New("away")
	for _, verb := range []string{"cancel", "open"} {
		ask("wide", "spring/"+verb, 503, "store_unavailable")
	}
	d.store.err = nil
	if a := ask("wide", "spring/cancel", 200, nil); a["campaign"] != "spring" || a["client"] != "acme" || a["cancelled_at"] == nil {
		t.Errorf("cancel: %v", a)
	}
	if c := d.campaigns.all[spring]; len(d.campaigns.all) != 1 || c.By != "anna" || c.Key != "key-wide" || c.Reason != "because" {
		t.Errorf("cancelled: %+v", d.campaigns.all)
	}
	for _, opened := range []bool{true, false} {
		if a := ask("wide", "spring/open", 200, nil); a["opened"] != opened {
			t.Errorf("open: %v, want %t", a, opened)
		}
	}
}

package console_test

import (
	"errors"
	"testing"

	"sluice/internal/message"
)

// TestCancelCampaignOrder: a hold comes first, and an order that cannot be written to the audit log changes nothing.
func TestCancelCampaignOrder(t *testing.T) {
	t.Parallel()
	d := setup(t)
	spring := message.Flow{Client: "acme", Campaign: "spring"}
	body := `{"client":"acme",` + signed + `}`
	if status, a := d.ask(t, "admin", "POST", "/v1/campaigns/spring/cancel", body); status != 403 || a["code"] != "all_numbers_required" {
		t.Errorf("a narrow key: %d %v", status, a)
	}
	d.store.err = errors.New("away")
	if status, _ := d.ask(t, "wide", "POST", "/v1/campaigns/spring/cancel", body); status != 503 || len(d.store.held)+len(d.campaigns.all) != 0 {
		t.Errorf("without an audit log: %d, holds %v, cancelled %v", status, d.store.held, d.campaigns.all)
	}
	d.store.err = nil
	if status, a := d.ask(t, "wide", "POST", "/v1/campaigns/spring/cancel", body); status != 200 || a["campaign"] != "spring" || a["client"] != "acme" || a["cancelled_at"] == nil {
		t.Errorf("%d %v", status, a)
	}
	if c := d.campaigns.all[spring]; c.By != "anna" || c.Key != "key-wide" || len(d.store.held) != 1 || d.store.held[0].Flow() != spring || len(d.store.noted) != 1 || d.store.noted[0].Verb != message.VerbCampaignCancel {
		t.Errorf("cancelled %+v, holds %+v, audit log %+v", c, d.store.held, d.store.noted)
	}
	for _, opened := range []bool{true, false} {
		if status, a := d.ask(t, "wide", "POST", "/v1/campaigns/spring/open", body); status != 200 || a["opened"] != opened {
			t.Errorf("open: %d %v, want %t", status, a, opened)
		}
	}
}

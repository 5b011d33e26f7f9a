package console_test

import (
	"errors"
	"testing"
	"time"

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

// TestSetCampaign: settings are checked, and only what the request names is changed.
func TestSetCampaign(t *testing.T) {
	t.Parallel()
	d := setup(t)
	put := func(key, members string) (int, map[string]any) {
		t.Helper()
		return d.ask(t, key, "PUT", "/v1/campaigns/spring/settings", `{"client":"acme",`+members+signed+`}`)
	}
	for members, code := range map[string]string{
		``:                           "campaign_settings_missing",
		`"rate":-1,`:                 "campaign_rate_invalid",
		`"rate":0.0009,`:             "campaign_rate_invalid",
		`"rate":10001,`:              "campaign_rate_invalid",
		`"rate":5,"ramp_from":1,`:    "campaign_ramp_unclear",
		`"rate":5,"ramp_over":"1h",`: "campaign_ramp_unclear",
		`"ramp_from":1,"ramp_over":"1h","cap_per_day":1,`: "campaign_ramp_unclear",
		`"rate":5,"ramp_from":5,"ramp_over":"1h",`:        "campaign_ramp_unclear",
		`"rate":5,"ramp_from":1,"ramp_over":"no",`:        "duration_invalid",
		`"cap_per_day":-1,`:                               "cap_per_day_invalid",
		`"cap_per_day":1000000001,`:                       "cap_per_day_invalid",
		`"budget":"1.2345678",`:                           "budget_invalid",
		`"time_zone":"Berlin",`:                           "time_zone_unknown",
		`"time_zone":"Local",`:                            "time_zone_unknown",
	} {
		if status, a := put("wide", members); status != 422 || a["code"] != code {
			t.Errorf("%s: %d %v, want %s", members, status, a["code"], code)
		}
	}
	if status, a := put("admin", `"rate":5,`); status != 403 || a["code"] != "all_numbers_required" {
		t.Errorf("a key for one number: %d %v", status, a)
	}
	if d.campaigns.change.Campaign != "" {
		t.Fatalf("a refused request changed %s", d.campaigns.change.Describe())
	}
	status, a := put("wide", `"rate":5,"ramp_from":0.5,"ramp_over":"1h","cap_per_day":7,"budget":"12.5",`)
	got := d.campaigns.change
	if status != 200 || got.Flow != (message.Flow{Client: "acme", Campaign: "spring"}) || *got.Rate != 5 || got.RampFrom != 0.5 || got.RampOver != time.Hour || *got.CapPerDay != 7 || got.TimeZone != nil || *got.Budget != 12_500_000 || got.Reset || got.By != "anna" || got.Key != "key-wide" || got.Reason != "because" {
		t.Errorf("%d: changed %s, %+v", status, got.Describe(), got)
	}
	if s, _ := a["settings"].(map[string]any); a["campaign"] != "spring" || a["client"] != "acme" || s["rate"] != 5. || s["cap_per_day"] != 7. || s["sent_today"] != 7. || s["time_zone"] != "UTC" || s["cap_reached_until"] != "2026-09-21T14:13:20Z" || s["actor"] != "anna" {
		t.Errorf("answer %v", a)
	}
	if status, a = put("wide", `"reset":true,`); status != 200 || a["settings"] != nil || !d.campaigns.change.Reset {
		t.Errorf("reset: %d %v", status, a)
	}
	d.store.err = errors.New("away")
	if status, a = put("wide", `"rate":0,`); status != 503 || a["code"] != "store_unavailable" {
		t.Errorf("without Redis: %d %v", status, a)
	}
}

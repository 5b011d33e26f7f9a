package console

import (
	"context"
	"net/http"
	"slices"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// campaignSettingsRequest is the body of PUT /v1/campaigns/{campaign}/settings.
type campaignSettingsRequest struct {
	Client    string   `json:"client,omitempty" doc:"The client of the campaign. Default: the client of the API key; without one, the campaign of messages of no client."`
	Rate      *float64 `json:"rate,omitempty" doc:"Most messages per second of the campaign at each number, 0.001 to 10000, for example 0.5. 0 removes the rate and its ramp."`
	RampFrom  float64  `json:"ramp_from,omitempty" doc:"With rate and ramp_over: begin with this rate, which is lower than rate."`
	RampOver  string   `json:"ramp_over,omitempty" doc:"With ramp_from: how long the rate grows evenly to rate from now on, for example 24h."`
	CapPerDay *int     `json:"cap_per_day,omitempty" doc:"Most messages of the campaign in a day, over all numbers, 1 to 1000000000. 0 removes the cap."`
	TimeZone  *string  `json:"time_zone,omitempty" doc:"The time zone in which the days of cap_per_day begin, like Europe/Berlin. Default: UTC."`
	Budget    *string  `json:"budget,omitempty" doc:"The most that all messages of the campaign may cost at Meta, as text, in the currency of the prices, for example 500.00. 0 removes the budget."`
	Reset     bool     `json:"reset,omitempty" doc:"true: remove all settings first."`
	order
}

// campaignSettingsAnswer is the answer of PUT /v1/campaigns/{campaign}/settings.
type campaignSettingsAnswer struct {
	Campaign string                    `json:"campaign" doc:"The campaign."`
	Client   string                    `json:"client,omitempty" doc:"The client of the campaign."`
	Settings *httpapi.CampaignSettings `json:"settings,omitempty" doc:"The settings. Absent: none are set."`
}

const (
	minCampaignRate = 0.001
	maxCapPerDay    = 1_000_000_000
)

// change checks the settings, and returns the change.
func (r campaignSettingsRequest) change(h message.Hold) (c message.CampaignChange, refused httpapi.Refusal) {
	wrong := func(path string, bad bool, code string) {
		if bad {
			refused = append(refused, httpapi.Problem(path, code))
		}
	}
	c = message.CampaignChange{
		Flow: h.Flow(), Reset: r.Reset, Rate: r.Rate, RampFrom: r.RampFrom, CapPerDay: r.CapPerDay, TimeZone: r.TimeZone, By: h.By, Key: h.Key, Reason: h.Reason,
	}
	wrong("", r.Rate == nil && r.CapPerDay == nil && r.TimeZone == nil && r.Budget == nil && !r.Reset, "campaign_settings_missing")
	wrong("rate", r.Rate != nil && *r.Rate != 0 && !(*r.Rate >= minCampaignRate && *r.Rate <= maxRate), "campaign_rate_invalid")
	wrong("ramp_from", (r.RampFrom == 0) != (r.RampOver == "") || r.RampFrom != 0 && r.Rate == nil, "campaign_ramp_unclear")
	wrong("ramp_from", r.RampFrom != 0 && r.Rate != nil && !(r.RampFrom >= minCampaignRate && r.RampFrom < *r.Rate), "campaign_ramp_unclear")
	if r.RampOver != "" {
		var bad httpapi.Refusal
		c.RampOver, bad = span("ramp_over", r.RampOver)
		refused = append(refused, bad...)
	}
	wrong("cap_per_day", r.CapPerDay != nil && (*r.CapPerDay < 0 || *r.CapPerDay > maxCapPerDay), "cap_per_day_invalid")
	if r.Budget != nil {
		amount, err := message.ParseAmount(*r.Budget)
		wrong("budget", err != nil, "budget_invalid")
		c.Budget = &amount
	}
	if r.TimeZone != nil && *r.TimeZone != "" {
		_, err := time.LoadLocation(*r.TimeZone)
		wrong("time_zone", err != nil || *r.TimeZone == "Local", "time_zone_unknown")
	}
	return c, refused
}

// setCampaign serves PUT /v1/campaigns/{campaign}/settings.
func (c *Console) setCampaign(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask campaignSettingsRequest
	refused := httpapi.ReadJSON(w, r, &ask)
	var h message.Hold
	if refused == nil {
		h, refused = c.ordered(target{Campaign: r.PathValue("campaign"), Client: ask.Client}, ask.order, key)
	}
	var change message.CampaignChange
	if refused == nil {
		change, refused = ask.change(h)
	}
	if refused != nil {
		return nil, refused
	}
	after, err := c.o.Campaigns.ChangeCampaign(ctx, change)
	if err != nil {
		return nil, c.unavailable("set campaign", err)
	}
	c.orders.WithLabelValues(message.VerbCampaignSet).Inc()
	return campaignSettingsAnswer{change.Campaign, change.Client, httpapi.ShowCampaignSettings(after, time.Now().Add(c.o.ClockOffset()))}, nil
}

func (c *Console) campaignSettingsRoute(params []httpapi.Param, codes []string) httpapi.Route {
	return httpapi.Route{
		Method: http.MethodPut, Path: "/v1/campaigns/{campaign}/settings", Name: "setCampaign", Group: "Campaigns", Scope: httpapi.ScopeAdmin,
		Summary: "Set how fast a campaign is sent, how many of its messages in a day, and what they may cost.",
		Doc: "What the request leaves out stays as it is. All workers follow within 2 s. The campaign may have no messages yet. Messages over the rate, the cap or the budget wait in their order, without delaying others; " +
			"their deadlines do not move. The API key must be for all numbers. GET /v1/campaigns/{campaign} shows the settings.",
		Params: params, Body: &httpapi.Body{Type: campaignSettingsRequest{}, Example: `{"client":"acme","rate":20,"ramp_from":0.5,"ramp_over":"24h","cap_per_day":5000,"time_zone":"Europe/Berlin","actor":"anna","reason":"warm up"}`},
		Answers: []httpapi.Answer{{Status: 200, Doc: "The settings as they are now.", Type: campaignSettingsAnswer{}}},
		Codes:   append(slices.Clone(codes), "campaign_settings_missing", "campaign_rate_invalid", "campaign_ramp_unclear", "cap_per_day_invalid", "budget_invalid", "time_zone_unknown", "duration_invalid"),
		Handler: c.handle(c.setCampaign),
	}
}

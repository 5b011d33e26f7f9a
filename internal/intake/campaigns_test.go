package intake_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

// TestCancelledCampaign: messages of a cancelled campaign are refused, but not a repeated request for one that was accepted before.
func TestCancelledCampaign(t *testing.T) {
	t.Parallel()
	b := setup(t)
	body := func(key, campaign string) string {
		return envelope(`,"key":"` + key + `","campaign":"` + campaign + `"`)
	}
	if r := b.post(t, body("k1", "spring")); r.status != http.StatusAccepted {
		t.Fatalf("%d %s", r.status, r.body)
	}
	b.cancelled = message.Flow{Campaign: "spring"}
	if r := b.post(t, body("k1", "spring")); r.status != http.StatusOK {
		t.Errorf("the same key: %d %s", r.status, r.body)
	}
	if r := b.post(t, body("k2", "spring")); r.status != http.StatusConflict || r.problem(t).Errors[0].Code != "campaign_cancelled" {
		t.Errorf("another message: %d %s", r.status, r.body)
	}
	if r := b.post(t, body("k3", "autumn")); r.status != http.StatusAccepted {
		t.Errorf("another campaign: %d %s", r.status, r.body)
	}
}

// TestCancelCampaign: a key cancels a campaign if it may use all its messages. The order names the key.
func TestCancelCampaign(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.campaigns.all = append(b.campaigns.all, message.CampaignProgress{
		Flow: message.Flow{Client: "acme", Campaign: "winter"}, Counts: []message.CampaignCount{{Number: ours, State: message.Queued, Count: 1}},
	})
	for name, tt := range map[string]struct {
		token, campaign, body string
		status                int
		code                  string
	}{
		"all numbers":           {b.wide, "spring", `{"reason":"price"}`, 200, ""},
		"of a client":           {b.wide, "autumn", `{"client":"acme","reason":"price"}`, 200, ""},
		"its own":               {b.acmes, "winter", `{"reason":"price"}`, 200, ""},
		"its own, named":        {b.acmes, "winter", `{"client":"acme","reason":"price"}`, 200, ""},
		"some of its numbers":   {b.narrow, "spring", `{"reason":"price"}`, 403, "all_numbers_required"},
		"none of its numbers":   {b.narrow, "autumn", `{"client":"acme","reason":"price"}`, 404, "campaign_not_found"},
		"none":                  {b.wide, "sprnig", `{"reason":"price"}`, 404, "campaign_not_found"},
		"of another client":     {b.acmes, "winter", `{"client":"globex","reason":"price"}`, 422, "client_not_found"},
		"of no client":          {b.wide, "winter", `{"reason":"price"}`, 404, "campaign_not_found"},
		"no reason":             {b.wide, "spring", `{}`, 422, "reason_missing"},
		"a reason of two lines": {b.wide, "spring", `{"reason":"a\nb"}`, 422, "reason_missing"},
		"no body":               {b.wide, "spring", ``, 400, "body_empty"},
		"a key that may not":    {b.readOnly, "spring", `{"reason":"price"}`, 403, "scope_missing"},
		"an unknown member":     {b.wide, "spring", `{"reason":"price","x":1}`, 422, "field_unknown"},
	} {
		b.campaigns.cancelled = nil
		r := b.do(t, http.MethodPost, "/v1/campaigns/"+tt.campaign+"/cancel", tt.body, withHeader("Authorization", "Bearer "+tt.token))
		if r.status != tt.status || !strings.Contains(r.body, cmp.Or(tt.code, `"cancelled_at"`)) || (len(b.campaigns.cancelled) == 1) != (tt.code == "") {
			t.Errorf("%s: %d %s, cancelled %+v", name, r.status, r.body, b.campaigns.cancelled)
		}
		if tt.token == b.acmes && tt.code == "" && b.campaigns.cancelled[0] != (message.CancelledCampaign{Flow: message.Flow{Client: "acme", Campaign: "winter"}, By: "API key acmes", Key: "acmes", Reason: "price"}) {
			t.Errorf("%s: cancelled %+v", name, b.campaigns.cancelled)
		}
	}
	b.campaigns.err = errors.New("away")
	if r := b.do(t, http.MethodPost, "/v1/campaigns/spring/cancel", `{"reason":"price"}`, withHeader("Authorization", "Bearer "+b.wide)); r.status != 503 {
		t.Errorf("without a store: %d %s", r.status, r.body)
	}
}

// fakeCampaigns has campaigns of a test.
type fakeCampaigns struct {
	all  []message.CampaignProgress
	wait message.CampaignWait
	err  error

	cancelled []message.CancelledCampaign
}

func (f *fakeCampaigns) Campaigns(_ context.Context, client string) (some []message.CampaignProgress, err error) {
	for _, p := range f.all {
		if client == "" || p.Client == client {
			some = append(some, message.CampaignProgress{Flow: p.Flow, Accepted: p.Accepted})
		}
	}
	return some, f.err
}

func (f *fakeCampaigns) CampaignProgress(_ context.Context, all []message.CampaignProgress) error {
	for i := range all {
		for _, p := range f.all {
			if p.Flow == all[i].Flow {
				all[i] = p
			}
		}
	}
	return f.err
}

func (f *fakeCampaigns) CancelCampaign(_ context.Context, c message.CancelledCampaign) (time.Time, error) {
	f.cancelled = append(f.cancelled, c)
	return time.Unix(1_790_000_000, 0).UTC(), f.err
}

func (f *fakeCampaigns) CampaignWait(context.Context, message.Flow, []string) (message.CampaignWait, error) {
	return f.wait, f.err
}

// springCampaign has a campaign on two numbers, with two templates.
func springCampaign() *fakeCampaigns {
	return &fakeCampaigns{
		all: []message.CampaignProgress{
			{
				Flow: message.Flow{Campaign: "spring"}, Accepted: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), Taken: []int{1, 60},
				Counts: []message.CampaignCount{
					{Number: ours, State: message.Queued, Template: "a/en", Count: 5},
					{Number: ours, State: message.Delivered, Template: "a/en", Count: 3},
					{Number: ours, State: message.Read, Template: "b/en", Count: 2},
					{Number: ours, State: message.Failed, Code: 131026, Template: "b/en", Count: 4},
					{Number: theirs, State: message.Expired, Reason: message.ReasonDeadline, Template: "b/en", Count: 7},
				},
			},
			{Flow: message.Flow{Client: "acme", Campaign: "autumn"}, Counts: []message.CampaignCount{{Number: theirs, State: message.Queued, Count: 1}}},
		},
		wait: message.CampaignWait{Pending: 5, In: time.Hour, Holds: []message.Hold{{Tag: "spring", Reason: "price", By: "anna"}, {Template: "other/en"}}},
	}
}

// shownCampaign is a campaign in an answer.
type shownCampaign struct {
	Campaign                  string
	Messages, Delivered, Read int
	Undelivered               int
	States                    map[string]int
	Taken                     *int `json:"taken_last_minute"`
	Causes                    []struct {
		State  string
		Reason string `json:"message_reason"`
		Count  int
		Error  *struct {
			Code          int
			Title, Advice string
		}
	} `json:"undelivered_by_cause"`
	Templates []struct {
		Template                               string
		Messages, Delivered, Read, Undelivered int
	}
	Pending     *int
	OverBudgets json.RawMessage `json:"over_budgets"`
	DoneBy      time.Time       `json:"pending_done_by"`
	Holds       []struct{ Tag, Reason string }
}

// TestCampaigns: a key sees the counters of the numbers that it may use, and of a campaign with no such message nothing.
func TestCampaigns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	get := func(token, path string) (c shownCampaign) {
		t.Helper()
		r := b.do(t, http.MethodGet, path, "", withHeader("Authorization", "Bearer "+token))
		if err := json.Unmarshal([]byte(r.body), &c); err != nil || r.status != http.StatusOK {
			t.Fatalf("%s: %d %s, %v", path, r.status, r.body, err)
		}
		return c
	}
	wide, narrow := get(b.wide, "/v1/campaigns/spring"), get(b.narrow, "/v1/campaigns/spring")
	if wide.Messages != 21 || wide.Undelivered != 11 || *wide.Taken != 60 || len(wide.Causes) != 2 || wide.Causes[0].Reason != message.ReasonDeadline {
		t.Errorf("all numbers: %+v", wide)
	}
	if narrow.Messages != 14 || narrow.Delivered != 5 || narrow.Read != 2 || narrow.Undelivered != 4 || narrow.States["queued"] != 5 || narrow.Taken != nil {
		t.Errorf("one number: %+v", narrow)
	}
	if len(narrow.Causes) != 1 || narrow.Causes[0].Count != 4 || narrow.Causes[0].Error.Code != 131026 || narrow.Causes[0].Error.Title != "Undeliverable" {
		t.Errorf("causes: %+v", narrow.Causes)
	}
	if len(narrow.Templates) != 2 || narrow.Templates[1].Template != "b/en" || narrow.Templates[1].Delivered != 2 || narrow.Templates[1].Undelivered != 4 {
		t.Errorf("templates: %+v", narrow.Templates)
	}
	if *narrow.Pending != 5 || time.Until(narrow.DoneBy) < 59*time.Minute || len(narrow.Holds) != 1 || narrow.Holds[0].Tag != "spring" {
		t.Errorf("waits: %+v", narrow)
	}
	b.campaigns.wait.Short = []message.Shortage{{BudgetUse: message.BudgetUse{Budget: "per_day", Limit: 500_000, Spent: 250_000, Until: time.Unix(0, 0)}, Messages: 3}}
	if c := get(b.wide, "/v1/campaigns/spring"); !c.DoneBy.IsZero() || string(c.OverBudgets) != `[{"budget":"per_day","limit":"0.50","spent":"0.25","until":"1970-01-01T00:00:00Z","messages":3}]` {
		t.Errorf("over the budget: done by %v, %s", c.DoneBy, c.OverBudgets)
	}
	var list struct{ Campaigns []shownCampaign }
	for token, want := range map[string]int{b.wide: 2, b.narrow: 1} {
		r := b.do(t, http.MethodGet, "/v1/campaigns", "", withHeader("Authorization", "Bearer "+token))
		if err := json.Unmarshal([]byte(r.body), &list); err != nil || len(list.Campaigns) != want {
			t.Errorf("%d campaigns, want %d: %s", len(list.Campaigns), want, r.body)
		}
	}
	for path, want := range map[string]string{
		"/v1/campaigns/summer":             "campaign_not_found",
		"/v1/campaigns/autumn?client=acme": "campaign_not_found", // of a number that the key may not use
		"/v1/campaigns?limit=0":            "query_invalid",
	} {
		if got := b.do(t, http.MethodGet, path, "", nil).problem(t).Errors[0].Code; got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	// The list of messages of a campaign.
	for what, ask := range map[string]func(){
		"list":   func() { b.do(t, http.MethodGet, "/v1/messages?campaign=spring&client=acme&state=failed", "", nil) },
		"search": func() { b.do(t, http.MethodPost, "/v1/messages/search", `{"campaign":"spring","client":"acme"}`, nil) },
	} {
		b.finder.listed.Flow = nil
		ask()
		if f := b.finder.listed.Flow; f == nil || *f != (message.Flow{Client: "acme", Campaign: "spring"}) {
			t.Errorf("%s: the filter is %+v", what, b.finder.listed)
		}
	}
	if got := b.do(t, http.MethodGet, "/v1/messages?client=acme&state=failed", "", nil).problem(t).Errors[0].Code; got != "filter_unclear" {
		t.Errorf("a client alone: %s", got)
	}
}

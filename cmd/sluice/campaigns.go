package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"sluice/client"
	"sluice/internal/message"
)

type campaignsCmd struct {
	List   campaignsListCmd   `cmd:"" help:"List the latest campaigns with their counters."`
	Cancel campaignsCancelCmd `cmd:"" help:"Cancel a campaign: cancel its messages that wait, and refuse further ones until it is opened."`
	Open   campaignsOpenCmd   `cmd:"" help:"Accept messages of a cancelled campaign again. Cancelled messages stay cancelled."`
	Set    campaignsSetCmd    `cmd:"" help:"Set how fast a campaign is sent, how many of its messages in a day, and what they may cost. What you leave out stays."`
	Show   campaignsShowCmd   `cmd:"" help:"Show how far a campaign is, what it waits for, and why messages were not delivered."`
}

type campaignsListCmd struct {
	Client *string `help:"Only of this client." placeholder:"NAME"`
	Limit  *int    `help:"Number of campaigns, 1 to 100. Default: 20." placeholder:"N"`
	apiFlags
}

// Run lists campaigns.
func (c campaignsListCmd) Run(ctx context.Context) error {
	return c.ask(ctx, "GET", query("/v1/campaigns", "client", c.Client, "limit", c.Limit), nil, read(func(t table, a struct{ Campaigns []client.Campaign }) {
		t.row("CAMPAIGN", "CLIENT", "LAST MESSAGE", "MESSAGES", "QUEUED", "DELIVERED", "READ", "UNDELIVERED", "LAST MINUTE")
		for _, one := range a.Campaigns {
			t.row(one.Campaign, cmp.Or(one.Client, "-"), one.AcceptedAt.Format(time.RFC3339), one.Messages, one.States[client.StateQueued], one.Delivered, one.Read, one.Undelivered, taken(one))
		}
	}))
}

// campaignFlags name a campaign in an order.
type campaignFlags struct {
	Campaign string  `arg:"" help:"The campaign."`
	Client   *string `help:"The client of the campaign. Default: the client of the API key." placeholder:"NAME"`
	signature
	consoleFlags
}

// give gives an order about the campaign, and prints done; or not, if the answer says that it was not opened.
func (c campaignFlags) give(ctx context.Context, verb, done, not string) error {
	path := "/v1/campaigns/" + url.PathEscape(c.Campaign) + "/" + verb
	return c.ask(ctx, "POST", path, c.order(map[string]any{"client": c.Client}), read(func(t table, a struct{ Opened *bool }) {
		if a.Opened != nil && !*a.Opened {
			done = not
		}
		t.row(done)
	}))
}

type campaignsCancelCmd struct{ campaignFlags }

// Run cancels a campaign.
func (c campaignsCancelCmd) Run(ctx context.Context) error {
	return c.give(ctx, "cancel", "Nothing of the campaign is sent from now on. Workers cancel its messages: `sluice campaigns show` has the counters.", "")
}

type campaignsOpenCmd struct{ campaignFlags }

// Run opens a campaign.
func (c campaignsOpenCmd) Run(ctx context.Context) error {
	return c.give(ctx, "open", "Messages of the campaign are accepted.", "The campaign is not cancelled.")
}

type campaignsSetCmd struct {
	campaignFlags
	Rate      *float64       `help:"Most messages per second at each number, for example 0.5. 0 removes the rate." placeholder:"N"`
	RampFrom  *float64       `help:"With --rate and --ramp-over: begin with this rate." placeholder:"N"`
	RampOver  *time.Duration `help:"With --ramp-from: how long the rate grows to --rate, for example 24h." placeholder:"TIME"`
	CapPerDay *int           `help:"Most messages in a day, over all numbers. 0 removes the cap." placeholder:"N"`
	TimeZone  *string        `help:"In which the days of --cap-per-day begin, like Europe/Berlin. Default: UTC." placeholder:"ZONE"`
	Budget    *string        `help:"The most that all messages may cost at Meta, in the currency of the prices, for example 500.00. 0 removes the budget." placeholder:"AMOUNT"`
	Reset     *bool          `help:"Remove all settings first."`
}

// Run changes the settings of a campaign, and prints them. The console checks the values.
func (c campaignsSetCmd) Run(ctx context.Context) error {
	what := map[string]any{"client": c.Client, "rate": c.Rate, "ramp_from": c.RampFrom, "cap_per_day": c.CapPerDay, "time_zone": c.TimeZone, "budget": c.Budget, "reset": c.Reset}
	if c.RampOver != nil {
		what["ramp_over"] = c.RampOver.String()
	}
	path := "/v1/campaigns/" + url.PathEscape(c.Campaign) + "/settings"
	return c.ask(ctx, "PUT", path, c.order(what), read(func(t table, a struct{ Settings *client.CampaignSettings }) {
		if a.Settings == nil {
			t.row("The campaign has no settings.")
			return
		}
		showCampaignSettings(t, *a.Settings)
	}))
}

// showCampaignSettings shows the settings of a campaign, and what they mean now.
func showCampaignSettings(t table, s client.CampaignSettings) {
	if s.Rate != 0 {
		text := fmt.Sprintf("%g messages per second at each number", s.Rate)
		if !s.RampUntil.IsZero() {
			text = fmt.Sprintf("%.4g messages per second at each number, increasing to %g until %s", s.RateNow, s.Rate, clock(s.RampUntil, "-"))
		}
		t.row("rate", text)
	}
	if s.CapPerDay != 0 && s.SentToday != nil {
		text := fmt.Sprintf("%d messages in a day (%s), %d today", s.CapPerDay, s.TimeZone, *s.SentToday)
		if !s.CapReachedUntil.IsZero() {
			text += ": the campaign goes on at " + clock(s.CapReachedUntil, "-")
		}
		t.row("cap per day", text)
	}
	if s.Budget != "" && s.Spent != nil {
		t.row("budget", *s.Spent+" of "+s.Budget+" spent")
	}
	t.row("set", fmt.Sprintf("%s by %s: %s", clock(s.SetAt, "-"), s.Actor, s.Reason))
}

type campaignsShowCmd struct {
	Campaign string  `arg:"" help:"The campaign."`
	Client   *string `help:"The client of the campaign. Default: the client of the API key." placeholder:"NAME"`
	apiFlags
}

// Run shows a campaign.
func (c campaignsShowCmd) Run(ctx context.Context) error {
	return c.ask(ctx, "GET", query("/v1/campaigns/"+url.PathEscape(c.Campaign), "client", c.Client), nil, read(showCampaign))
}

// taken says how many messages Meta took in the last full minute.
func taken(c client.Campaign) string {
	if c.TakenLastMinute == nil {
		return "-"
	}
	return strconv.Itoa(*c.TakenLastMinute)
}

func showCampaign(t table, one client.Campaign) {
	share := func(n int) string {
		return fmt.Sprintf("%d (%.1f %%)", n, 100*float64(n)/float64(max(one.Messages, 1)))
	}
	if !one.CancelledAt.IsZero() {
		t.row("cancelled", clock(one.CancelledAt, "-")+": "+one.CancelReason)
	}
	if one.Settings != nil {
		showCampaignSettings(t, *one.Settings)
	}
	t.row("messages", one.Messages)
	for _, s := range message.States() {
		if n := one.States[client.State(s)]; n > 0 {
			t.row("  "+string(s), share(n))
		}
	}
	t.row("delivered", share(one.Delivered))
	t.row("read", share(one.Read))
	t.row("undelivered", share(one.Undelivered))
	t.row("taken in the last full minute", taken(one))
	if one.Pending != nil && *one.Pending > 0 {
		by := ""
		if !one.PendingDoneBy.IsZero() {
			by = ", sent by about " + one.PendingDoneBy.Format(time.RFC3339)
		}
		t.row("wait for a send slot", fmt.Sprint(*one.Pending, by))
	}
	for _, b := range one.OverBudgets {
		t.row("over the budget "+b.Budget, fmt.Sprintf("about %d, %s of %s is spent%s", b.Messages, b.Spent, b.Limit, until(b.Until)))
	}
	for _, h := range one.Holds {
		t.row("held", h.Reason)
	}
	if len(one.Causes) > 0 {
		t.row()
		t.row("UNDELIVERED", "STATE", "CODE", "CAUSE", "WHAT TO DO")
		for _, f := range one.Causes {
			code, title, advice := "-", cmp.Or(f.Reason, "-"), "-"
			if f.Error != nil {
				title, advice = f.Error.Title, f.Error.Advice
				if f.Error.Code != nil {
					code = fmt.Sprint(*f.Error.Code)
				}
			}
			t.row(f.Count, f.State, code, title, advice)
		}
	}
	if len(one.Templates) > 1 {
		t.row()
		t.row("TEMPLATE", "MESSAGES", "DELIVERED", "READ", "UNDELIVERED")
		for _, v := range one.Templates {
			t.row(v.Template, v.Messages, v.Delivered, v.Read, v.Undelivered)
		}
	}
}

// until says when a budget begins anew.
func until(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ", until " + at.Format(time.RFC3339)
}

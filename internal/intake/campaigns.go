package intake

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// campaigns reads the campaigns of messages.
type campaigns interface {
	// Campaigns returns the campaigns of a client, or of all if it is empty, the one with the latest message first, without counters.
	Campaigns(ctx context.Context, client string) ([]message.CampaignProgress, error)
	// CampaignProgress reads the counters of campaigns.
	CampaignProgress(ctx context.Context, all []message.CampaignProgress) error
	// CampaignWait returns what the messages of a campaign that wait at some numbers wait for.
	CampaignWait(ctx context.Context, f message.Flow, numbers []string) (message.CampaignWait, error)
	// CancelCampaign returns when the campaign was cancelled, or message.ErrNotFound.
	CancelCampaign(ctx context.Context, order message.CancelledCampaign) (time.Time, error)
}

// campaignsMost is how many campaigns an answer has at most, and campaignsDefault unless the request says otherwise.
const (
	campaignsMost    = 100
	campaignsDefault = 20
)

// campaignList is the answer of GET /v1/campaigns.
type campaignList struct {
	Campaigns []campaign `json:"campaigns" doc:"The campaigns, the one with the latest message first."`
}

// campaign is how far a campaign is.
type campaign struct {
	Campaign    string                `json:"campaign" doc:"The campaign of the messages."`
	Client      string                `json:"client,omitempty" doc:"The client of the messages."`
	AcceptedAt  time.Time             `json:"accepted_at,omitzero" doc:"When the last message was accepted. Absent: none was, and an operator has set how fast the campaign will be sent."`
	Messages    int                   `json:"messages" doc:"Number of messages."`
	States      map[message.State]int `json:"states" doc:"Number of messages by state. A message in an attempt counts as queued. GET /v1/states explains the states."`
	Delivered   int                   `json:"delivered" doc:"Number of messages that reached their recipients: delivered, read and played."`
	Read        int                   `json:"read" doc:"Number of messages that were read or played. Recipients can switch these reports off."`
	Undelivered int                   `json:"undelivered" doc:"Number of messages that ended without reaching their recipients."`
	Taken       *int                  `json:"taken_last_minute,omitempty" doc:"Messages that Meta took in the last full minute. Absent if the API key may not use all numbers of the campaign."`

	Causes      []campaignFailures `json:"undelivered_by_cause,omitempty" doc:"The undelivered messages by cause, the most frequent first. GET /v1/messages with campaign and state lists them."`
	Templates   []campaignTemplate `json:"templates,omitempty" doc:"The same counters by template, to compare templates."`
	Numbers     []campaignNumber   `json:"numbers,omitempty" doc:"Number of messages by number."`
	Pending     *int               `json:"pending,omitempty" doc:"Number of messages that wait for a send slot. Other queued messages wait for their time, a retry, a hold or a limit."`
	DoneBy      time.Time          `json:"pending_done_by,omitzero" doc:"When these will have been sent, estimated from the present rates, the backlog and the cap per day, by the days of its time zone. Absent if none waits, and with over_budgets."`
	OverBudgets []overBudget       `json:"over_budgets,omitempty" doc:"The budgets that have too little left for all pending messages, by their estimated prices. What else waits of the client does not count."`
	Holds       []httpapi.Hold     `json:"holds,omitempty" doc:"The holds on the campaign, on its templates, on its numbers or on everything."`

	Settings *httpapi.CampaignSettings `json:"settings,omitempty" doc:"How fast the campaign is sent, and how many messages in a day. Absent: no operator has set that."`

	CancelledAt  time.Time `json:"cancelled_at,omitzero" doc:"When the campaign was cancelled: further messages are refused. Absent: it is not cancelled."`
	CancelReason string    `json:"cancel_reason,omitempty" doc:"Why it was cancelled."`
}

type campaignFailures struct {
	State  message.State `json:"state" doc:"The state in which they ended."`
	Reason string        `json:"message_reason,omitempty" doc:"Why they ended."`
	Error  *metaError    `json:"error,omitempty" doc:"Meta's error code, what it means and what to do."`
	Count  int           `json:"count" doc:"Number of messages."`
}

type campaignTemplate struct {
	Template    string `json:"template" doc:"The template, as name/language."`
	Messages    int    `json:"messages" doc:"Number of messages."`
	Delivered   int    `json:"delivered" doc:"Number of messages that reached their recipients."`
	Read        int    `json:"read" doc:"Number of messages that were read."`
	Undelivered int    `json:"undelivered" doc:"Number of messages that ended without reaching their recipients."`
}

type campaignNumber struct {
	Number   string `json:"phone_number_id" doc:"Meta's id of the sending number."`
	Messages int    `json:"messages" doc:"Number of messages."`
	Queued   int    `json:"queued" doc:"Number of messages that are not sent yet."`
}

func (in *Intake) campaignRoutes() []httpapi.Route {
	client := httpapi.Param{In: "query", Name: "client", Doc: "Of this client. Default: the client of the API key.", Example: "acme"}
	return []httpapi.Route{
		{
			Method: http.MethodGet, Path: "/v1/campaigns", Name: "listCampaigns", Group: "Campaigns",
			Summary: "List campaigns with their counters.",
			Doc: "A campaign is all messages of a client that were accepted with the same `campaign`. The counters are exact, also after the records of messages have been removed: " +
				"they change together with the messages. They are kept for 400 days after the last change. An API key sees the campaigns of its client, and of other campaigns the messages of the numbers that it may use.",
			Scope: httpapi.ScopeRead, Console: true,
			Params:  []httpapi.Param{client, {In: "query", Name: "limit", Doc: "Number of campaigns, 1 to 100. Default: 20.", Example: "50", Type: 0}},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The campaigns.", Type: campaignList{}}},
			Codes:   []string{"client_not_found", "query_invalid", "store_unavailable"},
			Handler: in.listCampaigns,
		},
		{
			Method: http.MethodGet, Path: "/v1/campaigns/{campaign}", Name: "getCampaign", Group: "Campaigns",
			Summary: "Read how far a campaign is, what it waits for, and why messages were not delivered.",
			Doc:     "The answer costs a few commands of Redis, however many messages the campaign has.",
			Scope:   httpapi.ScopeRead, Console: true,
			Params:  []httpapi.Param{{In: "path", Name: "campaign", Doc: "The campaign.", Example: "spring"}, client},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The campaign.", Type: campaign{}}},
			Codes:   []string{"client_not_found", "campaign_not_found", "store_unavailable"},
			Handler: in.getCampaign,
		},
		in.cancelCampaignRoute(),
	}
}

// listCampaigns serves GET /v1/campaigns.
func (in *Intake) listCampaigns(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead, httpapi.ScopeConsole)
	if refused != nil {
		refused.Write(w)
		return
	}
	client, refused := clientOf(r.URL.Query(), key)
	limit := campaignsDefault
	if text := r.URL.Query().Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > campaignsMost {
			refused = append(refused, httpapi.Problem("limit", "query_invalid"))
		}
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	all, err := in.o.Campaigns.Campaigns(ctx, client)
	if err == nil {
		all = all[:min(limit, len(all))]
		err = in.o.Campaigns.CampaignProgress(ctx, all)
	}
	if err != nil {
		in.o.Log.Error("cannot read campaigns", "err", err)
		refuse("store_unavailable").Write(w)
		return
	}
	shown := campaignList{Campaigns: []campaign{}}
	for _, p := range all {
		if c := showCampaign(p, key); c.Messages > 0 {
			shown.Campaigns = append(shown.Campaigns, c)
		}
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, shown)
}

// getCampaign serves GET /v1/campaigns/{campaign}.
func (in *Intake) getCampaign(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead, httpapi.ScopeConsole)
	if refused != nil {
		refused.Write(w)
		return
	}
	client, refused := clientOf(r.URL.Query(), key)
	if refused != nil {
		refused.Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	all := []message.CampaignProgress{{Flow: message.Flow{Client: client, Campaign: r.PathValue("campaign")}}}
	err := in.o.Campaigns.CampaignProgress(ctx, all)
	var shown campaign
	if err == nil {
		if shown = showCampaign(all[0], key); shown.Messages > 0 || key.CoversAll() { // one without messages may have settings
			err = in.completeCampaign(ctx, &shown, all[0], key)
		}
	}
	switch {
	case err != nil:
		in.o.Log.Error("cannot read a campaign", "err", err)
		refuse("store_unavailable").Write(w)
	case shown.Messages == 0 && shown.Settings == nil:
		refuseAt("campaign", "campaign_not_found").Write(w)
	default:
		httpapi.WriteJSON(w, "application/json", http.StatusOK, shown)
	}
}

// showCampaign adds the counters that an API key may see.
func showCampaign(p message.CampaignProgress, key httpapi.Key) campaign {
	c := campaign{Campaign: p.Campaign, Client: p.Client, AcceptedAt: p.Accepted, States: map[message.State]int{}}
	own := ofKey(p, key)
	for _, one := range own {
		c.Messages += one.Count
		c.States[one.State] += one.Count
		countEnds(one, &c.Delivered, &c.Read, &c.Undelivered)
	}
	if len(own) == len(p.Counts) && len(p.Taken) > 1 {
		c.Taken = &p.Taken[1]
	}
	return c
}

// ofKey returns the counters of a campaign that an API key may see.
func ofKey(p message.CampaignProgress, key httpapi.Key) (own []message.CampaignCount) {
	for _, one := range p.Counts {
		if key.Covers(one.Number) && key.Sees(p.Client, one.Number) {
			own = append(own, one)
		}
	}
	return own
}

// countEnds adds a counter to the totals that it belongs to.
func countEnds(one message.CampaignCount, delivered, read, undelivered *int) {
	switch one.State {
	case message.Read, message.Played:
		*read += one.Count
		*delivered += one.Count
	case message.Delivered:
		*delivered += one.Count
	}
	if one.State.Undelivered() {
		*undelivered += one.Count
	}
}

// completeCampaign adds to a campaign what only the answer about one campaign has.
func (in *Intake) completeCampaign(ctx context.Context, c *campaign, p message.CampaignProgress, key httpapi.Key) error {
	type cause struct {
		state  message.State
		code   int
		reason string
	}
	causes, templates, numbers := map[cause]int{}, map[string]*campaignTemplate{}, map[string]*campaignNumber{}
	for _, one := range ofKey(p, key) {
		if one.State.Undelivered() {
			causes[cause{one.State, one.Code, one.Reason}] += one.Count
		}
		if templates[one.Template] == nil {
			templates[one.Template] = &campaignTemplate{Template: one.Template}
		}
		t := templates[one.Template]
		t.Messages += one.Count
		countEnds(one, &t.Delivered, &t.Read, &t.Undelivered)
		if numbers[one.Number] == nil {
			numbers[one.Number] = &campaignNumber{Number: one.Number}
		}
		n := numbers[one.Number]
		n.Messages += one.Count
		if one.State == message.Queued {
			n.Queued += one.Count
		}
	}
	for is, n := range causes {
		c.Causes = append(c.Causes, campaignFailures{
			State: is.state, Reason: is.reason, Count: n,
			Error: in.metaError(message.Record{State: is.state, Code: is.code, Reason: is.reason}),
		})
	}
	slices.SortFunc(c.Causes, func(a, b campaignFailures) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State), cmp.Compare(a.Reason, b.Reason))
	})
	for _, t := range templates {
		if t.Template != "" {
			c.Templates = append(c.Templates, *t)
		}
	}
	slices.SortFunc(c.Templates, func(a, b campaignTemplate) int { return cmp.Compare(a.Template, b.Template) })
	var ids []string
	for _, n := range numbers {
		c.Numbers = append(c.Numbers, *n)
		ids = append(ids, n.Number)
	}
	slices.SortFunc(c.Numbers, func(a, b campaignNumber) int { return cmp.Compare(a.Number, b.Number) })
	wait, err := in.o.Campaigns.CampaignWait(ctx, p.Flow, ids)
	if err != nil {
		return err
	}
	c.Pending = &wait.Pending
	for _, s := range wait.Short {
		c.OverBudgets = append(c.OverBudgets, showOverBudget(s.BudgetUse, s.Messages))
	}
	if wait.Pending > 0 && len(wait.Short) == 0 {
		c.DoneBy = in.now().Add(wait.In).UTC().Truncate(time.Second)
	}
	if wait.Cancelled != nil {
		c.CancelledAt, c.CancelReason = wait.Cancelled.At, wait.Cancelled.Reason
	}
	c.Settings = httpapi.ShowCampaignSettings(wait, in.now())
	for _, h := range wait.Holds {
		if h.Template == "" || templates[h.Template] != nil {
			c.Holds = append(c.Holds, httpapi.ShowHold(h))
		}
	}
	return nil
}

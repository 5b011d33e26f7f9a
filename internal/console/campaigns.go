package console

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// cancelledCampaigns are the campaigns whose messages are refused.
type cancelledCampaigns interface {
	Cancel(ctx context.Context, c message.CancelledCampaign) error
	// Open is false if the campaign was not cancelled.
	Open(ctx context.Context, f message.Flow) (bool, error)
}

// campaignOrder is the body of an order about a campaign.
type campaignOrder struct {
	Client string `json:"client,omitempty" doc:"The client of the campaign. Default: the client of the API key; without one, the campaign of messages of no client."`
	order
}

// campaignCancelled is the answer of POST /v1/campaigns/{campaign}/cancel.
type campaignCancelled struct {
	Campaign string    `json:"campaign" doc:"The campaign."`
	Client   string    `json:"client,omitempty" doc:"The client of the campaign."`
	At       time.Time `json:"cancelled_at" doc:"When it was cancelled. Nothing of it is sent from the next slots on; workers cancel what waits."`
}

// campaignOpened is the answer of POST /v1/campaigns/{campaign}/open.
type campaignOpened struct {
	Opened bool `json:"opened" doc:"false: the campaign was not cancelled."`
}

// readCampaignOrder reads an order about a campaign, with its entry in the audit log.
func (c *Console) readCampaignOrder(w http.ResponseWriter, r *http.Request, key httpapi.Key, verb string) (h message.Hold, d message.AuditEntry, refused httpapi.Refusal) {
	var ask campaignOrder
	if refused = httpapi.ReadJSON(w, r, &ask); refused == nil {
		h, refused = c.ordered(target{Campaign: r.PathValue("campaign"), Client: cmp.Or(ask.Client, key.Client)}, ask.order, key)
	}
	return h, ask.entry(verb, h.On(), key), refused
}

// cancelCampaign refuses further messages of a campaign, and lets workers cancel those that wait. A hold stops them at once.
func (c *Console) cancelCampaign(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	h, d, refused := c.readCampaignOrder(w, r, key, message.VerbCampaignCancel)
	if refused != nil {
		return nil, refused
	}
	at := c.now().UTC().Truncate(time.Millisecond)
	err := c.o.Audit.Add(ctx, d) // first: if it cannot be written, nothing changes
	if err == nil {
		_, err = c.o.Holds.Set(ctx, h)
	}
	if err == nil {
		err = c.o.Campaigns.Cancel(ctx, message.CancelledCampaign{Flow: h.Flow(), At: at, By: h.By, Key: h.Key, Reason: h.Reason})
	}
	if err != nil {
		return nil, c.unavailable("cancel campaign", err)
	}
	c.orders.WithLabelValues(message.VerbCampaignCancel).Inc()
	return campaignCancelled{h.Campaign, h.Client, at}, nil
}

// openCampaign lets messages of a cancelled campaign be accepted and sent again. Cancelled messages stay cancelled.
func (c *Console) openCampaign(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	h, d, refused := c.readCampaignOrder(w, r, key, message.VerbCampaignOpen)
	if refused != nil {
		return nil, refused
	}
	err := c.o.Audit.Add(ctx, d)
	opened := false
	if err == nil {
		opened, err = c.o.Campaigns.Open(ctx, h.Flow())
	}
	if err == nil && opened {
		_, err = c.o.Holds.Release(ctx, h)
	}
	if err != nil {
		return nil, c.unavailable("open campaign", err)
	}
	if opened {
		c.orders.WithLabelValues(message.VerbCampaignOpen).Inc()
	}
	return campaignOpened{opened}, nil
}

func (c *Console) campaignRoutes() []httpapi.Route {
	params := []httpapi.Param{{In: "path", Name: "campaign", Doc: "The campaign.", Example: "spring"}}
	codes := orderCodes("hold_target_invalid", "tag_invalid", "client_not_found", "all_numbers_required")
	body := &httpapi.Body{Type: campaignOrder{}, Example: `{"client":"acme","actor":"anna","reason":"wrong price"}`}
	return []httpapi.Route{
		{
			Method: http.MethodPost, Path: "/v1/campaigns/{campaign}/cancel", Name: "cancelCampaign", Group: "Campaigns", Scope: httpapi.ScopeAdmin,
			Summary: "Cancel a campaign: cancel its messages that wait, and refuse further ones.",
			Doc: "A hold stops the campaign from the next slots on. Workers then cancel the messages that are queued or parked, also when they are restarted meanwhile, and release the hold when none is left. " +
				"A request that left for Meta is not recalled. Further messages of the campaign are refused with `campaign_cancelled` until it is opened. The API key must be for all numbers.",
			Params: params, Body: body,
			Answers: []httpapi.Answer{{Status: 200, Doc: "The campaign is cancelled.", Type: campaignCancelled{}}},
			Codes:   codes, Handler: c.handle(c.cancelCampaign),
		},
		{
			Method: http.MethodPost, Path: "/v1/campaigns/{campaign}/open", Name: "openCampaign", Group: "Campaigns", Scope: httpapi.ScopeAdmin,
			Summary: "Accept messages of a cancelled campaign again.",
			Doc:     "Messages that are cancelled stay cancelled. The hold on the campaign ends. The API key must be for all numbers.",
			Params:  params, Body: body,
			Answers: []httpapi.Answer{{Status: 200, Doc: "Messages of the campaign are accepted.", Type: campaignOpened{}}},
			Codes:   codes, Handler: c.handle(c.openCampaign),
		},
	}
}

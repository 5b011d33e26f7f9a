package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// campaigns cancels campaigns. It writes the audit log.
type campaigns interface {
	// CancelCampaign returns when the campaign was cancelled, or message.ErrNotFound.
	CancelCampaign(ctx context.Context, order message.CancelledCampaign) (time.Time, error)
	// OpenCampaign is false if the campaign is not cancelled.
	OpenCampaign(ctx context.Context, order message.CancelledCampaign) (bool, error)
	// ChangeCampaign changes settings, and returns the settings and what is used of them.
	ChangeCampaign(ctx context.Context, change message.CampaignChange) (message.CampaignWait, error)
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
	Opened bool `json:"opened" doc:"false: the campaign is not cancelled."`
}

// readCampaignOrder reads an order about a campaign.
func (c *Console) readCampaignOrder(w http.ResponseWriter, r *http.Request, key httpapi.Key) (message.CancelledCampaign, httpapi.Refusal) {
	var ask campaignOrder
	refused := httpapi.ReadJSON(w, r, &ask)
	var h message.Hold
	if refused == nil {
		h, refused = c.ordered(target{Campaign: r.PathValue("campaign"), Client: ask.Client}, ask.order, key)
	}
	return message.CancelledCampaign{Flow: h.Flow(), By: h.By, Key: h.Key, Reason: h.Reason}, refused
}

func (c *Console) cancelCampaign(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	order, refused := c.readCampaignOrder(w, r, key)
	if refused != nil {
		return nil, refused
	}
	at, err := c.o.Campaigns.CancelCampaign(ctx, order)
	switch {
	case errors.Is(err, message.ErrNotFound):
		return nil, httpapi.RefuseAt("campaign", "campaign_not_found")
	case err != nil:
		return nil, c.unavailable("cancel campaign", err)
	}
	c.orders.WithLabelValues(message.VerbCampaignCancel).Inc()
	return campaignCancelled{order.Campaign, order.Client, at}, nil
}

func (c *Console) openCampaign(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	order, refused := c.readCampaignOrder(w, r, key)
	if refused != nil {
		return nil, refused
	}
	opened, err := c.o.Campaigns.OpenCampaign(ctx, order)
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
			Codes:   append(codes, "campaign_not_found"), Handler: c.handle(c.cancelCampaign),
		},
		{
			Method: http.MethodPost, Path: "/v1/campaigns/{campaign}/open", Name: "openCampaign", Group: "Campaigns", Scope: httpapi.ScopeAdmin,
			Summary: "Accept messages of a cancelled campaign again.",
			Doc:     "Messages that are cancelled stay cancelled. The hold on the campaign ends. The API key must be for all numbers.",
			Params:  params, Body: body,
			Answers: []httpapi.Answer{{Status: 200, Doc: "Messages of the campaign are accepted.", Type: campaignOpened{}}},
			Codes:   codes, Handler: c.handle(c.openCampaign),
		},
		c.campaignSettingsRoute(params, codes),
	}
}

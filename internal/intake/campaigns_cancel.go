package intake

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// campaignOrder is the body of POST /v1/campaigns/{campaign}/cancel.
type campaignOrder struct {
	Client string `json:"client,omitempty" doc:"The client of the campaign. Default: the client of the API key; without one, the campaign of messages of no client."`
	Reason string `json:"reason" doc:"Why, 1 to 200 characters without control characters. It is in the audit log, and in GET /v1/campaigns/{campaign}."`
}

// campaignCancelled is the answer to it.
type campaignCancelled struct {
	Campaign string    `json:"campaign" doc:"The campaign."`
	Client   string    `json:"client,omitempty" doc:"The client of the campaign."`
	At       time.Time `json:"cancelled_at" doc:"When it was cancelled. Nothing of it is sent from the next slots on; workers cancel what waits."`
}

func (in *Intake) cancelCampaignRoute() httpapi.Route {
	return httpapi.Route{
		Method: http.MethodPost, Path: "/v1/campaigns/{campaign}/cancel", Name: "cancelCampaign", Group: "Campaigns", Scope: httpapi.ScopeCancel,
		Summary: "Cancel a campaign: cancel its messages that wait, and refuse further ones.",
		Doc: "From the next slots on, nothing of the campaign is sent. Workers then cancel the messages that are `queued` or `parked`. A request that left for Meta is not recalled. " +
			"Further messages of the campaign are refused with `campaign_cancelled` until an operator opens it. The API key must cover all numbers of the campaign. The audit log has its name as the actor.",
		Params:  []httpapi.Param{{In: "path", Name: "campaign", Doc: "The campaign.", Example: "spring"}},
		Body:    &httpapi.Body{Type: campaignOrder{}, Example: `{"reason":"wrong price"}`},
		Answers: []httpapi.Answer{{Status: 200, Doc: "The campaign is cancelled.", Type: campaignCancelled{}}},
		Codes:   slices.Concat(httpapi.BodyCodes(), []string{"reason_missing", "client_not_found", "campaign_not_found", "all_numbers_required", "store_unavailable"}),
		Handler: in.cancelCampaign,
	}
}

// cancelCampaign serves POST /v1/campaigns/{campaign}/cancel.
func (in *Intake) cancelCampaign(w http.ResponseWriter, r *http.Request) {
	var ask campaignOrder
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeCancel)
	if refused == nil {
		refused = httpapi.ReadJSON(w, r, &ask)
	}
	if refused == nil && !isLabel(ask.Reason, maxReason) {
		refused = append(refused, httpapi.Problem("reason", "reason_missing"))
	}
	if key.Client != "" && ask.Client != "" && ask.Client != key.Client {
		refused = append(refused, httpapi.Problem("client", "client_not_found"))
	}
	f := message.Flow{Client: cmp.Or(ask.Client, key.Client), Campaign: r.PathValue("campaign")}
	ctx, stop := context.WithTimeout(r.Context(), storeTimeout)
	defer stop()
	if refused == nil {
		refused = in.mayCancel(ctx, f, key)
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	at, err := in.o.Campaigns.CancelCampaign(ctx, message.CancelledCampaign{Flow: f, By: "API key " + key.Name, Key: key.Name, Reason: ask.Reason})
	switch {
	case errors.Is(err, message.ErrNotFound):
		refuseAt("campaign", "campaign_not_found").Write(w)
	case err != nil:
		in.o.Log.Error("cannot cancel a campaign", "err", err)
		refuse("store_unavailable").Write(w)
	default:
		httpapi.WriteJSON(w, "application/json", http.StatusOK, campaignCancelled{f.Campaign, f.Client, at})
	}
}

// mayCancel refuses a request about a campaign of which the API key may not use all messages.
func (in *Intake) mayCancel(ctx context.Context, f message.Flow, key httpapi.Key) refusal {
	all := []message.CampaignProgress{{Flow: f}}
	if err := in.o.Campaigns.CampaignProgress(ctx, all); err != nil {
		in.o.Log.Error("cannot read a campaign", "err", err)
		return refuse("store_unavailable")
	}
	switch own := len(ofKey(all[0], key)); {
	case own == 0:
		return refuseAt("campaign", "campaign_not_found")
	case own < len(all[0].Counts):
		return refuse("all_numbers_required")
	}
	return nil
}

package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Campaign is how far a campaign is. Its counters are exact.
type Campaign struct {
	Campaign        string        `json:"campaign"`
	Client          string        `json:"client,omitempty"`
	AcceptedAt      time.Time     `json:"accepted_at,omitzero"`        // when its last message was accepted; zero: none was, and it has Settings
	Messages        int           `json:"messages"`                    // all of them
	States          map[State]int `json:"states"`                      // messages by state; a message in an attempt counts as queued
	Delivered       int           `json:"delivered"`                   // delivered, read and played
	Read            int           `json:"read"`                        // read and played
	Undelivered     int           `json:"undelivered"`                 // ended without reaching their recipients
	TakenLastMinute *int          `json:"taken_last_minute,omitempty"` // messages that Meta took in the last full minute; nil: the API key may not use all numbers of the campaign

	// Client.Campaign sets what follows, Client.Campaigns does not.

	Causes        []CampaignFailures `json:"undelivered_by_cause,omitempty"` // why messages were not delivered, the most frequent first
	Templates     []CampaignTemplate `json:"templates,omitempty"`            // the counters by template
	Numbers       []CampaignNumber   `json:"numbers,omitempty"`
	Pending       *int               `json:"pending,omitempty"`        // messages that wait for a send slot
	PendingDoneBy time.Time          `json:"pending_done_by,omitzero"` // when these will have been sent, estimated; zero: none waits, or see OverBudgets
	OverBudgets   []OverBudget       `json:"over_budgets,omitempty"`   // the budgets that have too little left for all pending messages
	Holds         []Hold             `json:"holds,omitempty"`          // on the campaign, its templates, its numbers or everything

	Settings *CampaignSettings `json:"settings,omitempty"` // how fast it is sent, and how many messages in a day; nil: no operator has set that

	CancelledAt  time.Time `json:"cancelled_at,omitzero"`   // when it was cancelled: further messages are refused; zero: it is not
	CancelReason string    `json:"cancel_reason,omitempty"` // why
}

// CampaignSettings are the settings of a campaign, and what they mean now.
type CampaignSettings struct {
	Rate            float64   `json:"rate,omitempty"`             // most messages per second at each number; 0: no limit but that of the number
	RateNow         float64   `json:"rate_now,omitempty"`         // with RampUntil: most messages per second now
	RampFrom        float64   `json:"ramp_from,omitempty"`        // the rate with which the ramp began
	RampUntil       time.Time `json:"ramp_until,omitzero"`        // when the rate has grown to Rate; zero: there is no ramp, or it has ended
	CapPerDay       int       `json:"cap_per_day,omitempty"`      // most messages in a day, over all numbers; 0: no cap
	TimeZone        string    `json:"time_zone,omitempty"`        // in which days begin
	SentToday       *int      `json:"sent_today,omitempty"`       // with CapPerDay: messages that it has counted today
	CapReachedUntil time.Time `json:"cap_reached_until,omitzero"` // when the campaign goes on; zero: it has not reached its cap
	Budget          string    `json:"budget,omitempty"`           // the most that all messages may cost, in the currency of the prices; empty: there is none
	Spent           *string   `json:"spent,omitempty"`            // with Budget: what counts as spent
	SetAt           time.Time `json:"set_at"`                     // when the settings were last changed
	Actor           string    `json:"actor"`                      // who changed them
	Reason          string    `json:"reason"`
}

// CampaignFailures are the messages of a campaign that were not delivered for the same cause.
type CampaignFailures struct {
	State  State      `json:"state"`                    // in which they ended
	Reason string     `json:"message_reason,omitempty"` // why they ended
	Error  *MetaError `json:"error,omitempty"`
	Count  int        `json:"count"`
}

// CampaignTemplate has the counters of a template of a campaign.
type CampaignTemplate struct {
	Template    string `json:"template"` // as name/language
	Messages    int    `json:"messages"`
	Delivered   int    `json:"delivered"` // with those that were read
	Read        int    `json:"read"`
	Undelivered int    `json:"undelivered"`
}

// CampaignNumber has the counters of a number that sends messages of a campaign.
type CampaignNumber struct {
	PhoneNumberID string `json:"phone_number_id"`
	Messages      int    `json:"messages"`
	Queued        int    `json:"queued"` // not sent yet
}

// Campaigns returns the latest campaigns, the one with the latest message first: limit of them, up to 100; 0: 20. name is the name of a
// client; empty: that of the API key, or all clients if it has none.
func (c *Client) Campaigns(ctx context.Context, name string, limit int) ([]Campaign, error) {
	q := url.Values{}
	if name != "" {
		q.Set("client", name)
	}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var answer struct {
		Campaigns []Campaign `json:"campaigns"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/campaigns?" + q.Encode()}, &answer)
	return answer.Campaigns, err
}

// Campaign returns how far a campaign of a client is. An empty name of a client stands for that of the API key.
func (c *Client) Campaign(ctx context.Context, name, campaign string) (Campaign, error) {
	path := "/v1/campaigns/" + url.PathEscape(campaign)
	if name != "" {
		path += "?" + url.Values{"client": {name}}.Encode()
	}
	var answer Campaign
	err := c.do(ctx, request{method: http.MethodGet, path: path}, &answer)
	return answer, err
}

// CancelCampaign cancels a campaign of a client: nothing of it is sent from the next slots on, workers cancel its messages that wait, and
// further ones are refused with campaign_cancelled until an operator opens it. The reason is for the audit log. An empty name of a client
// stands for that of the API key, which needs the scope messages:cancel and all numbers of the campaign.
func (c *Client) CancelCampaign(ctx context.Context, name, campaign, reason string) error {
	order := map[string]string{"reason": reason}
	if name != "" {
		order["client"] = name
	}
	return c.Call(ctx, http.MethodPost, "/v1/campaigns/"+url.PathEscape(campaign)+"/cancel", order, nil)
}

package pages

import (
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// campaign is a campaign, as the API of callers shows it.
type campaign struct {
	Name        string    `json:"campaign"`
	Client      string    // empty: of no client
	AcceptedAt  time.Time `json:"accepted_at"`
	Messages    int
	States      map[message.State]int
	Delivered   int
	Read        int
	Undelivered int
	Taken       int `json:"taken_last_minute"`

	Causes      []campaignCause `json:"undelivered_by_cause"`
	Templates   []campaignTemplate
	Numbers     []campaignNumber
	Pending     int
	DoneBy      time.Time    `json:"pending_done_by"`
	OverBudgets []overBudget `json:"over_budgets"`
	Holds       []httpapi.Hold

	Settings *httpapi.CampaignSettings

	CancelledAt  time.Time `json:"cancelled_at"`
	CancelReason string    `json:"cancel_reason"`

	Operator   bool `json:"-"` // the API key of the session belongs to no client
	AllNumbers bool `json:"-"` // the API key of the session is for all numbers: it may hold the campaign at all of them, and Taken is known
}

// overBudget is a budget that has too little left for all pending messages.
type overBudget struct {
	Budget, Limit, Spent string
	Until                time.Time
	Messages             int
}

// campaignCause is how many messages were not delivered for one cause.
type campaignCause struct {
	State      message.State
	Reason     string `json:"message_reason"`
	Error      *metaError
	Count      int
	Unselected bool `json:"-"` // see codeGroup
}

// Code returns Meta's code; 0: there is none.
func (c campaignCause) Code() int {
	if c.Error == nil || c.Error.Code == nil {
		return 0
	}
	return *c.Error.Code
}

// Resendable reports whether messages of this state can be sent again.
func (c campaignCause) Resendable() bool { return slices.Contains(message.ResendStates(), c.State) }

// campaignTemplate is how the messages of one template are doing.
type campaignTemplate struct {
	Template                               string
	Messages, Delivered, Read, Undelivered int
}

// campaignNumber is how many messages of a campaign a number has.
type campaignNumber struct {
	ID       string `json:"phone_number_id"`
	Messages int
	Queued   int
	Shared   bool `json:"-"` // with other clients: the API key of the session may not act on it, and not see its page
}

// Page returns the address of the page of the campaign, with a query of names and values.
func (c campaign) Page(query ...any) string {
	return address("campaigns/"+url.PathEscape(c.Name), append([]any{"client", c.Client}, query...)...)
}

// List returns the address of the list of messages of the campaign in some states, with a query of names and values.
func (c campaign) List(states string, query ...any) string {
	return address("messages", append([]any{"campaign", c.Name, "client", c.Client, "state", states}, query...)...)
}

// ListUndelivered returns the address of the list of messages of the campaign that ended without reaching their recipients.
func (c campaign) ListUndelivered() string {
	var states []string
	for _, s := range message.States() {
		if s.Undelivered() {
			states = append(states, string(s))
		}
	}
	return c.List(strings.Join(states, ","))
}

// Later returns how many queued messages wait for something else than a slot.
func (c campaign) Later() int { return max(c.States[message.Queued]-c.Pending, 0) }

// Own returns the numbers of the campaign on which the API key of the session may act.
func (c campaign) Own() []campaignNumber {
	return slices.DeleteFunc(slices.Clone(c.Numbers), func(n campaignNumber) bool { return n.Shared })
}

// barWidth is the width of a bar, in units of its viewBox.
const barWidth = 1000

// barPart is the part of a bar for a state.
type barPart struct {
	State    message.State
	Count    int
	X, Width float64
}

// Bar returns how many messages are in each state, with the place of each state in a bar: first what has come furthest, what was not
// delivered at the end.
func (c campaign) Bar() (parts []barPart) {
	states := message.States()
	order := func(s message.State) int {
		if s.Undelivered() {
			return s.Rank("") - 100
		}
		return s.Rank("")
	}
	slices.SortStableFunc(states, func(a, b message.State) int { return order(b) - order(a) })
	x := 0.0
	for _, s := range states {
		if n := c.States[s]; n > 0 {
			width := barWidth * float64(n) / float64(max(c.Messages, 1))
			parts = append(parts, barPart{s, n, x, width})
			x += width
		}
	}
	return parts
}

// campaigns are the data of the page of campaigns.
type campaigns struct {
	Campaigns []campaign

	Operator   bool `json:"-"` // as in campaign
	AllNumbers bool `json:"-"` // as in campaign
	Longest    bool `json:"-"` // as many as the API lists
}

// More reports whether there are perhaps more campaigns than the page shows, and it can show them.
func (c campaigns) More() bool { return !c.Longest && len(c.Campaigns) == campaignsShown }

// campaignsShown is how many campaigns the page shows, and campaignsMost with ?all.
const (
	campaignsShown = 20
	campaignsMost  = 100
)

func campaignsPage() page {
	return page{
		name: "campaigns", path: "campaigns", title: "Campaigns", nav: true, live: true,
		read: func(v *view) (any, *problem) {
			key := v.session.key
			list, limit := campaigns{Operator: key.Client == "", AllNumbers: key.CoversAll(), Longest: v.query("all") != ""}, campaignsShown
			if list.Longest {
				limit = campaignsMost
			}
			failed := v.api("GET", withQuery("/v1/campaigns", "client", v.query("client"), "limit", strconv.Itoa(limit)), nil, &list)
			return list, failed
		},
	}
}

// settingFields are the fields of the form of settings, and whether they are numbers.
var settingFields = map[string]bool{"rate": true, "ramp_from": true, "ramp_over": false, "cap_per_day": true, "time_zone": false, "budget": false}

func campaignPage() page {
	set := func(v *view) (done, *problem) {
		members := map[string]any{"client": v.query("client")}
		for name, number := range settingFields {
			text := v.field(name)
			members[name] = text
			if !number || text == "" {
				continue
			}
			n, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
				n = -1 // which the API refuses
			}
			members[name] = n
		}
		var result struct{}
		failed := v.console("PUT", "/v1/campaigns/"+url.PathEscape(v.r.PathValue("id"))+"/settings", v.order(members), &result)
		return done{text: "The settings are stored. All workers follow within two seconds.", to: campaign{Name: v.r.PathValue("id"), Client: v.query("client")}.Page()}, failed
	}
	order := func(verb, text string) func(*view) (done, *problem) {
		return func(v *view) (done, *problem) {
			var result struct{}
			failed := v.console("POST", "/v1/campaigns/"+url.PathEscape(v.r.PathValue("id"))+"/"+verb, v.order(map[string]any{"client": v.query("client")}), &result)
			return done{text: text, to: campaign{Name: v.r.PathValue("id"), Client: v.query("client")}.Page()}, failed
		}
	}
	return page{
		acts: map[string]func(*view) (done, *problem){
			"cancel": order("cancel", "Nothing of the campaign is sent from now on. Workers cancel its messages that wait."),
			"set":    set,
			"open":   order("open", "Messages of the campaign are accepted."),
		},
		name: "campaign", path: "campaigns/{id}", title: "Campaign", live: true,
		read: func(v *view) (any, *problem) {
			key := v.session.key
			c := campaign{Operator: key.Client == "", AllNumbers: key.CoversAll()}
			if failed := v.api("GET", withQuery("/v1/campaigns/"+url.PathEscape(v.r.PathValue("id")), "client", v.query("client")), nil, &c); failed != nil {
				return c, failed
			}
			for i, n := range c.Numbers {
				c.Numbers[i].Shared = slices.Contains(key.Shared, n.ID)
			}
			for i, one := range c.Causes { // as markUnselected
				c.Causes[i].Unselected = one.Reason == "" && slices.ContainsFunc(c.Causes, func(other campaignCause) bool {
					return other.Reason != "" && other.State == one.State && other.Code() == one.Code()
				})
			}
			return c, nil
		},
	}
}

package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Usage is what Meta took of a client in a day, from one number and in one category.
type Usage struct {
	Day           string `json:"day"` // by UTC, like 2026-01-31
	Client        string `json:"client"`
	PhoneNumberID string `json:"phone_number_id"` // Meta's id of the sending number
	Category      string `json:"category"`        // of Taken the class of the messages, of Billed the category that Meta charges for, like marketing_lite
	Taken         int    `json:"taken"`           // messages that Meta took
	Billed        int    `json:"billed"`          // messages that Meta charges for
}

// Usage counts the messages that Meta took, and those that it charges for, by day, client, number and category. name is the name of a
// client; empty: that of the API key, or all clients if it has none. from and to are days by UTC, both included, at most 93.
func (c *Client) Usage(ctx context.Context, name string, from, to time.Time) ([]Usage, error) {
	q := url.Values{"from": {from.UTC().Format(time.DateOnly)}, "to": {to.UTC().Format(time.DateOnly)}}
	if name != "" {
		q.Set("client", name)
	}
	var answer struct {
		Usage []Usage `json:"usage"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/usage?" + q.Encode()}, &answer)
	return answer.Usage, err
}

// Quota is what is used of a quota of a client.
type Quota struct {
	Client  string    `json:"client"`
	Quota   string    `json:"quota"` // per_second, per_day or per_month, or one of a class, like marketing.per_day
	Limit   int       `json:"limit"`
	Used    int       `json:"used"`    // accepted messages of this second, day or month, by UTC
	Refused int       `json:"refused"` // messages that the quota refused in this day or month; of a quota per second: in this day
	Until   time.Time `json:"until"`   // when the quota begins again
}

// Quotas returns what is used of the quotas of clients. name is the name of a client; empty: that of the API key, or all clients if it has none.
func (c *Client) Quotas(ctx context.Context, name string) ([]Quota, error) {
	limits, err := c.limits(ctx, name)
	return limits.Quotas, err
}

// BudgetUse is what a client has spent of a budget. Amounts are texts, like "12.50", in the currency of the prices of the installation.
type BudgetUse struct {
	Client string    `json:"client"`
	Budget string    `json:"budget"` // per_day or per_month
	Limit  string    `json:"limit"`
	Spent  string    `json:"spent"` // estimates, corrected by what Meta charges
	Until  time.Time `json:"until"` // when the period ends, by UTC
}

// Budgets returns what clients have spent of their budgets. name is as in Quotas.
func (c *Client) Budgets(ctx context.Context, name string) ([]BudgetUse, error) {
	limits, err := c.limits(ctx, name)
	return limits.Budgets, err
}

// limits are the quotas and budgets of clients.
type limits struct {
	Quotas  []Quota     `json:"quotas"`
	Budgets []BudgetUse `json:"budgets"`
}

func (c *Client) limits(ctx context.Context, name string) (answer limits, err error) {
	path := "/v1/quotas"
	if name != "" {
		path += "?" + url.Values{"client": {name}}.Encode()
	}
	err = c.do(ctx, request{method: http.MethodGet, path: path}, &answer)
	return answer, err
}

package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Suppression is an entry of a suppression list: a person who gets no marketing messages of a client.
type Suppression struct {
	Recipient     string    `json:"recipient"`        // a phone number with its plus, or a business-scoped user id; masked, unless asked for whole
	Client        string    `json:"client,omitempty"` // whose list it is; empty: that of the numbers without a client
	Source        string    `json:"source"`           // keyword, user_preferences, meta_error, api or import
	Reason        string    `json:"reason,omitempty"`
	APIKey        string    `json:"api_key,omitempty"`         // the name of the API key that added the person
	PhoneNumberID string    `json:"phone_number_id,omitempty"` // the number that the person wrote to, or that Meta's report was about
	At            time.Time `json:"at"`                        // when the person opted out
}

// SuppressionOrder adds a person to a suppression list, or removes one. An empty client stands for that of the API key, or for the numbers
// without a client. The reason may be empty.
type SuppressionOrder struct {
	Recipient string `json:"recipient"` // a phone number with its country code, or a business-scoped user id
	Client    string `json:"client,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// SuppressionQuery selects a page of a suppression list. The zero value selects the first one, with masked recipients.
type SuppressionQuery struct {
	Client string // as in SuppressionOrder
	Whole  bool   // with whole recipients
	Limit  int    // number of entries, up to 1000; 0: 100
	Cursor string // NextCursor of the last page
}

// SuppressionPage is a page of a suppression list, the latest entries first.
type SuppressionPage struct {
	Suppressions []Suppression `json:"suppressions"`
	NextCursor   string        `json:"next_cursor,omitempty"` // of the next page; empty: there is none
}

// ImportResult is what an import into a suppression list did.
type ImportResult struct {
	Added     int           `json:"added"`
	Unchanged int           `json:"unchanged"` // people who were in the list, or who opted in again later
	Refused   int           `json:"refused"`   // lines that were not imported
	Errors    []ImportError `json:"errors"`    // the first 20 of them
}

// ImportError is a line that was not imported.
type ImportError struct {
	Line int    `json:"line"`
	Code string `json:"code"`
}

// Suppress adds a person to a suppression list. It returns false if the person was in it.
func (c *Client) Suppress(ctx context.Context, o SuppressionOrder) (changed bool, err error) {
	return c.orderSuppression(ctx, "/v1/suppressions", o)
}

// Unsuppress removes a person from a suppression list. It returns false if the person was not in it.
func (c *Client) Unsuppress(ctx context.Context, o SuppressionOrder) (changed bool, err error) {
	return c.orderSuppression(ctx, "/v1/suppressions/remove", o)
}

func (c *Client) orderSuppression(ctx context.Context, path string, o SuppressionOrder) (bool, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return false, err
	}
	var answer struct {
		Changed bool `json:"changed"`
	}
	err = c.do(ctx, request{method: http.MethodPost, path: path, body: body}, &answer)
	return answer.Changed, err
}

// Suppressed returns the entry of a person in the suppression list of a client. If there is none, the error is a *Problem with the code
// suppression_not_found.
func (c *Client) Suppressed(ctx context.Context, name, recipient string) (s Suppression, err error) {
	body, err := json.Marshal(SuppressionOrder{Recipient: recipient, Client: name})
	if err != nil {
		return s, err
	}
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/suppressions/show", body: body}, &s)
	return s, err
}

// Suppressions returns a page of a suppression list.
func (c *Client) Suppressions(ctx context.Context, q SuppressionQuery) (p SuppressionPage, err error) {
	v := ofClient(q.Client, url.Values{})
	if q.Cursor != "" {
		v.Set("cursor", q.Cursor)
	}
	if q.Whole {
		v.Set("recipients", "whole")
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	err = c.do(ctx, request{method: http.MethodGet, path: "/v1/suppressions?" + v.Encode()}, &p)
	return p, err
}

// ImportSuppressions adds people from a file to the suppression list of a client: a CSV whose first line names the columns, if media is
// text/csv, or JSON lines, if it is application/x-ndjson. It repeats nothing: after an error, import the same file again.
func (c *Client) ImportSuppressions(ctx context.Context, name, media string, file io.Reader) (done ImportResult, err error) {
	answer, err := c.suppressionFile(ctx, http.MethodPost, "/v1/suppressions/import?"+ofClient(name, url.Values{}).Encode(), media, io.NopCloser(file))
	if err != nil {
		return done, err
	}
	defer answer.Close()
	if err := json.NewDecoder(answer).Decode(&done); err != nil {
		return done, &callError{"read the answer to an import", true, err}
	}
	return done, nil
}

// ExportSuppressions returns the suppression list of a client with whole recipients, as CSV or as JSON lines: format is csv or ndjson. The
// caller must close it. A read that ends with another error than io.EOF has not returned the whole list.
func (c *Client) ExportSuppressions(ctx context.Context, name, format string) (io.ReadCloser, error) {
	return c.suppressionFile(ctx, http.MethodGet, "/v1/suppressions/export?"+ofClient(name, url.Values{"format": {format}}).Encode(), "application/json", http.NoBody)
}

// ofClient adds the name of a client to a query, unless it is empty: the API refuses empty parameters.
func ofClient(name string, q url.Values) url.Values {
	if name != "" {
		q.Set("client", name)
	}
	return q
}

// suppressionFile makes a request whose body or answer is a file, and returns the body of the answer.
func (c *Client) suppressionFile(ctx context.Context, method, path, media string, file io.ReadCloser) (io.ReadCloser, error) {
	resp, err := c.roundTrip(ctx, method, path, media, file)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, &callError{"read the answer to " + method + " " + pathOf(path), true, err}
	}
	return nil, problemOf(resp, answer)
}

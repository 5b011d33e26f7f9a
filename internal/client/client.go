// Package client calls Sluice's own API, for the command line tool and the demo.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice/internal/message"
)

// maxAnswer bounds how much of an answer is read.
const maxAnswer = 1 << 20

// Client calls the API at Base, such as "http://127.0.0.1:8080", with an API key. It is safe
// for concurrent use and repeats nothing by itself.
type Client struct {
	Base string
	Key  string
	HTTP *http.Client // nil: http.DefaultClient
}

// Order is the body of POST /v1/messages.
type Order struct {
	From      string          `json:"from"`
	Message   json.RawMessage `json:"message"` // Meta's message object
	Class     message.Class   `json:"class,omitempty"`
	Key       string          `json:"key,omitempty"`
	Ref       string          `json:"ref,omitempty"`
	Tags      []string        `json:"tags,omitempty"`
	SendAt    time.Time       `json:"send_at,omitzero"`
	ExpiresAt time.Time       `json:"expires_at,omitzero"`
}

// Accepted is the answer to an accepted message.
type Accepted struct {
	ID        string        `json:"id"`
	State     message.State `json:"state"`
	Class     message.Class `json:"class"`
	ExpiresAt time.Time     `json:"expires_at"`
	Duplicate bool          `json:"duplicate"`
}

// Record is what GET /v1/messages/{id} answers.
type Record struct {
	message.Context
	State   message.State `json:"state"`
	Reason  string        `json:"reason"`
	Code    int           `json:"code"`
	Attempt int           `json:"attempt"`
	WAMID   string        `json:"wamid"`
	Error   struct {
		Code   *int   `json:"code"`
		Title  string `json:"title"`
		Advice string `json:"advice"`
		message.ErrorDetail
	} `json:"error"`
	Timeline []struct {
		At      time.Time     `json:"at"`
		State   message.State `json:"state"`
		Attempt int           `json:"attempt"`
		Code    int           `json:"code"`
		Reason  string        `json:"reason"`
	} `json:"timeline"`
}

// Problem is an error answer of the API.
type Problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Errors []struct {
		Path   string `json:"path"`
		Detail string `json:"detail"`
		Fix    string `json:"fix"`
	} `json:"errors"`
}

// Error returns the problem and the fixes, one per line.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s: %s", p.Status, p.Code, p.Detail)
	for _, e := range p.Errors {
		if e.Path == "" { // about the whole request: Detail says it
			fmt.Fprintf(&b, "\n  %s", e.Fix)
			continue
		}
		fmt.Fprintf(&b, "\n  %s: %s %s", e.Path, e.Detail, e.Fix)
	}
	return b.String()
}

// Send orders a message. A refusal is a *Problem; after any other error the message may have
// been accepted, and the order may be repeated if it has a key.
func (c *Client) Send(ctx context.Context, o Order) (Accepted, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return Accepted{}, fmt.Errorf("order: %w", err)
	}
	var r Accepted
	err = c.do(ctx, http.MethodPost, "/v1/messages", body, &r)
	return r, err
}

// Get reads a message's record.
func (c *Client) Get(ctx context.Context, id string) (Record, error) {
	var r Record
	err := c.do(ctx, http.MethodGet, "/v1/messages/"+url.PathEscape(id), nil, &r)
	return r, err
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call the API: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http().Do(req)
	if err != nil {
		return fmt.Errorf("call the API: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the API's answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return problem(resp.StatusCode, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read the API's answer: %w", err)
	}
	return nil
}

func (c *Client) http() *http.Client {
	if c.HTTP == nil {
		return http.DefaultClient
	}
	return c.HTTP
}

// UnknownCode is the code of a Problem that came from another program than Sluice, such as a proxy.
const UnknownCode = "unknown"

// problem reads an error answer.
func problem(status int, answer []byte) *Problem {
	p := &Problem{Status: status, Code: UnknownCode, Detail: "the answer is not from Sluice. Check that the URL is that of its API or console."}
	json.Unmarshal(answer, p) // another form of answer leaves p as it is
	return p
}

// Ask calls the API, or the console if Base is its URL. The body is in as JSON, or empty for nil. It returns the
// answer; a refusal is a *Problem.
func (c *Client) Ask(ctx context.Context, method, path string, in any) (json.RawMessage, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, fmt.Errorf("ask: %w", err)
		}
	}
	var answer json.RawMessage
	err := c.do(ctx, method, path, body, &answer)
	return answer, err
}

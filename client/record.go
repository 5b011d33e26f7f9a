package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Info identifies a message, in its record and in events.
type Info struct {
	ID            string   `json:"id"`              // Sluice's id of the message
	PhoneNumberID string   `json:"phone_number_id"` // Meta's id of the sending number
	Class         Class    `json:"class"`
	Type          string   `json:"type"`                           // Meta's type of the message, for example text
	To            string   `json:"to,omitempty"`                   // the recipient, masked
	Template      string   `json:"template,omitempty"`             // as name/language
	Fallback      string   `json:"fallback_template,omitempty"`    // as name/language, as long as Sluice may still use it
	FallbackFor   string   `json:"fallback_for,omitempty"`         // the template of your request, or the type of your free-form message, if the message has the fallback template in its place
	MovedFrom     string   `json:"moved_from,omitempty"`           // the id of the message of another number whose place this one has taken
	Ref           string   `json:"ref,omitempty"`                  // your own reference
	Tags          []string `json:"tags,omitempty"`                 // your own labels
	Client        string   `json:"client,omitempty"`               // the client that the message belongs to
	Campaign      string   `json:"campaign,omitempty"`             // the campaign of the request; one of the tags too
	Account       string   `json:"messaging_account_id,omitempty"` // Meta's id of the messaging account, if the request or a setting names one
	CallbackData  string   `json:"callback_data,omitempty"`        // biz_opaque_callback_data of your content
	Traceparent   string   `json:"traceparent,omitempty"`          // W3C trace context in which Sluice accepted the message; empty: it is not traced
}

// Record is what Sluice knows about a message.
type Record struct {
	Info
	State      State      `json:"state"`
	Final      bool       `json:"final"`                // Sluice does not send the message again by itself
	Reason     string     `json:"reason,omitempty"`     // why the message is in this state
	Code       int        `json:"code,omitempty"`       // Meta's error code
	Error      MetaError  `json:"error,omitzero"`       // what the code means; zero: there was no error
	Attempt    int        `json:"attempt"`              // number of attempts that have started
	WAMID      string     `json:"wamid,omitempty"`      // Meta's id of the message
	AcceptedAt time.Time  `json:"accepted_at,omitzero"` // when Sluice accepted the message
	SendAt     time.Time  `json:"send_at,omitzero"`     // no attempt before this time
	ExpiresAt  time.Time  `json:"expires_at,omitzero"`  // no attempt starts after this time
	NextAt     time.Time  `json:"next_at,omitzero"`     // when the next step happens by itself
	After      *WaitsFor  `json:"after,omitempty"`      // the message waits for another one; nil: it does not, or not any more
	MovedTo    string     `json:"moved_to,omitempty"`   // with the reason moved: the id of the message of another number that has taken the place of this one
	Followers  []WaitsFor `json:"followers,omitempty"`  // the messages that wait for this one, each with the state that it waits for
	Duplicates int        `json:"duplicates"`           // how many extra times Meta accepted the message
	KeyUntil   time.Time  `json:"key_until,omitzero"`   // if the record was removed: until when Sluice remembers the state and the key
	Timeline   []Step     `json:"timeline"`             // the last 20 state changes, the oldest first
}

// MetaError is an error that Meta reported.
type MetaError struct {
	Code   *int   `json:"code,omitempty"` // nil: Meta's answer had none
	Title  string `json:"title"`          // what the code means
	Advice string `json:"advice"`         // what to do about it
	ErrorDetail
}

// ErrorDetail has Meta's own texts about an error, for people.
type ErrorDetail struct {
	Message string `json:"message,omitempty"`
	Details string `json:"details,omitempty"`       // error_data.details
	Subcode int    `json:"error_subcode,omitempty"` // error_subcode
	Trace   string `json:"fbtrace_id,omitempty"`    // fbtrace_id, which Meta's support asks for
}

// WaitsFor is what a message waits for: another message and its state.
type WaitsFor struct {
	ID    string `json:"id"` // Sluice's id of the other message
	State State  `json:"state"`
	Not   bool   `json:"not,omitempty"` // it is sent if that message does not reach the state in time
}

// Step is one change of the state of a message.
type Step struct {
	At      time.Time `json:"at"`
	State   State     `json:"state"`
	Attempt int       `json:"attempt,omitempty"` // the attempt that changed it; 0: none did
	Code    int       `json:"code,omitempty"`    // Meta's error code
	Title   string    `json:"title,omitempty"`   // what the code means
	Reason  string    `json:"reason,omitempty"`  // why the message is in this state
}

// Explanation says what a message waits for, and until when.
type Explanation struct {
	ID     string    `json:"id"`
	State  State     `json:"state"`
	Rule   string    `json:"rule"`             // what it waits for, for programs: docs/api.md has the list
	Detail string    `json:"detail"`           // the rule in words
	Until  time.Time `json:"until,omitzero"`   // when the wait ends; zero: it is not known. With the rules queue, campaign_rate and campaign_cap it is an estimate
	Then   string    `json:"then,omitempty"`   // with the rule in_doubt: what happens at the end of the window without a status
	After  *WaitsFor `json:"after,omitempty"`  // with the rule after
	Ahead  *int      `json:"ahead,omitempty"`  // with the rules queue, campaign_rate and campaign_cap: number of messages of the same class, client and campaign before it
	Holds  []Hold    `json:"holds,omitempty"`  // with the rule hold: all holds on the message
	Reason string    `json:"reason,omitempty"` // why the message is in this state

	CustomerServiceWindow string    `json:"customer_service_window,omitempty"` // of a queued free-form message: open, closed or unknown; empty: the number does not track it
	WindowClosesAt        time.Time `json:"window_closes_at,omitzero"`         // when an open window closes, if the recipient writes nothing more

	Code      int       `json:"code,omitempty"` // Meta's last error code
	Error     MetaError `json:"error,omitzero"` // what the code means
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Hold stops the sending of messages. Without PhoneNumberID, Template, Tag and Campaign it stops all.
type Hold struct {
	PhoneNumberID string    `json:"phone_number_id,omitempty"` // messages from this number
	Template      string    `json:"template,omitempty"`        // messages of this template of the number, as name/language
	Tag           string    `json:"tag,omitempty"`             // messages with this tag
	Campaign      string    `json:"campaign,omitempty"`        // messages of this campaign of Client
	Client        string    `json:"client,omitempty"`          // with Campaign; empty: messages of no client
	Reason        string    `json:"reason"`                    // why
	Code          int       `json:"code,omitempty"`            // Meta's error code, if Meta's answer was the reason
	Actor         string    `json:"actor"`                     // the operator, or sluice if Sluice set it by itself
	Since         time.Time `json:"since"`
	Until         time.Time `json:"until,omitzero"` // when it ends by itself; zero: when an operator releases it
}

// StateInfo describes a state.
type StateInfo struct {
	State   State  `json:"state"`
	Final   bool   `json:"final"`
	Meaning string `json:"meaning"` // for people
}

// Get reads the record of a message. Sluice removes a record some time after the message has ended. A message with a key then
// still has its last state and times, until KeyUntil. After that, or without a key, the error is a *Problem with the code
// CodeNotFound.
func (c *Client) Get(ctx context.Context, id string) (Record, error) {
	var r Record
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/messages/" + url.PathEscape(id)}, &r)
	return r, err
}

// Explain says what a message waits for.
func (c *Client) Explain(ctx context.Context, id string) (Explanation, error) {
	var e Explanation
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/messages/" + url.PathEscape(id) + "/explain"}, &e)
	return e, err
}

// Cancel cancels a message that is queued or parked. Otherwise the error is a *Problem with the status 409. The API key
// needs the scope messages:cancel.
func (c *Client) Cancel(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodPost, path: "/v1/messages/" + url.PathEscape(id) + "/cancel"}, nil)
}

// States lists the states that this version of Sluice has.
func (c *Client) States(ctx context.Context) ([]StateInfo, error) {
	var answer struct {
		States []StateInfo `json:"states"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/states"}, &answer)
	return answer.States, err
}

// ListOptions selects messages, in one of three ways: IDs only; PhoneNumberID and Ref, for the latest 100 messages with
// the reference; or States, Tag or both, with or without PhoneNumberID, Since and Until.
type ListOptions struct {
	IDs           []string // up to 100
	PhoneNumberID string
	Ref           string
	States        []State // in one of these states
	Tag           string
	Campaign      string
	Client        string    // with Campaign; empty: the client of the API key
	Since, Until  time.Time // when they came into their present state, both included
	PageSize      int       // messages in one answer, 1 to 200; 0: 100
}

// List lists messages, and reads further pages as the loop needs them. A message whose state changes meanwhile is not missed,
// and can come twice. The loop ends after an error.
func (c *Client) List(ctx context.Context, o ListOptions) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for q := o.query(); ; {
			var page listPage
			if err := c.do(ctx, request{method: http.MethodGet, path: "/v1/messages?" + q.Encode()}, &page); err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range page.Messages {
				if !yield(r, nil) {
					return
				}
			}
			if page.NextCursor == "" {
				return
			}
			q.Set("cursor", page.NextCursor)
		}
	}
}

// SearchOptions name a message. Give exactly one of the first five.
type SearchOptions struct {
	ID        string `json:"id,omitempty"`        // Sluice's id
	Key       string `json:"key,omitempty"`       // its idempotency key
	Ref       string `json:"ref,omitempty"`       // your own reference
	WAMID     string `json:"wamid,omitempty"`     // Meta's id; not found any more after the state read or played
	Recipient string `json:"recipient,omitempty"` // the phone number with its country code, the id of a group, or a business-scoped user id

	PhoneNumberID string `json:"phone_number_id,omitempty"` // only messages from this number; empty: from all numbers of the API key
}

// Search finds messages by what SearchOptions name: the latest 100, the latest first. The request has a body, so that no URL and no
// log has the recipient. A search by recipient needs the index of recipients, see docs/security.md; without it the error is
// a *Problem.
func (c *Client) Search(ctx context.Context, o SearchOptions) ([]Record, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write the search: %w", err)
	}
	var page listPage
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/messages/search", body: body}, &page)
	return page.Messages, err
}

// listPage is the answer of GET /v1/messages.
type listPage struct {
	Messages   []Record `json:"messages"`
	NextCursor string   `json:"next_cursor,omitempty"`
}

func (o ListOptions) query() url.Values {
	var states []string
	for _, s := range o.States {
		states = append(states, string(s))
	}
	q := url.Values{
		"ids": {strings.Join(o.IDs, ",")}, "phone_number_id": {o.PhoneNumberID}, "ref": {o.Ref},
		"state": {strings.Join(states, ",")}, "tag": {o.Tag}, "campaign": {o.Campaign}, "client": {o.Client},
	}
	for name, at := range map[string]time.Time{"since": o.Since, "until": o.Until} {
		if !at.IsZero() {
			q.Set(name, at.Format(time.RFC3339Nano))
		}
	}
	if o.PageSize != 0 {
		q.Set("limit", strconv.Itoa(o.PageSize))
	}
	for name, values := range q {
		if slices.Equal(values, []string{""}) {
			q.Del(name)
		}
	}
	return q
}

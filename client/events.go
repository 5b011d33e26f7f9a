package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// pollWait is how long a request of Events waits for an event. Proxies often end a connection after 30 s.
const pollWait = 20 * time.Second

// Event is something that happened: in Sluice, or at Meta, as Meta reported it by webhook. docs/events.md describes the
// events.
type Event struct {
	Version int       `json:"v"` // of the schema: 2
	Type    EventType `json:"type"`
	At      int64     `json:"at"` // when Sluice received it or did it, Unix milliseconds; see Time

	PhoneNumberID      string `json:"phone_number_id,omitempty"`      // Meta's id of your number; empty in updates about an account
	DisplayPhoneNumber string `json:"display_phone_number,omitempty"` // the number itself, in events from Meta that name it
	WABAID             string `json:"waba_id,omitempty"`              // WhatsApp Business Account, in events from Meta
	Field              string `json:"field,omitempty"`                // the field of Meta's webhook, in events from Meta

	State   *Change `json:"state,omitempty"`   // with EventMessage
	Final   *Final  `json:"final,omitempty"`   // with EventFinal
	Message *Info   `json:"message,omitempty"` // with EventMessage and EventFinal
	Report  *Report `json:"report,omitempty"`  // with EventStatus
	Gap     *Gap    `json:"gap,omitempty"`     // with EventGap

	Handover *Handover `json:"handover,omitempty"` // with EventHandover

	Suppression *OptOut `json:"suppression,omitempty"` // with EventSuppression

	Contacts json.RawMessage `json:"contacts,omitempty"` // Meta's contacts of the recipient, if Meta sent any with the status
	Meta     json.RawMessage `json:"meta,omitempty"`     // Meta's own object: a status, a message with its contact, or the value of an update or a handover; with EventStandby, see docs/events.md

	// Cursor is the position after this event. Events sets it in the last event of each answer of Sluice. If you do not use a
	// named cursor, store it when you have handled this event and those before it. If your filter selects events more seldom than
	// Sluice drops them, use a named cursor or [Client.ReadEvents]: their position moves without such events too.
	Cursor string `json:"-"`

	// Raw is the event as Sluice sent it, also with members that this package does not know.
	Raw json.RawMessage `json:"-"`
}

// UnmarshalJSON reads an event, and keeps it in Raw.
func (e *Event) UnmarshalJSON(text []byte) error {
	type plain Event
	e.Raw = bytes.Clone(text)
	return json.Unmarshal(text, (*plain)(e))
}

// Time returns At as a time.
func (e Event) Time() time.Time { return time.UnixMilli(e.At) }

// Change is a change of the state of a message.
type Change struct {
	To      State       `json:"to"`
	Attempt int         `json:"attempt,omitempty"`  // the number of the attempt
	WAMID   string      `json:"wamid,omitempty"`    // Meta's id of the message
	Code    int         `json:"code,omitempty"`     // Meta's error code
	Reason  string      `json:"reason,omitempty"`   // why the message is in this state
	Error   ErrorDetail `json:"error,omitzero"`     // Meta's own text
	Route   string      `json:"route,omitempty"`    // marketing_messages: after an attempt that went to Meta's Marketing Messages API
	MovedTo string      `json:"moved_to,omitempty"` // with the reason moved: the id of the message of another number that takes its place
}

// Final is what became of a message.
type Final struct {
	Result  Result `json:"result"`
	Certain bool   `json:"certain"` // false with ResultUnknown
	State   State  `json:"state"`   // the state in which the message ended
	Reason  string `json:"reason,omitempty"`
	Code    int    `json:"code,omitempty"` // Meta's error code
	Text    string `json:"text"`           // the result in words
}

// Handover is a change of the owner of a conversation.
type Handover struct {
	Owner        string `json:"owner"`                   // us, other_app or unknown
	Change       string `json:"change"`                  // control_passed or control_taken
	PreviousRole string `json:"previous_role,omitempty"` // Meta's name of the role that owned it before
	NewRole      string `json:"new_role,omitempty"`      // Meta's name of the role that owns it now
}

// OptOut is a change of a suppression list: a person opted out of marketing messages of a client, or in again. Of several events
// about a person the latest counts, by Since.
type OptOut struct {
	Change    string    `json:"change"`            // opted_out or opted_in
	Recipient string    `json:"recipient"`         // masked
	Client    string    `json:"client,omitempty"`  // whose list changed; empty: that of the numbers without a client
	Source    string    `json:"source"`            // keyword, user_preferences, meta_error or api
	APIKey    string    `json:"api_key,omitempty"` // the name of the API key of the request
	Since     time.Time `json:"since"`             // when the person said so
}

// Report has the members of Meta's status that Sluice uses.
type Report struct {
	PhoneNumberID string      `json:"phone_number_id"`
	WAMID         string      `json:"wamid"`
	Status        string      `json:"status"`                // sent, delivered, read, played, failed, or something newer
	At            time.Time   `json:"at,omitzero"`           // Meta's time; zero: Meta sent none that is plausible
	Marker        string      `json:"marker,omitempty"`      // Sluice's marker, if Sluice sent the message
	Code          int         `json:"code,omitempty"`        // Meta's error code, when failed
	Error         ErrorDetail `json:"error,omitzero"`        // Meta's own text
	Type          string      `json:"type,omitempty"`        // what the status is about, for example payment
	Participant   string      `json:"participant,omitempty"` // the group member that the status is about
}

// Gap has the stream entries that were dropped before a consumer group in Redis or a relay target got them. Events and
// ReadEvents report dropped events of their own cursor as a *Problem with CodeCursorTooOld.
type Gap struct {
	Group  string `json:"group"`            // the consumer group that missed them; empty with Target
	From   string `json:"from"`             // the id of the first entry missed; with Target: no entry with a lower id was missed
	To     string `json:"to"`               // the id of the first entry that was not missed
	Target string `json:"target,omitempty"` // the relay target that missed them
	Stream string `json:"stream,omitempty"` // with Target: the Redis stream that had them
}

// EventOptions says which events to read, and where to begin. The first of Cursor, the stored cursor of CursorName, and
// From decides.
type EventOptions struct {
	// CursorName is the name of a cursor that Sluice keeps, 1 to 32 of a-z, 0-9, '.', '_' and '-'. Each consumer needs a name of
	// its own. Empty: your program stores the cursor.
	CursorName string
	Cursor     string // begin after this position: Event.Cursor or Page.Cursor. With CursorName this acknowledges the events before it
	From       string // where to begin without a cursor: now, oldest or a time in the form of RFC 3339; empty: now

	// An event needs one of the values of each of these; none: all events.
	PhoneNumberIDs, WABAIDs, Tags []string
	Types                         []EventType

	Limit int // maximum number of events in an answer, 1 to 1000; 0: 100
}

// Page is an answer with events.
type Page struct {
	Events []Event `json:"events"` // in order for each phone number
	Cursor string  `json:"cursor"` // the position after these events: EventOptions.Cursor of the next request
	More   bool    `json:"more"`   // further events may be available now
}

// Events reads events, and waits for further ones, until ctx ends or the loop is left. It reconnects after a lost connection
// or a restart of Sluice. Each event comes at least once.
//
// With CursorName, the events of an answer are acknowledged when the loop has handled all of them and asks for the next one.
// If the loop is left earlier, the events of that answer come again the next time.
//
// An error can be followed by events: a loop that continues after a temporary error tries again. After a *Problem with
// CodeCursorTooOld it goes on with the first event that is available. After other errors the loop ends.
func (c *Client) Events(ctx context.Context, o EventOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		wait := time.Duration(0) // the first answer has the cursor, so that a lost connection loses no event
		for failures := 0; ; {
			page, err := c.ReadEvents(ctx, o, wait)
			if err != nil {
				failures++
				if !yield(Event{}, err) || ctx.Err() != nil {
					return
				}
				old, _ := errors.AsType[*Problem](err)
				switch {
				case old != nil && old.FirstCursor != "":
					o.Cursor = old.FirstCursor
				case !temporary(err) || sleep(ctx, pauseAfter(failures, err)) != nil:
					return
				}
				continue
			}
			failures = 0
			for i, e := range page.Events {
				if i == len(page.Events)-1 {
					e.Cursor = page.Cursor
				}
				if !yield(e, nil) {
					return
				}
				if ctx.Err() != nil {
					yield(Event{}, context.Cause(ctx))
					return
				}
			}
			o.Cursor, wait = page.Cursor, pollWait
		}
	}
}

// ReadEvents reads one page of events. If there are none, it waits for one, up to wait (30 s at most); 0: it does not wait. If
// events after the cursor were dropped, the error is a *Problem with CodeCursorTooOld and FirstCursor.
func (c *Client) ReadEvents(ctx context.Context, o EventOptions, wait time.Duration) (Page, error) {
	var page Page
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/events?" + o.query(wait).Encode(), wait: wait}, &page)
	return page, err
}

func (o EventOptions) query(wait time.Duration) url.Values {
	q := url.Values{"phone_number_id": o.PhoneNumberIDs, "waba_id": o.WABAIDs, "tag": o.Tags}
	for _, t := range o.Types {
		q.Add("type", string(t))
	}
	for name, value := range map[string]string{"cursor_name": o.CursorName, "cursor": o.Cursor, "from": o.From} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if o.Limit != 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if wait != 0 {
		q.Set("wait", wait.String())
	}
	return q
}

// NamedCursor is a cursor that Sluice keeps for a consumer of events.
type NamedCursor struct {
	Name      string    `json:"name"`
	Cursor    string    `json:"cursor"`      // the last one that was acknowledged
	At        time.Time `json:"at"`          // about everything before this time is acknowledged
	Lag       int       `json:"lag_seconds"` // how long ago that is, in seconds
	UpdatedAt time.Time `json:"updated_at"`  // when it was stored
	APIKey    string    `json:"api_key"`     // the name of the API key that created it
}

// Cursors lists the named cursors that the API key may use.
func (c *Client) Cursors(ctx context.Context) ([]NamedCursor, error) {
	var answer struct {
		Cursors []NamedCursor `json:"cursors"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/events/cursors"}, &answer)
	return answer.Cursors, err
}

// SetCursor stores a named cursor: it acknowledges the events before it, or sets the cursor back, to read events again.
func (c *Client) SetCursor(ctx context.Context, name, cursor string) (NamedCursor, error) {
	body, err := json.Marshal(map[string]string{"cursor": cursor})
	if err != nil {
		return NamedCursor{}, err
	}
	var stored NamedCursor
	err = c.do(ctx, request{method: http.MethodPut, path: cursorPath(name), body: body}, &stored)
	return stored, err
}

// DeleteCursor deletes a named cursor.
func (c *Client) DeleteCursor(ctx context.Context, name string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: cursorPath(name)}, nil)
}

func cursorPath(name string) string { return "/v1/events/cursors/" + url.PathEscape(name) }

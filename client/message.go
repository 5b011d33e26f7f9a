package client

import (
	"encoding/json"
	"time"
)

// Message is a message to send. From and Content are required.
type Message struct {
	From string `json:"from"` // Meta's id of your phone number, not the number itself

	// Content is Meta's message object, as Meta documents it: a value that encoding/json writes as the object, or its JSON as
	// []byte or json.RawMessage. Text and Template make the most frequent ones.
	Content any `json:"message"`

	// Class decides the priority, the deadline and what happens when the result of an attempt is unknown. Empty: for a template
	// usually its category at Meta, service for other messages. docs/message-life.md describes the default class.
	Class Class `json:"class,omitempty"`

	// Key is the idempotency key, 1 to 255 printable ASCII characters. The same key with the same content is the same
	// message, and is sent once. Empty: the client makes one, so that it can repeat the request.
	Key string `json:"key,omitempty"`

	Ref       string    `json:"ref,omitempty"`       // your own reference, up to 255 characters; records and events have it
	Tags      []string  `json:"tags,omitempty"`      // up to 10 labels of 1 to 64 characters
	Campaign  string    `json:"campaign,omitempty"`  // the campaign, 1 to 64 characters; it becomes one of the tags
	SendAt    time.Time `json:"send_at,omitzero"`    // not before this time, up to 90 days ahead; zero: at once
	ExpiresAt time.Time `json:"expires_at,omitzero"` // no attempt after this time, up to 90 days ahead; zero: the deadline of the class
	After     *After    `json:"after,omitempty"`     // send it after another message; nil: it waits for none

	// FallbackTemplate is a template: a value that encoding/json writes in the form of the member template of Meta's message object.
	// Sluice sends it in place of another template that Meta does not send, or of a free-form message to a person whose customer service
	// window is closed. nil: there is none.
	FallbackTemplate any `json:"fallback_template,omitempty"`
}

// After makes a message wait until another message of the same number has reached a state. Send that message first.
type After struct {
	ID     string `json:"id,omitempty"`     // Sluice's id of the other message. Give the id or the key
	Key    string `json:"key,omitempty"`    // the idempotency key of the other message
	State  State  `json:"state"`            // submitted, sent, delivered or read: this one, or a later one
	Within string `json:"within,omitempty"` // how long to wait, for example "2h", up to 90 days; empty: 24h. Then the message expires
	Not    bool   `json:"not,omitempty"`    // the opposite: send it if the other message has not reached the state within this time
}

// MarshalJSON returns the message as Sluice's API expects it.
func (m Message) MarshalJSON() ([]byte, error) {
	type plain Message
	if text, ok := m.Content.([]byte); ok { // encoding/json would write it in base64
		m.Content = json.RawMessage(text)
	}
	return json.Marshal(plain(m))
}

// Text returns the content of a text message. to is the recipient's phone number with its plus.
func Text(to, body string) any {
	return map[string]any{"to": to, "type": "text", "text": map[string]any{"body": body}}
}

// Template returns the content of a message of a template that Meta has approved. to is the recipient's phone number with
// its plus. language is a code such as "en_US". parameters are the values of the template's body, in their order.
func Template(to, name, language string, parameters ...string) any {
	template := map[string]any{"name": name, "language": map[string]any{"code": language}}
	if len(parameters) > 0 {
		values := make([]any, len(parameters))
		for i, p := range parameters {
			values[i] = map[string]any{"type": "text", "text": p}
		}
		template["components"] = []any{map[string]any{"type": "body", "parameters": values}}
	}
	return map[string]any{"to": to, "type": "template", "template": template}
}

// Accepted is the answer to a message that Sluice accepted. The message is stored durably and will be sent.
type Accepted struct {
	ID        string    `json:"id"`         // Sluice's id of the message. It never changes
	State     State     `json:"state"`      // the state at the time of the answer
	Class     Class     `json:"class"`      // Class of the Message, or its default class
	ExpiresAt time.Time `json:"expires_at"` // no attempt starts after this time

	// Duplicate means that an earlier request with the same key was accepted, perhaps an earlier try of the same call. No new
	// message is sent.
	Duplicate bool `json:"duplicate"`

	WAMID    string    `json:"wamid,omitempty"`    // Meta's id. Only of SendAndWait, if Meta accepted the message in time
	Code     int       `json:"code,omitempty"`     // Meta's error code. Only of SendAndWait
	Reason   string    `json:"reason,omitempty"`   // why the message is in this state. Only of SendAndWait
	Warnings []Mistake `json:"warnings,omitempty"` // possible mistakes
}

// Checked is what Sluice would do with a message. ID and Info.CallbackData are those that it would have.
type Checked struct {
	Info
	Key         string          `json:"key,omitempty"`            // the idempotency key; empty: the message gets another ID each time
	Duplicate   bool            `json:"duplicate"`                // a message with this key was accepted before
	SendAt      time.Time       `json:"send_at,omitzero"`         // no attempt before this time
	ExpiresAt   time.Time       `json:"expires_at"`               // no attempt would start after this time
	Cost        *Cost           `json:"estimated_cost,omitempty"` // what Meta would charge; nil: it is not known
	SentAbout   time.Time       `json:"sent_about,omitzero"`      // when it would be sent, estimated; zero: it is not known. With CheckLines behind the lines before it
	OverBudgets []OverBudget    `json:"over_budgets,omitempty"`   // the budgets that have too little left for it, with CheckLines also for the lines before it: it would wait
	After       *WaitsFor       `json:"after,omitempty"`          // the message would wait for this one
	Payload     json.RawMessage `json:"payload"`                  // Meta's message object as Sluice would send it
	Warnings    []Mistake       `json:"warnings,omitempty"`       // possible mistakes
}

// OverBudget is a budget that has too little left. Amounts are in the currency of the prices of the installation.
type OverBudget struct {
	Budget   string    `json:"budget"`             // per_day or per_month, of the client; campaign, of the campaign
	Limit    string    `json:"limit"`              // the budget
	Spent    string    `json:"spent"`              // what counts as spent
	Until    time.Time `json:"until,omitzero"`     // when it begins anew; zero: it is that of a campaign
	Messages int       `json:"messages,omitempty"` // of a campaign: about how many of its pending messages do not fit into the budget
}

// LineResult is the result of one message of a batch.
type LineResult struct {
	Line     int      `json:"line"`   // the number of the message, from 1
	Status   int      `json:"status"` // the HTTP status that a request of its own would have
	Accepted          // if Problem is nil
	Problem  *Problem `json:"problem,omitempty"` // why the message was not accepted
}

// CheckedLine is what Sluice would do with one message of a batch.
type CheckedLine struct {
	Line    int      `json:"line"`   // the number of the message, from 1
	Status  int      `json:"status"` // 200, or the HTTP status with which the message would be refused
	Checked          // if Problem is nil
	Problem *Problem `json:"problem,omitempty"` // why the message would not be accepted
}

// Cost is the estimated price of a message, by the prices of the installation.
type Cost struct {
	Amount   string `json:"amount"`          // like "0.0625"
	Currency string `json:"currency"`        // ISO 4217
	Guess    bool   `json:"guess,omitempty"` // the prices do not name the country of the recipient: the highest price of the category
}

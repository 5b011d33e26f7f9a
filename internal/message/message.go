// Package message has the types that all other packages share: a message, its class, its states, the outcome
// of an attempt to send it, and what Meta reports about it. It uses the standard library only.
package message

import (
	"encoding/json"
	"time"
)

// Message is one accepted message.
type Message struct {
	ID        string          // <phone number id>-<26 base32 characters>, see NewID
	From      string          // Meta's phone number id of the sender
	Class     Class           // decides priority, deadline and what happens when the result is unknown
	Key       string          // the caller's idempotency key; empty: none
	Ref       string          // the caller's own reference, for example an order id; empty: none
	Tags      []string        // the caller's labels; Campaign is one of them
	Client    string          // the client that it belongs to; empty: none
	Campaign  string          // the campaign that it belongs to; empty: none
	Account   string          // Meta's id of the messaging account; empty: Meta chooses
	Callback  string          // the biz_opaque_callback_data of the caller
	SendAt    time.Time       // not before; zero: at once
	After     After           // wait for another message of the number first; zero: do not wait. Without SendAt
	AfterBy   time.Time       // with After: how long to wait
	Fallback  Fallback        // takes the place of the content when Meta does not send that; zero: there is none
	ExpiresAt time.Time       // no attempt starts after this
	Payload   json.RawMessage // Meta's message object in the form in which it is stored, see content.AppendPayload
	Content   Content         // what content.Check read from the object
	Trace     string          // the W3C traceparent of the span that accepted it; empty: it is not traced
	Price     int             // what it costs at Meta by an estimate, in millionths of the currency of the prices; 0: unknown
	Hash      string          // of the whole request, to distinguish a repeated request from another one with the same key
	Earlier   []Earlier       // the same request at other numbers, whose messages were moved to From; nil for almost all
}

// Earlier is what the id and the hash of a request would be at another number.
type Earlier struct{ ID, Hash string }

// Fallback is a template message that may take the place of another one.
type Fallback struct {
	Template string          // as name/language
	Payload  json.RawMessage // as Message.Payload

	// Until it is stored:
	Content  *Content  // of Payload
	Problems []Problem // of a free-form message: why Meta sends no messages of the template now; empty: it sends them
}

// Flow returns the flow of the message.
func (m Message) Flow() Flow { return Flow{m.Client, m.Campaign} }

// Context is what events and the timeline say about a message besides its state. It has no text of the
// message, and the recipient is masked.
type Context struct {
	ID        string   `json:"id" doc:"Sluice's id of the message."`
	From      string   `json:"phone_number_id" doc:"Meta's id of the sending number."`
	Class     Class    `json:"class" doc:"authentication, service, utility or marketing."`
	Type      string   `json:"type" doc:"Meta's type of the message."`
	To        string   `json:"to,omitempty" doc:"The recipient, masked."` // see Mask
	Template  string   `json:"template,omitempty" doc:"The template, as name/language."`
	Fallback  string   `json:"fallback_template,omitempty" doc:"The fallback template of your request, as name/language, as long as Sluice may still use it."`
	Instead   string   `json:"fallback_for,omitempty" doc:"The template of your request, as name/language, if the message has the fallback template in its place; of a free-form message its type, for example text. template is then the fallback template."`
	MovedFrom string   `json:"moved_from,omitempty" doc:"The id of the message of another number whose place this message has taken, because that number was removed."`
	Ref       string   `json:"ref,omitempty" doc:"Your own reference."`
	Tags      []string `json:"tags,omitempty" doc:"Your own labels."`
	Client    string   `json:"client,omitempty" doc:"The client that the message belongs to."`
	Campaign  string   `json:"campaign,omitempty" doc:"The campaign of your request. It is one of the tags too."`
	Account   string   `json:"messaging_account_id,omitempty" doc:"Meta's id of the messaging account, if the request or a setting names one."`
	Callback  string   `json:"callback_data,omitempty" doc:"The biz_opaque_callback_data of your request."`
	Trace     string   `json:"traceparent,omitempty" doc:"The W3C trace context in which Sluice accepted the message, if its trace is sampled."`
}

// Context returns the part of m that its events contain.
func (m Message) Context() Context {
	return Context{
		ID: m.ID, From: m.From, Class: m.Class, Type: m.Content.Type,
		To: Mask(m.Content.Recipient()), Template: m.Content.TemplateID(), Fallback: m.Fallback.Template, Instead: m.Content.Instead, Ref: m.Ref, Tags: m.Tags, Client: m.Client, Campaign: m.Campaign, Account: m.Account, Callback: m.Callback, Trace: m.Trace,
	}
}

// Content is what Sluice needs to know of Meta's message object. The object itself is in Message.Payload.
type Content struct {
	Type     string // "text", "template", ...
	To       string // E.164 with its plus, or a group id; empty when To is a business-scoped user id
	UserID   string // Meta's "recipient": a business-scoped user id
	Group    bool   // recipient_type is "group"
	Template string // the template's name, when Type is "template"
	Language string // the template's language code, when Type is "template"
	Callback string // biz_opaque_callback_data as the caller gave it
	Unknown  string // the member with a type or an interactive kind that this version does not know; empty: none
	Category string // of a Direct Send message; empty: it is not one
	Account  string // the messaging account that the object names; empty: none

	Marketing bool   // for Meta's Marketing Messages API
	Extra     string // the path of a member that this version does not know; empty: none
	Instead   string // if this is the fallback template of the request: the template of the request as name/language, or the type of its free-form message; empty: it is not
	Unchecked bool   // the template was not compared with Meta's description, which is too old
}

// Recipient returns To, or UserID when To is empty.
func (c Content) Recipient() string {
	if c.To != "" {
		return c.To
	}
	return c.UserID
}

// Service reports whether this is a service message: free-form, so neither a template nor a Direct Send message of another category.
func (c Content) Service() bool {
	return c.Template == "" && !c.Marketing && (c.Category == "" || c.Category == string(Service))
}

// TemplateID returns "<name>/<language>", which identifies a template at Meta. It is empty for other messages.
func (c Content) TemplateID() string {
	if c.Template == "" {
		return ""
	}
	return TemplateID(c.Template, c.Language)
}

// Mask keeps the ends of a phone number or user id: enough to distinguish two of them in a log, too little
// to call one. It masks a value of less than eight characters completely.
func Mask(recipient string) string {
	if recipient == "" {
		return ""
	}
	if len(recipient) < 8 {
		return "***"
	}
	return recipient[:3] + "***" + recipient[len(recipient)-2:]
}

package message

import (
	"slices"
	"strings"
)

// Template is a message template of a WhatsApp Business Account in one language: what Sluice keeps of Meta's description.
// Its JSON is the form in which it is stored.
type Template struct {
	ID       string         `json:"i,omitempty"`
	Name     string         `json:"n"`
	Language string         `json:"l"`           // as Meta's messages have it: "en_US"
	Status   string         `json:"s"`           // Meta's: "APPROVED", "PAUSED" and others
	Category string         `json:"c,omitempty"` // Meta's: "MARKETING", "UTILITY", "AUTHENTICATION"
	Quality  string         `json:"q,omitempty"` // Meta's: "GREEN", "YELLOW", "RED", "UNKNOWN"
	Named    bool           `json:"m,omitempty"` // its parameters have names; false: positions
	Parts    *TemplateParts `json:"p,omitempty"` // nil: unknown, its messages may have any parameters
	Changed  int64          `json:"t,omitempty"` // when a webhook last changed it, in Unix milliseconds; 0: never
	Active   int64          `json:"a,omitempty"` // when it was first read from Meta, last edited or last restored, in Unix milliseconds
}

// TemplateParts are the components of a template, or of one of its cards, that its messages have parameters for.
type TemplateParts struct {
	Header      string           `json:"h,omitempty"` // Meta's format: "TEXT", "IMAGE" and others; empty: there is no header
	HeaderNames []string         `json:"hn,omitempty"`
	Body        []string         `json:"b,omitempty"` // the names of the variables: "1", "first_name"
	Buttons     []TemplateButton `json:"u,omitempty"`
	Offer       bool             `json:"o,omitempty"` // it is a limited-time offer
	Cards       []TemplateParts  `json:"k,omitempty"`
}

// TemplateButton is a button of a template.
type TemplateButton struct {
	Type     string `json:"t"`           // Meta's: "URL", "QUICK_REPLY" and others
	Variable bool   `json:"v,omitempty"` // its URL ends with a variable
}

// NeedsParameter reports whether a message must have a parameter for the button.
func (b TemplateButton) NeedsParameter() bool {
	return b.Type == "COPY_CODE" || b.Type == "OTP" || b.Type == "MPM" || b.Type == "ORDER_DETAILS" || b.Type == "URL" && b.Variable
}

// TemplateID returns "<name>/<language>". Meta's webhooks write some languages with a hyphen, and messages with an underscore.
func TemplateID(name, language string) string {
	return name + "/" + strings.ReplaceAll(language, "-", "_")
}

// TemplateID returns what identifies the template in its account, see TemplateID.
func (t Template) TemplateID() string { return TemplateID(t.Name, t.Language) }

// Class returns the class of the template's category; empty: it has none.
func (t Template) Class() Class {
	if c := Class(strings.ToLower(t.Category)); c.Valid() {
		return c
	}
	return ""
}

// Unsendable are Meta's statuses of templates whose messages Meta refuses.
func Unsendable() []string { return slices.Clone(unsendable) }

var unsendable = []string{
	"PAUSED", "DISABLED", "REJECTED", "ARCHIVED", "DELETED", "PENDING_DELETION", "LIMIT_EXCEEDED", "PENDING", "IN_APPEAL",
}

// Sendable reports whether Meta takes messages of the template. Of a status that this version does not know it is true: Meta
// decides.
func (t Template) Sendable() bool { return !slices.Contains(unsendable, t.Status) }

// TemplateChange is what a webhook says of a template. Empty members did not change.
type TemplateChange struct{ Name, Language, Status, Category, Quality string }

// TemplatePage is a part of an account's list of templates at Meta.
type TemplatePage struct {
	Templates []Template
	Next      string // the cursor of the next page; empty: it is the last one
	ETag      string // names this content of the page; empty: Meta gave none
	Unchanged bool   // the page is the one with the ETag of the request; then Templates and Next are empty
	Bytes     int    // the size of the answer
}

// TemplateSync says how the synchronisation of an account's templates with Meta stands. Its JSON is the form in which it is
// stored.
type TemplateSync struct {
	Started int64         `json:"started"`         // the begin of the last attempt, in Unix milliseconds
	Synced  int64         `json:"synced"`          // the begin of the last one that succeeded; 0: none did
	Fresh   int64         `json:"fresh"`           // until when the stored templates count as complete
	Fails   int           `json:"fails,omitempty"` // attempts that failed since
	Error   string        `json:"error,omitempty"` // of the last attempt
	Pages   []TemplateTag `json:"pages,omitempty"` // of the last one that succeeded
}

// TemplateAccount is an account with its templates.
type TemplateAccount struct {
	ID        string
	Numbers   []string // its known phone number ids
	Sync      TemplateSync
	Templates []Template // by name and language
}

// TemplateTag names the content of a page of a list: its cursor, and the ETag of Meta's answer.
type TemplateTag struct {
	After string `json:"after,omitempty"`
	ETag  string `json:"etag,omitempty"`
}

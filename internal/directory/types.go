// Package directory has the numbers, apps, API keys and clients of an installation. They come from the configuration file, which
// is the bootstrap, and from Redis, where operators change them while all programs run. A stored entry wins over an entry of a
// file with the same id.
//
// A Store changes what is stored. A Directory is what a process knows: it reads a change within a second.
package directory

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice/internal/config"
)

// Kind is a kind of entries.
type Kind string

// The kinds of entries.
const (
	KindNumber Kind = "number"
	KindApp    Kind = "app"
	KindKey    Kind = "key"
	KindClient Kind = "client"

	kindMove Kind = "move" // only Redis has these
)

// Entry is a Number, an App, an APIKey or a Client. Its JSON has the form of an entry in the configuration file.
type Entry interface {
	Kind() Kind
	// ID returns what distinguishes the entry from others of its kind.
	ID() string
	state() State
}

// The names of secrets: of a number, and of an app.
const (
	SecretAccessToken = "access_token"
	SecretReplyHook   = "auto_reply_hook_secret"
	SecretApp         = "secret"
	SecretPreviousApp = "previous_secret"
	SecretVerifyToken = "verify_token"
)

// Secrets are secrets by their names above. In a change, a secret that is absent stays, and an empty one is removed.
type Secrets map[string]config.Secret

// SecretInfo is what can be read of a stored secret. The secret itself can never be read.
type SecretInfo struct {
	Fingerprint string    `json:"fingerprint" doc:"The first 8 hex digits of the SHA-256 of the secret."`
	SetAt       time.Time `json:"set_at" doc:"When the secret was set."`
}

// Sources of entries.
const (
	SourceFile   = "file"   // the configuration file of this process, or its environment
	SourceStored = "stored" // Redis
)

// State is what Sluice knows of an entry. Only Store.List sets it; a change ignores it.
type State struct {
	Source    string                `json:"source,omitempty" doc:"file or stored. A stored entry wins over an entry of the configuration file with the same id."`
	Revision  int64                 `json:"revision,omitempty" doc:"Revision of a stored entry. Send it with a change, so that the change of another operator is not lost."`
	UpdatedAt time.Time             `json:"updated_at,omitzero" doc:"When the stored entry was changed last."`
	LastUsed  time.Time             `json:"last_used,omitzero" doc:"Of an API key: when a request with it, or with its previous key, was last allowed, to within a minute. Absent: not since this version of Sluice runs."`
	Secrets   map[string]SecretInfo `json:"secrets,omitempty" doc:"The stored secrets, by name. Sluice never returns a secret itself."`
}

func (s State) state() State { return s }

// Number is a number that Sluice sends from.
type Number struct {
	PhoneNumberID   string              `json:"phone_number_id" doc:"Meta's id of the phone number, digits only."`
	Display         string              `json:"display_number,omitempty" doc:"The phone number itself, like +15551234567."`
	TokenFile       string              `json:"token_file,omitempty" doc:"File with the access token, an absolute path that each worker can read. A stored access token wins."`
	RateLimit       int                 `json:"rate_limit,omitempty" doc:"Messages per second, 1 to 10000. Without it Sluice uses the throughput that Meta reports."`
	UnknownTypes    string              `json:"unknown_types,omitempty" doc:"pass or refuse: what happens to a message of a type that this version of Sluice does not know."`
	OtherApp        string              `json:"other_app_conversations,omitempty" doc:"refuse, wait or send: what happens to a service message in a conversation that another app owns."`
	Window          string              `json:"customer_service_window,omitempty" doc:"off or refuse: what happens to a free-form message to a person whose customer service window is closed."`
	Account         string              `json:"messaging_account_id,omitempty" doc:"Meta's id of the messaging account of messages that name none."`
	Marketing       string              `json:"marketing_messages,omitempty" doc:"off, fallback or strict: whether messages of marketing templates go to Meta's Marketing Messages API, and with which product_policy."`
	Sharing         *bool               `json:"message_activity_sharing,omitempty" doc:"Meta's message_activity_sharing of these messages. Absent: Meta's default."`
	GraphVersion    string              `json:"graph_version,omitempty" doc:"Version of the Graph API with which the number sends, like v25.0. Absent: the one of the configuration."`
	GraphCanary     *GraphCanary        `json:"graph_version_canary,omitempty" doc:"Another version of the Graph API for a share of the messages."`
	Classes         map[string]Class    `json:"classes,omitempty" doc:"Settings of classes that are different for this number."`
	TemplateClasses []TemplateClass     `json:"template_classes,omitempty" doc:"Default class of template messages, by the name of the template. The first match counts."`
	Client          string              `json:"client,omitempty" doc:"Name of the client that the number belongs to."`
	SharedWith      []string            `json:"shared_with,omitempty" doc:"Names of other clients that may send from the number."`
	Suppress        []string            `json:"suppress,omitempty" doc:"Classes that people who opted out do not get from the number: marketing, or marketing and utility. Absent: those of the client."`
	Quiet           []config.QuietHours `json:"quiet_hours,omitempty" doc:"When messages of the number are not sent, by the clock of the recipient. Those of the client apply too."`
	AutoReply       *config.AutoReply   `json:"auto_reply,omitempty" doc:"What Sluice answers to people who write to the number."`
	Leaving         string              `json:"leaving,omitempty" doc:"drain, cancel or move: the number is being removed and accepts no new messages. Only a removal sets it."`
	LeavingTo       string              `json:"leaving_to,omitempty" doc:"With move: phone number id of the number that takes the messages."`
	Left            int                 `json:"messages_left,omitempty" doc:"While the number is being removed: about how many of its messages still need it."`
	State
}

// GraphCanary is another version of the Graph API for a share of the messages of a number.
type GraphCanary struct {
	Version string `json:"version" doc:"The version, like v27.0."`
	Share   int    `json:"share" doc:"Percent of the messages, 1 to 100. The id of a message decides, so all its attempts have the same version."`
}

// Class has settings of a class for a number. Times are like 90s, 15m or 24h; an absent one is that of all numbers.
type Class struct {
	Deadline           string `json:"deadline,omitempty" doc:"From acceptance to the last moment an attempt may start."`
	InDoubtWindow      string `json:"in_doubt_window,omitempty" doc:"How long Sluice waits for a status when a request got no answer."`
	InDoubtPolicy      string `json:"in_doubt_policy,omitempty" doc:"resend, park or close: what happens at the end of the in-doubt window."`
	ServerErrorWindow  string `json:"server_error_window,omitempty" doc:"How long Sluice waits for a status after a server error."`
	WebhookRetryWindow string `json:"webhook_retry_window,omitempty" doc:"How long Sluice waits for Meta to repeat webhooks that Sluice refused or missed."`
	PortfolioLimit     string `json:"portfolio_limit,omitempty" doc:"refuse or wait: what happens to a new message that the messaging limit of its portfolio would keep beyond its deadline."`
}

// TemplateClass is the class of the templates whose names match.
type TemplateClass struct {
	Name  string `json:"name" doc:"Name of the template. * matches any characters."`
	Class string `json:"class" doc:"authentication, service, utility or marketing."`
}

// App is an app at Meta. Its webhooks come to /webhooks/whatsapp/<name>. Its secrets are SecretApp, SecretPreviousApp and
// SecretVerifyToken.
type App struct {
	Name            string    `json:"name" doc:"1 to 32 of a-z, 0-9 and -. The last part of the webhook path."`
	PreviousExpires time.Time `json:"previous_secret_expires,omitzero" doc:"When Sluice stops accepting the previous app secret. Absent: never."`
	State
}

// APIKey is what a caller with an API key may do. Only the hash of the key is stored.
type APIKey struct {
	Name    string    `json:"name" doc:"1 to 32 of a-z, 0-9 and -."`
	SHA256  string    `json:"sha256,omitempty" doc:"SHA-256 of the key in hex."`
	Numbers []string  `json:"phone_number_ids" doc:"Phone number ids that the key may use; *: all."`
	Scopes  []string  `json:"scopes" doc:"What the key may do."`
	Revoked bool      `json:"revoked,omitempty" doc:"Requests with the key are refused."`
	Expires time.Time `json:"expires,omitzero" doc:"From this time on requests with the key are refused."`
	Client  string    `json:"client,omitempty" doc:"Name of the client that the key belongs to. The key may use only numbers of this client, and numbers that are shared with it; * means all of them."`
	Account string    `json:"messaging_account_id,omitempty" doc:"Meta's id of the messaging account of messages that are sent with this key and name none. Absent: that of the number."`

	PreviousSHA256  string    `json:"previous_sha256,omitempty" doc:"SHA-256 of the previous key, which is accepted too while callers change it."`
	PreviousExpires time.Time `json:"previous_expires,omitzero" doc:"From this time on the previous key is refused."`
	State
}

// Client is a tenant of the installation: numbers and API keys can belong to it.
type Client struct {
	Name string `json:"name" doc:"1 to 32 of a-z, 0-9 and -."`
	Note string `json:"note,omitempty" doc:"A note for operators, up to 500 characters."`

	Weight    int                   `json:"weight,omitempty" doc:"1 to 1000: clients share the slots of a number by their weights. Default: 1."`
	Campaigns map[string]int        `json:"campaign_weights,omitempty" doc:"Weights of campaigns of the client among each other, 1 to 1000, by their names. Others have 1."`
	Suppress  []string              `json:"suppress,omitempty" doc:"Classes that people who opted out do not get from the client: marketing, or marketing and utility. Absent: marketing."`
	Quiet     []config.QuietHours   `json:"quiet_hours,omitempty" doc:"When messages of the client are not sent, by the clock of the recipient."`
	Caps      []config.FrequencyCap `json:"frequency_caps,omitempty" doc:"How many messages a person gets from the client."`
	Quotas    *config.Quotas        `json:"quotas,omitempty" doc:"How many messages of the client are accepted."`
	Budgets   *config.Budgets       `json:"budgets,omitempty" doc:"The most that the messages of the client may cost at Meta, in the currency of the prices."`
	State
}

// Kind returns KindNumber.
func (Number) Kind() Kind { return KindNumber }

// ID returns the phone number id.
func (n Number) ID() string { return n.PhoneNumberID }

// Kind returns KindApp.
func (App) Kind() Kind { return KindApp }

// ID returns the name.
func (a App) ID() string { return a.Name }

// Kind returns KindKey.
func (APIKey) Kind() Kind { return KindKey }

// ID returns the name.
func (k APIKey) ID() string { return k.Name }

// Kind returns KindClient.
func (Client) Kind() Kind { return KindClient }

// ID returns the name.
func (c Client) ID() string { return c.Name }

// Entries are entries of all kinds, each list by id.
type Entries struct {
	Revision int64    `json:"revision" doc:"Changes with each change of a stored entry. 0: nothing is stored."`
	Numbers  []Number `json:"numbers,omitempty"`
	Apps     []App    `json:"apps,omitempty"`
	APIKeys  []APIKey `json:"api_keys,omitempty"`
	Clients  []Client `json:"clients,omitempty"`
}

// AnyRevision in a Change stands for the revision that the entry has when the change begins.
const AnyRevision = -1

// Change is who changes an entry, and why. It becomes an entry of the audit log.
type Change struct {
	Revision int64  // of the stored entry that the change is based on; 0: no entry is stored with this id; AnyRevision: any
	Actor    string // the name that the operator gave
	Key      string // the name of the API key of the request; empty: none
	Reason   string
}

// What becomes of the messages of a number that wait when the number is removed.
const (
	BacklogRefuse = "refuse" // the number is removed only if none waits
	BacklogDrain  = "drain"  // they are sent, then the number is removed
	BacklogCancel = "cancel" // they are cancelled, then the number is removed
	BacklogMove   = "move"   // another number of the account sends them, then the number is removed
)

// Backlogs returns all choices of what becomes of them.
func Backlogs() []string { return []string{BacklogRefuse, BacklogDrain, BacklogMove, BacklogCancel} }

// ErrNotFound means that no entry has the id.
var ErrNotFound = errors.New("is neither in the configuration file nor stored")

// ConflictError means that another operator changed an entry. Read the entry again, and repeat the change.
type ConflictError struct {
	Kind    Kind
	ID      string
	Current int64 // the revision that is stored; 0: none
}

// Error returns what failed, why, and what to do.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("the %s %s was changed by another operator (its revision is %d). Read it again and repeat the change", e.Kind, e.ID, e.Current)
}

// InvalidError means that entries are invalid. Nothing was stored.
type InvalidError struct{ Mistakes []config.Mistake }

// Error returns all mistakes, each with its place.
func (e *InvalidError) Error() string {
	var all []string
	for _, m := range e.Mistakes {
		all = append(all, m.Error())
	}
	return strings.Join(all, "\n")
}

// BacklogError means that a number was not removed, because messages wait for it.
type BacklogError struct {
	Number  string
	Waiting int
}

// Error returns what failed, why, and what to do.
func (e *BacklogError) Error() string {
	return fmt.Sprintf("phone number id %s was not removed: %d of its messages are not final. Choose what becomes of them: %s, %s or %s", e.Number, e.Waiting, BacklogDrain, BacklogMove, BacklogCancel)
}

// Imported is what an import did, each entry as "kind id".
type Imported struct {
	Added     []string `json:"added,omitempty"`
	Changed   []string `json:"changed,omitempty"`
	Unchanged []string `json:"unchanged,omitempty"`
}

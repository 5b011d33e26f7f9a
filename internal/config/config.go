// Package config reads the settings of a program at its start: from a file, the environment and
// flags. Flags win over the environment, the environment over the file, the file over the
// defaults. Everything is read and checked once. All mistakes are reported together, each
// with its place and its fix. docs/configuration.md describes every setting.
package config

import (
	"cmp"
	"log/slog"
	"time"

	"sluice/internal/message"
)

// Common has the settings of every program.
type Common struct {
	Environment string // the name of this installation, in the markers: [a-z0-9-]{1,16}
	Redis       Redis
	Shards      int // parts of the data; fixed at the first start
	Graph       Graph
	Numbers     []Number          // the numbers of the file, in its order; more can be stored, see package directory
	Clients     []Client          // the clients of the file, in its order
	Classes     map[string]Class  // by class name; a class that the file does not mention is absent
	StopWords   Words             // changes of the words with which people stop marketing messages
	StartWords  Words             // and of those with which they resume them
	PricesFile  string            // what Meta charges; empty: there are no prices
	TimeZones   map[string]string // of recipients, by the begin of their phone numbers, with the plus, and by country, for quiet hours
	LogLevel    slog.Level
	Ops         string // host:port of /metrics, /livez, /readyz and pprof
	Tracing     Tracing
}

// Words are words that are added to a list, and removed from it.
type Words struct{ Add, Remove []string }

// Redis has the address of Redis and the durability that it must have.
type Redis struct {
	URL        Secret // for store.Open, with the password in it
	Durability string // what an answered write must survive: one of the four below
	// FailoverMayLose accepts Fsync on Sentinel or a Cluster.
	FailoverMayLose bool
	PasswordFile    string // file with the password; empty: it is in the URL, or there is none
}

// The durabilities: what an answered write survives.
const (
	Fsync    = "fsync"    // a crash: the write is on disk
	Replica  = "replica"  // a failover too: a replica has the write
	Asserted = "asserted" // what the operator guarantees, for a Redis that forbids CONFIG
	Relaxed  = "relaxed"  // nothing: a crash may lose the last moments
)

// Password reads the password from PasswordFile at each call.
func (r Redis) Password() (string, error) { return readSecret(r.PasswordFile) }

// Graph has the address of Meta's Graph API.
type Graph struct {
	BaseURL string // without a trailing slash
	Version string // "v25.0"
}

// Number is a number that Sluice sends from.
type Number struct {
	ID      string           // Meta's phone number id
	Display string           // the phone number itself, in E.164 with its plus; empty: unknown
	Rate    int              // messages per second
	Learn   bool             // Rate is not configured: it applies until Meta reports the throughput of the number
	Unknown string           // what happens with message types that this version does not support: "pass", also when empty, or "refuse"
	Other   string           // what happens with service messages in conversations that another app owns: "refuse", also when empty, "wait" or "send"
	Window  string           // what happens with free-form messages outside the customer service window: WindowOff, also when empty, or WindowRefuse
	Classes map[string]Class // settings that are different for this number
	Client  string           // the name of the client that the number belongs to; empty: none
	Shared  []string         // the names of other clients that may send from the number

	Suppress []string     // the classes that people who opted out do not get; nil: those of the client
	Quiet    []QuietHours // in which messages of the number are not sent, besides those of the client

	AutoReply *AutoReply // nil: the number has no automatic replies

	TokenFile string // file with the access token; empty: none

	Marketing string        // which product_policy messages of marketing templates have: MarketingOff, also when empty, MarketingFallback or MarketingStrict
	Sharing   *bool         // message_activity_sharing of these messages; nil: Meta's default
	Versions  GraphVersions // of the Graph API

	TemplateClasses []TemplateClass // for messages whose caller names no class; the first match counts

	MessagingAccount string // Meta's id of the messaging account for messages whose caller names none; empty: Meta chooses
}

// Values of Number.Window.
const (
	WindowOff    = "off"    // Meta decides, and nothing is stored
	WindowRefuse = "refuse" // the fallback template takes their place, or they are refused
)

// Values of Number.Marketing.
const (
	MarketingOff      = "off"
	MarketingFallback = "fallback"
	MarketingStrict   = "strict"
)

// Client is a tenant of the installation: numbers and API keys belong to it.
type Client struct {
	Name string
	Note string // for operators

	Weight    int            // of its messages among those of other clients, on one number and in one class
	Campaigns map[string]int // the weights of its campaigns among each other; 1 for others
	Quotas    Quotas
	Suppress  []string       // the classes that people who opted out do not get; nil: marketing
	Quiet     []QuietHours   // in which messages of the client are not sent
	Caps      []FrequencyCap // of the messages that a person gets from the client
	Budgets   Budgets
}

// Budgets are the most that the messages of a client may cost at Meta, by UTC and in the currency of the prices; 0: there is no budget.
type Budgets struct {
	PerDay   message.Amount `json:"per_day,omitzero" doc:"In a day."`
	PerMonth message.Amount `json:"per_month,omitzero" doc:"In a month."`
}

// Quotas are how many messages of a client are accepted.
type Quotas struct {
	Quota
	Classes map[string]Quota `json:"classes,omitempty" doc:"Quotas of classes, which apply too."`
}

// Quota is how many messages are accepted in a time; 0: any number.
type Quota struct {
	PerSecond int `json:"per_second,omitempty" doc:"Messages in a second."`
	PerDay    int `json:"per_day,omitempty" doc:"Messages in a day, by UTC."`
	PerMonth  int `json:"per_month,omitempty" doc:"Messages in a month, by UTC."`
}

// TemplateClass is the class of the templates whose names match.
type TemplateClass struct {
	Name  string // of the template; * stands for any characters
	Class string
}

// Class has the settings of a class. If one is zero, the next wider setting applies, and finally the
// default of the class.
type Class struct {
	Deadline      time.Duration // from acceptance to the last moment an attempt may start
	InDoubtWindow time.Duration // how long Sluice waits for a status after a request without an answer
	InDoubtPolicy string        // what happens then: "resend", "park" or "close"
	ErrorWindow   time.Duration // how long Sluice waits for a status after a server error

	RepeatWindow time.Duration // how long Sluice waits for Meta to repeat webhooks that it refused or missed

	PortfolioLimit string // what happens to a new message that the messaging limit of its portfolio would keep beyond its deadline: "refuse" or "wait"
}

// Over returns c with its gaps filled from wider.
func (c Class) Over(wider Class) Class {
	return Class{
		Deadline:      cmp.Or(c.Deadline, wider.Deadline),
		InDoubtWindow: cmp.Or(c.InDoubtWindow, wider.InDoubtWindow),
		InDoubtPolicy: cmp.Or(c.InDoubtPolicy, wider.InDoubtPolicy),
		ErrorWindow:   cmp.Or(c.ErrorWindow, wider.ErrorWindow),

		RepeatWindow: cmp.Or(c.RepeatWindow, wider.RepeatWindow),

		PortfolioLimit: cmp.Or(c.PortfolioLimit, wider.PortfolioLimit),
	}
}

// Producer is the configuration of the producer.
type Producer struct {
	Common
	Listen  string   // host:port of the API
	Console string   // host:port of the console; empty: there is none
	APIKeys []APIKey // those of the file; never empty
	Tokens  *Tokens  // the access tokens that the producer can read, for calls that it forwards to Meta

	SecretsKey     Secret // encrypts the secrets in Redis, and hashes recipients; empty: secrets are refused, and there is no index of recipients
	SecondSecrets  Secret // secrets that are encrypted with it can be decrypted too; empty: there is none
	RecipientIndex bool   // whether messages can be found by their recipient

	PayloadKey Secret // signs the payloads of accepted messages; empty: they are not signed

	Outbox   Outbox
	Canaries []Canary // at most one for each number
	Hooks    Relay    // how automatic replies call hooks
	Archive  Archive
}

// Canary is a message that is sent again and again from a number, to see that messages arrive.
type Canary struct {
	Number   string        // phone number id
	To       Secret        // the recipient, in E.164 with its plus; a Secret because it is a phone number
	Template string        // name/language; empty: Text is sent
	Text     string        // the text, if there is no Template
	Every    time.Duration // from one message to the next
	Within   time.Duration // how long one may take until it is delivered; shorter than Every
}

// Outbox is the table from which a producer accepts messages.
type Outbox struct {
	URL    Secret        // of the PostgreSQL database, with the password in it; empty: there is no outbox
	Table  string        // its name, or schema.name
	APIKey string        // the name of the API key with whose rights it sends; in APIKeys
	Poll   time.Duration // between two queries when no row is pending
}

// Archive is the PostgreSQL database to which workers write what became of messages.
type Archive struct {
	URL       Secret        // with the password in it; empty: there is no archive
	Retention time.Duration // how long the archive keeps messages
	Key       Secret        // hashes recipients; never empty if URL is not
}

// APIKey is what a caller with an API key may do. Only the hash of the key is stored.
type APIKey struct {
	Name    string    // for logs and metrics
	SHA256  [32]byte  // of the key
	Numbers []string  // phone number ids; "*" means all
	Scopes  []string  // never empty
	Revoked bool      // requests with the key are refused
	Expires time.Time // from then on requests with the key are refused; zero: never
	Client  string    // the name of the client that the key belongs to; empty: none

	MessagingAccount string // Meta's id of the messaging account for messages whose caller names none; empty: that of the number

	PreviousSHA256  [32]byte  // of the key before, which is accepted too; zero: there is none
	PreviousExpires time.Time // from then on requests with it are refused; zero: as Expires
}

// The scopes of API keys.
const (
	ScopeSend    = "messages:send"
	ScopeRead    = "messages:read"
	ScopeCancel  = "messages:cancel"
	ScopeAccount = "account:write"
	ScopeEvents  = "events:read"
	ScopeConsole = "console:read"
	ScopeAdmin   = "admin"
)

// Scopes returns all scopes.
func Scopes() []string {
	return []string{ScopeSend, ScopeRead, ScopeCancel, ScopeAccount, ScopeEvents, ScopeConsole, ScopeAdmin}
}

// Worker is the configuration of the sender and reconciler.
type Worker struct {
	Common
	Roles             []string // of RoleSend, RoleReconcile, RoleRelay and RoleArchive; never empty
	MarkerKey         Secret   // of the MAC in our marker, at least 16 bytes
	UnmatchedStatuses UnmatchedStatuses
	KeyLife           time.Duration // how long an idempotency key outlives the record of its message; 0: it ends with the record
	TemplateSync      time.Duration // how often the templates of each account are read from Meta; 0: every hour
	Tokens            *Tokens       // the access token of every number of the file
	SecretsKey        Secret        // decrypts the secrets in Redis; empty: numbers and relay targets with a stored secret cannot be used
	SecondSecrets     Secret        // secrets that are encrypted with it can be decrypted too; empty: there is none
	Retry             Retry
	Events            Events
	Relay             Relay
	Archive           Archive
	RecipientIndex    bool // whether Sluice remembers which names of a recipient are one person

	SecondMarkerKey              Secret // markers that are signed with it are accepted too; empty: there is none
	PayloadKey, SecondPayloadKey Secret // keys of valid payload signatures; both empty: signatures are not checked
}

// The roles of a worker.
const (
	RoleSend      = "send"      // sends messages and runs the sweeper
	RoleReconcile = "reconcile" // applies Meta's statuses to the records
	RoleRelay     = "relay"     // forwards events to the relay targets
	RoleArchive   = "archive"   // writes events to the archive, if there is one
)

// Relay is how a worker relays events, and how a producer calls the hooks of automatic replies.
type Relay struct {
	PrivateHosts []string // lower-case names of hosts that may have private addresses
}

// Retry is the schedule of retries after attempts that Meta refused.
type Retry struct {
	Base     time.Duration // the first wait, doubled after each attempt
	Max      time.Duration // the longest wait
	Attempts int           // after so many refused attempts a message is dead
}

// Events limits the events that are kept for consumers.
type Events struct {
	Retention time.Duration // how long an event is kept
	Memory    int64         // bytes of Redis memory for all events; 0: a quarter of what Redis may use
}

// UnmatchedStatuses limits the unmatched statuses that wait for their messages.
type UnmatchedStatuses struct {
	Retention time.Duration // how long a status waits
	Max       int           // how many wait in each shard
}

// Webhook is the configuration of the webhook program.
type Webhook struct {
	Common
	Listen        string // host:port for Meta
	Apps          []App  // the apps of the file; more can be stored
	SecretsKey    Secret // decrypts the secrets in Redis; empty: stored apps cannot be used
	SecondSecrets Secret // secrets that are encrypted with it can be decrypted too; empty: there is none
}

// App is an app at Meta. Its webhooks come to /webhooks/whatsapp/<name>.
type App struct {
	Name            string
	Secret          Secret    // signs the webhooks
	PreviousSecret  Secret    // accepted too while the operator changes the secret; empty: none
	PreviousExpires time.Time // when PreviousSecret is not accepted any more; zero: never
	VerifyToken     Secret    // for the handshake
}

// Secrets returns the app secrets that are accepted at a moment, the current one first.
func (a App) Secrets(now time.Time) []string {
	if a.PreviousSecret == "" || !a.PreviousExpires.IsZero() && !now.Before(a.PreviousExpires) {
		return []string{string(a.Secret)}
	}
	return []string{string(a.Secret), string(a.PreviousSecret)}
}

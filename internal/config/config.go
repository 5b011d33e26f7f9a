// Package config reads what a program needs to know at start: a file, the environment and
// flags. Flags win over the environment, the environment over the file, the file over the
// defaults. Everything is read and checked once, and all mistakes are told together, each
// with its place and its fix. docs/configuration.md describes every setting.
package config

import (
	"cmp"
	"log/slog"
	"time"
)

// Common is what every program knows.
type Common struct {
	Environment string // the name of this installation, in our marker: [a-z0-9-]{1,16}
	Redis       Redis
	Shards      int // parts of the keyspace; fixed at the first start
	Graph       Graph
	Numbers     []Number         // our phone numbers, in the file's order
	Classes     map[string]Class // by class name; what the file does not mention is absent
	LogLevel    slog.Level
	Ops         string // host:port of /metrics, /livez, /readyz and pprof
}

// Redis says where Redis is, and what is expected of it.
type Redis struct {
	URL        Secret // as store.Open has it, the password in it
	Durability string // what an answered write must survive: one of the four below
	// FailoverMayLose accepts Fsync on Sentinel or a Cluster.
	FailoverMayLose bool
	PasswordFile    string // holds the password; empty: it is in the URL, or there is none
}

// What may be expected of Redis.
const (
	Fsync    = "fsync"    // a crash: it is on disk
	Replica  = "replica"  // a failover too: a replica has it
	Asserted = "asserted" // the operator vouches for it, where Redis does not let itself be asked
	Relaxed  = "relaxed"  // nothing: a crash may lose the last moments
)

// Password reads the password anew from PasswordFile.
func (r Redis) Password() (string, error) { return readSecret(r.PasswordFile) }

// Graph says where Meta's Graph API is.
type Graph struct {
	BaseURL string // without a slash at its end
	Version string // "v25.0"
}

// Number is one of our phone numbers.
type Number struct {
	ID      string           // Meta's phone number id
	Display string           // the phone number itself, in E.164 with its plus; empty: not known
	Rate    int              // messages per second
	Learn   bool             // Rate is not configured: it stands until Meta says what the number may send
	Unknown string           // what is done with message types that this version does not know: "pass", also when empty, or "refuse"
	Classes map[string]Class // what differs for this number

	TemplateClasses []TemplateClass // of messages whose caller names no class, the first that fits
}

// TemplateClass says which class templates with a name have.
type TemplateClass struct {
	Name  string // of the template; * stands for any characters
	Class string
}

// Class says how messages of a class are treated. Zero means: as the next wider setting
// says, in the end the class's own default.
type Class struct {
	Deadline    time.Duration // from acceptance to the last moment an attempt may start
	DoubtWindow time.Duration // how long evidence is awaited after a request without an answer
	OnDoubt     string        // what then: "resend", "park" or "close"
	ErrorWindow time.Duration // how long evidence is awaited after a server error

	RepeatWindow time.Duration // how long Meta's repeats are awaited of what we refused or missed
}

// Class returns how messages of a class from a number are treated: what the number says,
// else what holds for all numbers, else zero.
func (c Common) Class(number, class string) Class {
	merged := c.Classes[class]
	for _, n := range c.Numbers {
		if n.ID == number {
			merged = n.Classes[class].over(merged)
		}
	}
	return merged
}

// over returns c with its gaps filled from wider.
func (c Class) over(wider Class) Class {
	return Class{
		Deadline:    cmp.Or(c.Deadline, wider.Deadline),
		DoubtWindow: cmp.Or(c.DoubtWindow, wider.DoubtWindow),
		OnDoubt:     cmp.Or(c.OnDoubt, wider.OnDoubt),
		ErrorWindow: cmp.Or(c.ErrorWindow, wider.ErrorWindow),

		RepeatWindow: cmp.Or(c.RepeatWindow, wider.RepeatWindow),
	}
}

// Producer is the configuration of the intake.
type Producer struct {
	Common
	Listen  string   // host:port of the API
	Console string   // host:port of the console; empty: there is none
	APIKeys []APIKey // never empty
	Tokens  *Tokens  // the access tokens that are there, for calls that are passed on to Meta

	PayloadKey Secret // seals the content of what is accepted; empty: it is not sealed
}

// APIKey is what a caller of the API may do. The key itself is not known here.
type APIKey struct {
	Name    string    // for logs and metrics
	SHA256  [32]byte  // of the key
	Numbers []string  // phone number ids; "*" means all
	Scopes  []string  // never empty
	Revoked bool      // refused, and told so
	Expires time.Time // the same from then on; zero: never
}

// The scopes of API keys.
const (
	ScopeSend   = "messages:send"
	ScopeRead   = "messages:read"
	ScopeCancel = "messages:cancel"
	ScopeAdmin  = "admin"
)

// Scopes returns all of them.
func Scopes() []string { return []string{ScopeSend, ScopeRead, ScopeCancel, ScopeAdmin} }

// Worker is the configuration of the sender and reconciler.
type Worker struct {
	Common
	Roles     []string // of RoleSend and RoleReconcile; never empty
	MarkerKey Secret   // of the MAC in our marker, at least 16 bytes
	Orphans   Orphans
	KeyLife   time.Duration // of a key after the end of its message's record; 0: it ends with the record
	Tokens    *Tokens       // the access token of every number
	Retry     Retry
	Events    Events

	SecondMarkerKey              Secret // markers made with it are read too; empty: there is none
	PayloadKey, SecondPayloadKey Secret // of the seals that are good; both empty: none is looked at
}

// The roles of a worker.
const (
	RoleSend      = "send"      // drains the queues and sweeps
	RoleReconcile = "reconcile" // folds Meta's events into the records
)

// Retry is the schedule after attempts that Meta did not take.
type Retry struct {
	Base     time.Duration // the first wait, doubled after each attempt
	Max      time.Duration // the longest wait
	Attempts int           // after so many attempts, each proven not taken, a message is dead
}

// Events is how much of what was handled is kept for others to read.
type Events struct {
	Retention time.Duration // how long
	MaxLength int           // entries of each shard, whatever their age
}

// Orphans is how many of Meta's statuses wait that match no message yet.
type Orphans struct {
	Retention time.Duration // how long
	Max       int           // in each shard
}

// Webhook is the configuration of the receiver of Meta's webhooks.
type Webhook struct {
	Common
	Listen string // host:port for Meta
	Apps   []App  // never empty
}

// App is one of our apps at Meta; its webhooks come to /webhooks/whatsapp/<name>.
type App struct {
	Name            string
	Secret          Secret    // signs the webhooks
	PreviousSecret  Secret    // still accepted while the secret is being changed; empty: none
	PreviousExpires time.Time // until then; zero: for as long as it is given
	VerifyToken     Secret    // for the handshake
}

// Secrets returns the app's secrets that sign at a moment, the present one first.
func (a App) Secrets(now time.Time) []string {
	if a.PreviousSecret == "" || !a.PreviousExpires.IsZero() && !now.Before(a.PreviousExpires) {
		return []string{string(a.Secret)}
	}
	return []string{string(a.Secret), string(a.PreviousSecret)}
}

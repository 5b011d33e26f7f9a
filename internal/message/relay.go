package message

import "time"

// The forms in which a target gets events.
const (
	RelayMeta   = "meta"   // Meta's own webhook
	RelaySluice = "sluice" // events in our own schema
)

// Defaults of a RelayTarget.
const (
	RelayConcurrency = 16
	RelayGiveUpAfter = 24 * time.Hour
)

// RelayTarget is a URL to which events are relayed.
type RelayTarget struct {
	Name        string        `json:"name"`                  // 1 to 32 of a-z, 0-9 and "-"
	URL         string        `json:"url"`                   //
	Encrypted   string        `json:"secret,omitempty"`      // the secret that signs the requests, encrypted; empty: they are not signed
	Format      string        `json:"format"`                // RelayMeta or RelaySluice
	MessageIDs  string        `json:"message_ids,omitempty"` // RelaySluice: statuses have our id in place of Meta's
	Numbers     []string      `json:"numbers,omitempty"`     // only events of these phone number ids; empty: of all
	Accounts    []string      `json:"accounts,omitempty"`    // only events of these WhatsApp Business Accounts; empty: of all
	Tags        []string      `json:"tags,omitempty"`        // only events of messages with one of these tags; empty: of all
	Client      string        `json:"client,omitempty"`      // only events of this client's messages and numbers; empty: of all
	Types       []string      `json:"types,omitempty"`       // only these types of events; empty: all
	Batch       int           `json:"batch"`                 // events in one request at most
	Concurrency int           `json:"concurrency"`           // requests at the same time; each worker makes its share
	GiveUpAfter time.Duration `json:"give_up_after"`         // how long an event is retried

	HeldSince  time.Time `json:"held_since,omitzero"` // zero: it is not held
	HeldBy     string    `json:"held_by,omitempty"`
	HeldReason string    `json:"held_reason,omitempty"`

	Born       int64 `json:"born"`               // when it was added, Unix milliseconds; distinguishes it from an earlier one of the name
	From       int64 `json:"from"`               // events that were written from this time on are relayed, Unix milliseconds
	Generation int64 `json:"generation"`         // when From was set, Unix milliseconds; a new one begins again at From
	Requeued   int64 `json:"requeued,omitempty"` // when the dead letters were last ordered to be relayed again, Unix milliseconds
	Released   int64 `json:"released,omitempty"` // when the last hold ended, Unix milliseconds
}

// The states of a target.
const (
	RelayActive  = "active"
	RelayFailing = "failing" // it took nothing for a while; Sluice tries one request at a time
	RelayHeld    = "held"    // an operator holds it
	RelayWaiting = "waiting" // no worker has relayed to it yet
)

// RelayStatus is a target and how it is doing.
type RelayStatus struct {
	RelayTarget
	State    string        // one of the states above
	Since    time.Time     // when it began to fail; zero: it does not fail
	Error    string        // why the last request failed, a short constant word or an HTTP status; empty: it did not
	NextTry  time.Time     // of a failing target
	Lag      time.Duration // age of the oldest event that waits
	SetAside int           // events that wait for another try while later events are relayed
	Dead     int           // dead letters of events
	Gaps     int           // how often events were dropped before the target got them
	GapFrom  time.Time     // the time of the last such events; zero: there were none
	GapTo    time.Time
}

// RelayDeadLetter is an event that was given up.
type RelayDeadLetter struct {
	At    time.Time // when it was given up
	Event string    // as JSON
	Tries int
	Error string // why the last request failed
}

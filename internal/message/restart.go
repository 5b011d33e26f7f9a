package message

import "time"

// Memory is what a worker remembers of an attempt, to write it down again where the store lost
// it.
type Memory struct {
	ID       string
	N        int
	K        int // the task's counter
	Token    string
	Accepted int64 // which record of the id: Unix milliseconds of its acceptance
	Since    time.Time
	Move     *Move // what came of it; nil: it is under way
}

// Run is one run of a shard's server: until it restarts, or another takes its place.
type Run struct {
	ID   string
	Wait time.Duration // until attempts may begin on it
	Met  bool          // they may: it is the run that the ledger trusts
}

// Lost is how much a server had lost of what a worker remembered.
type Lost struct {
	Intents  int // attempts that it did not know of
	Outcomes int // attempts that it knew of, and not what came of them
	Records  int // messages that it did not know at all: they cannot be written down again
}

// Rewound tells whether the server lost what it had confirmed. Outcomes alone prove nothing:
// they do not wait for a replica.
func (l Lost) Rewound() bool { return l.Intents+l.Records > 0 }

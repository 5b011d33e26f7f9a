package message

import "time"

// DeadAfter is the silence after which a worker counts as dead.
const DeadAfter = 6 * time.Second

// RememberedAttempt is what a worker remembers of an attempt, to store it again (replay it) where the
// store lost it.
type RememberedAttempt struct {
	ID       string
	N        int
	K        int // the task's counter
	Token    string
	Accepted int64 // which record of the id: Unix milliseconds of its acceptance
	Since    time.Time
	Move     *Move // what came of it; nil: it is under way
}

// Heartbeat is a heartbeat of a worker in a shard.
type Heartbeat struct {
	Shard    Shard
	Worker   string // empty: no heartbeat, only a question
	N        int64  // which heartbeat it is, counted by the worker from 1
	Answered int64  // the latest that was answered; 0: none
	Replayed string // the epoch in which the worker has replayed what it remembers; empty: none
}

// Epoch is how a shard's server answers a heartbeat: its epoch, and what it has of the worker.
type Epoch struct {
	ID    string        // of the epoch: another one begins when the server restarts, is replaced or is set back
	Wait  time.Duration // until attempts may begin in it
	Ready bool          // they may: this process has begun the epoch
	Kept  int64         // the worker's latest heartbeat that the server had before; 0: none
	Now   time.Time     // by the server's clock
	Err   error         // the server did not answer; then nothing else is set
}

// LiveWorkers is the workers that live, by the heartbeats in a shard.
type LiveWorkers struct {
	Workers map[string]bool
	Now     time.Time // by the clock of the shard's server
	Err     error     // the server did not answer; then nothing else is set
}

// LostWrites is how much a server had lost of what a worker remembered.
type LostWrites struct {
	Intents  int // attempts that it did not know of
	Outcomes int // attempts that it knew of, and not what came of them
	Records  int // messages that it did not know at all: they cannot be replayed
}

// Confirmed reports whether the server lost writes that it had confirmed. Outcomes alone prove nothing:
// they do not wait for a replica.
func (l LostWrites) Confirmed() bool { return l.Intents+l.Records > 0 }

package message

import "time"

// DeadAfter is how long after its last heartbeat a worker counts as dead.
const DeadAfter = 6 * time.Second

// RememberedAttempt is what a worker remembers of an attempt, to replay it (store it again) where Redis lost
// it.
type RememberedAttempt struct {
	ID       string
	N        int
	K        int // the counter of the task
	Token    string
	Accepted int64 // which record of the id: Unix milliseconds of its acceptance
	Since    time.Time
	Move     *Move // the outcome; nil: the attempt is running
}

// Heartbeat is a heartbeat of a worker in a shard.
type Heartbeat struct {
	Shard    Shard
	Worker   string // empty: only a question, no heartbeat
	N        int64  // the number of the heartbeat, counted by the worker from 1
	Answered int64  // the number of the latest heartbeat that was answered; 0: none
	Replayed string // the epoch in which the worker has replayed its attempts; empty: none
}

// Epoch is a server's answer to a heartbeat: the epoch of the shard, and what the server has of the worker.
type Epoch struct {
	ID    string        // of the epoch; a new one begins when the server restarts, is replaced or is restored to an earlier state
	Wait  time.Duration // until attempts may begin in it
	Ready bool          // attempts may begin: this process has begun the epoch
	Kept  int64         // the latest heartbeat of the worker that the server had before; 0: none
	Now   time.Time     // by the server's clock
	Err   error         // the server did not answer; then no other field is set
}

// LiveWorkers is the live workers, by the heartbeats in a shard.
type LiveWorkers struct {
	Workers map[string]bool
	Now     time.Time // by the clock of the shard's server
	Err     error     // the server did not answer; then no other field is set
}

// LostWrites counts what a server lost of the attempts that a worker remembers.
type LostWrites struct {
	Intents  int // attempts that the server did not have
	Outcomes int // attempts that the server had without their outcome
	Records  int // messages that the server did not have at all: they cannot be replayed
}

// Confirmed reports whether the server lost writes that it had confirmed. Lost outcomes alone prove nothing,
// because they do not wait for a replica.
func (l LostWrites) Confirmed() bool { return l.Intents+l.Records > 0 }

package chaos

import (
	"slices"
	"time"

	"sluice/internal/client"
	"sluice/internal/message"
)

// Result is what came of one row of the matrix.
type Result struct {
	ID       string
	Fault    string
	Seed     uint64
	Messages int           // answered 202
	Lost     int           // of those: without an end, or without a record
	Doubled  int           // received more often than policy allowed
	Doubts   int           // in doubt at some time
	Evidence int           // of those: settled by what Meta reported
	Policy   int           // of those: settled by policy
	Resent   int           // sent again by policy
	InDoubt  int           // still in doubt
	Away     time.Duration // the longest time in which the API took nothing
	Stopped  time.Duration // the longest time in which nothing arrived although orders came in
	Took     time.Duration
	Notes    []string // figures of the row's own
	Control  bool     // the row shows that the matrix bites, and breaches are what it is for
	Breaches []string // what did not hold, in words
	History  string   // the folder that tells how it came to that
}

// OK tells whether everything held.
func (r Result) OK() bool { return len(r.Breaches) == 0 }

// count works a result's figures out.
func (r *Result) count(e evidence, broken []breach) {
	r.Messages = len(e.orders)
	for _, b := range broken {
		switch b.Invariant {
		case "I1":
			r.Lost++
		case "I2":
			r.Doubled++
		}
		r.Breaches = append(r.Breaches, b.String())
	}
	for _, o := range e.orders {
		rec := e.records[o.ID]
		r.Resent += resends(rec)
		if rec.State == message.InDoubt {
			r.InDoubt++
		}
		switch doubted, policy := settledBy(rec); {
		case doubted && policy:
			r.Doubts++
			r.Policy++
		case doubted:
			r.Doubts++
			r.Evidence++
		}
	}
	r.Stopped = stopped(e)
}

// bites judges a control: it could be played, and messages were sent twice.
func (r *Result) bites(err error) []breach {
	r.Breaches = nil
	var broken []breach
	switch {
	case err != nil:
		broken = []breach{{r.ID, "", "could not be played to its end: " + err.Error()}}
	case r.Doubled == 0:
		broken = []breach{{r.ID, "", "sent nothing twice: the matrix proves nothing here"}}
	}
	for _, b := range broken {
		r.Breaches = append(r.Breaches, b.String())
	}
	return broken
}

// wasInDoubt tells whether nobody knew of a message for a time.
func wasInDoubt(r client.Record) bool {
	for _, s := range r.Timeline {
		if s.State == message.InDoubt {
			return true
		}
	}
	return false
}

// settledBy tells whether nobody answered some attempt of a message, so that it was in doubt
// (or would have been, had Meta's report not come first), and whether policy had to end that.
func settledBy(r client.Record) (doubted, policy bool) {
	doubted = wasInDoubt(r)
	for i, s := range r.Timeline {
		if i == 0 {
			continue
		}
		switch from := r.Timeline[i-1].State; {
		case from == message.Attempting && s.State.Rank(s.Reason) > message.Submitted.Rank(""):
			doubted = true
		case from == message.InDoubt && s.State.Rank(s.Reason) < message.Submitted.Rank(""):
			policy = true
		}
	}
	return doubted, policy
}

// stopped is the longest time between two arrivals while orders came in.
func stopped(e evidence) time.Duration {
	var arrivals []time.Time
	for _, taken := range e.taken {
		for _, a := range taken {
			if a.Start.Before(e.until) {
				arrivals = append(arrivals, a.Start)
			}
		}
	}
	slices.SortFunc(arrivals, time.Time.Compare)
	var longest time.Duration
	for i := 1; i < len(arrivals); i++ {
		longest = max(longest, arrivals[i].Sub(arrivals[i-1]))
	}
	return longest
}

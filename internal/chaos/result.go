package chaos

import (
	"slices"
	"time"

	"sluice/client"
	"sluice/internal/message"
)

// Result is the result of one row of the matrix.
type Result struct {
	ID              string
	Fault           string
	Seed            uint64
	Messages        int           // answered 202
	Lost            int           // of those: not ended, or without a record; and events that a relay target did not get
	Doubled         int           // received more often than policy allowed
	WereInDoubt     int           // in doubt at some time
	SettledByStatus int           // of those: settled by a status from Meta
	SettledByPolicy int           // of those: settled by policy
	Resent          int           // sent again by policy
	InDoubt         int           // still in doubt
	Away            time.Duration // the longest time in which the API refused every request
	Stopped         time.Duration // the longest time in which nothing arrived although orders came in
	Took            time.Duration
	Notes           []string // figures of this row
	Control         bool     // the row shows that the matrix finds errors: it must break invariants
	Breaches        []string // the broken invariants, in words
	History         string   // the folder with the history of the breaches
}

// OK reports whether no invariant is broken.
func (r Result) OK() bool { return len(r.Breaches) == 0 }

// count computes the figures of a result.
func (r *Result) count(e findings, broken []breach) {
	r.Messages = len(e.orders)
	for _, b := range broken {
		switch b.Invariant {
		case "I1", "I11":
			r.Lost++
		case "I2":
			r.Doubled++
		}
		r.Breaches = append(r.Breaches, b.String())
	}
	for _, o := range e.orders {
		rec := e.records[o.ID]
		r.Resent += resends(rec)
		if rec.State == client.StateInDoubt {
			r.InDoubt++
		}
		switch inDoubt, policy := settledBy(rec); {
		case inDoubt && policy:
			r.WereInDoubt++
			r.SettledByPolicy++
		case inDoubt:
			r.WereInDoubt++
			r.SettledByStatus++
		}
	}
	r.Stopped = stopped(e)
}

// bites checks a control: it ran, and messages were sent twice, or with loses were lost.
func (r *Result) bites(err error, loses bool) []breach {
	r.Breaches = nil
	var broken []breach
	switch {
	case err != nil:
		broken = []breach{{r.ID, "", "the row did not run to its end: " + err.Error()}}
	case loses && r.Lost == 0:
		broken = []breach{{r.ID, "", "lost nothing: here the matrix finds no errors"}}
	case !loses && r.Doubled == 0:
		broken = []breach{{r.ID, "", "sent nothing twice: here the matrix finds no errors"}}
	}
	for _, b := range broken {
		r.Breaches = append(r.Breaches, b.String())
	}
	return broken
}

// wasInDoubt reports whether a message was in doubt at some time.
func wasInDoubt(r client.Record) bool {
	for _, s := range r.Timeline {
		if s.State == client.StateInDoubt {
			return true
		}
	}
	return false
}

// settledBy reports whether an attempt of a message got no answer, so that the message was in doubt (or would have
// been, if Meta's report had not come first), and whether policy decided that.
func settledBy(r client.Record) (inDoubt, policy bool) {
	inDoubt = wasInDoubt(r)
	for i, s := range r.Timeline {
		if i == 0 {
			continue
		}
		switch from := r.Timeline[i-1].State; {
		case from == client.StateAttempting && rank(s.State, s.Reason) > message.Submitted.Rank(""):
			inDoubt = true
		case from == client.StateInDoubt && rank(s.State, s.Reason) < message.Submitted.Rank(""):
			policy = true
		}
	}
	return inDoubt, policy
}

// stopped returns the longest time between two arrivals while orders came in.
func stopped(e findings) time.Duration {
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

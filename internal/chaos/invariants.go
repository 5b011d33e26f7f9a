package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/message"
)

// findings is what a run left when everything has ended.
type findings struct {
	orders  []order                        // answered 202
	tried   map[string]bool                // ids of all orders, answered or not
	records map[string]client.Record       // by id; none: no record
	taken   map[string][]graphsim.Accepted // what the far side received, by message id
	strange []graphsim.Accepted            // what it received without a message id of Sluice
	windows map[string]int                 // by number: the most requests that arrived in a second
	rate    int                            // of each number
	until   time.Time                      // when the last order was answered, without the traffic during the settling
	relaxed bool                           // Redis lost reports that it had: a message may stay as sent
	left    map[string]int64               // counts that must be zero, by what they count
	grown   map[string]string              // by program: goroutines that it kept
	leaks   map[string]string              // by place: what is secret or private and was found there
	relay   relayFindings
}

// breach is a broken invariant.
type breach struct {
	Invariant string // "I1" to "I12", or the row's id for its own checks
	ID        string // of the message; empty: it concerns no single message
	What      string
}

func (b breach) String() string {
	if b.ID == "" {
		return b.Invariant + ": " + b.What
	}
	return b.Invariant + ": " + b.ID + " " + b.What
}

// check returns the broken invariants.
func (e findings) check() []breach {
	var all []breach
	for _, o := range e.orders {
		r, ok := e.records[o.ID]
		if !ok {
			all = append(all, breach{"I1", o.ID, "was answered 202 and has no record"})
			continue
		}
		if !over(message.State(r.State), e.relaxed) {
			all = append(all, breach{"I1", o.ID, fmt.Sprintf("is still %s %s", r.State, r.Reason)})
		}
		all = append(all, rises(o.ID, r)...)
		all = append(all, e.agrees(o.ID, r)...)
	}
	made := map[string]int{}
	for _, o := range e.orders {
		made[o.ID] = o.Made
		all = append(all, fewer(o, e.records[o.ID], e.taken[o.ID])...)
	}
	for _, id := range slices.Sorted(maps.Keys(e.taken)) {
		all = append(all, twice(id, made[id], e.records[id], e.taken[id])...)
		all = append(all, overlapping(id, e.taken[id])...)
		if made[id] < 2 { // else the later ones are other messages with the same key
			all = append(all, reported(id, e.records[id], e.taken[id])...)
		}
		if !e.tried[id] {
			all = append(all, breach{"I5", id, "was received and never ordered"})
		}
	}
	for _, a := range e.strange {
		all = append(all, breach{"I5", "", fmt.Sprintf("received %s with the marker %q, which is not Sluice's", a.WAMID, a.Marker)})
	}
	all = append(all, e.paced()...)
	all = append(all, e.sums()...)
	all = append(all, e.relay.check()...)
	for _, place := range slices.Sorted(maps.Keys(e.leaks)) { // I9
		all = append(all, breach{"I9", "", "something secret or private was found in " + place + ": " + e.leaks[place]})
	}
	return all
}

// rank orders the states; see message.State.
func rank(s client.State, reason string) int { return message.State(s).Rank(reason) }

// over reports whether a message changes no more by itself (I1): it is final, or waits for an operator. With relaxed
// also a message that Meta has, because Redis may have lost its later reports.
func over(s message.State, relaxed bool) bool {
	return s.Final() || s == message.Parked || relaxed && s.AtMeta()
}

// fewer checks I1 for a key that was used for several messages, each answered as a new one: each was received, or its
// record has the reason why not.
func fewer(o order, r client.Record, taken []graphsim.Accepted) []breach {
	if o.Made > 1 && len(taken) < o.Made && rank(r.State, r.Reason) >= message.Submitted.Rank("") {
		return []breach{{"I1", o.ID, fmt.Sprintf("was accepted %d times as a new message and received %d times", o.Made, len(taken))}}
	}
	return nil
}

// twice checks I2: a message was received as often as it was accepted as a new one (an answer may have been lost), and
// once more for each resend that policy ordered and counted.
func twice(id string, made int, r client.Record, taken []graphsim.Accepted) []breach {
	if may := max(1, made) + resends(r); len(taken) > may {
		return []breach{{"I2", id, fmt.Sprintf("was received %d times, and policy allowed %d", len(taken), may)}}
	}
	return nil
}

// resends counts the resends that the policy of the class ordered.
func resends(r client.Record) int {
	n := 0
	for _, s := range r.Timeline {
		if s.State == client.StateQueued && s.Reason == message.ReasonPolicy {
			n++
		}
	}
	return n
}

// overlapping checks I3: there are never two requests for one message at the same time.
func overlapping(id string, taken []graphsim.Accepted) []breach {
	byStart := slices.SortedFunc(slices.Values(taken), func(a, b graphsim.Accepted) int { return a.Start.Compare(b.Start) })
	for i := 1; i < len(byStart); i++ {
		if before := byStart[i-1]; before.End.IsZero() || before.End.After(byStart[i].Start) {
			return []breach{{"I3", id, "had two requests at the same time"}}
		}
	}
	return nil
}

// applying is how long a report may take from the webhook program to the record.
const applying = 3 * time.Second

// reported checks I10: no message is sent again after Meta sent a report of it, whether the webhook program accepted
// that report, refused it or did not run.
func reported(id string, r client.Record, taken []graphsim.Accepted) []breach {
	byStart := slices.SortedFunc(slices.Values(taken), func(a, b graphsim.Accepted) int { return a.Start.Compare(b.Start) })
	for i := 1; i < len(byStart); i++ {
		decided := byStart[i].Start
		for _, s := range slices.Backward(r.Timeline) { // when it was queued again
			if s.State == client.StateQueued && !s.At.After(decided) {
				decided = s.At
				break
			}
		}
		if at := byStart[i-1].Reported; !at.IsZero() && at.Before(decided.Add(-applying)) {
			return []breach{{"I10", id, fmt.Sprintf("was sent again %.1f s after Meta sent a report of it", decided.Sub(at).Seconds())}}
		}
	}
	return nil
}

// rises checks I4: a message's state rises, except for an attempt or an in-doubt message that returns to the
// queue.
func rises(id string, r client.Record) []breach {
	var all []breach
	for i := 1; i < len(r.Timeline); i++ {
		from, to := r.Timeline[i-1], r.Timeline[i]
		back := to.State == client.StateQueued && (from.State == client.StateAttempting || from.State == client.StateInDoubt)
		// Redis may have lost how the attempt before ended; the worker wrote the next one again.
		again := from.State == client.StateAttempting && to.State == client.StateAttempting && to.Reason == "remembered"
		if !back && !again && rank(to.State, to.Reason) <= rank(from.State, from.Reason) {
			all = append(all, breach{"I4", id, fmt.Sprintf("went from %s to %s", from.State, to.State)})
		}
	}
	return all
}

// agrees checks I5: the record and the far side agree.
func (e findings) agrees(id string, r client.Record) []breach {
	taken := e.taken[id]
	says := rank(r.State, r.Reason) >= message.Submitted.Rank("")
	switch {
	case says && len(taken) == 0:
		return []breach{{"I5", id, fmt.Sprintf("is %s, and the far side never received it", r.State)}}
	case !says && len(taken) > 0:
		return []breach{{"I5", id, fmt.Sprintf("is %s %s, and the far side has it", r.State, r.Reason)}}
	case says && !slices.ContainsFunc(taken, func(a graphsim.Accepted) bool { return a.WAMID == r.WAMID }):
		return []breach{{"I5", id, fmt.Sprintf("has the wamid %q, which the far side never gave it", r.WAMID)}}
	}
	return nil
}

// jitter is how much closer together than they were sent requests may arrive, on a machine with more to run than it
// has processors.
const jitter = 250 * time.Millisecond

// paced checks I6: no second has more requests of a number than its rate.
func (e findings) paced() []breach {
	var all []breach
	limit := e.rate + int(float64(e.rate)*jitter.Seconds())
	for _, number := range slices.Sorted(maps.Keys(e.windows)) {
		if n := e.windows[number]; n > limit {
			all = append(all, breach{"I6", "", fmt.Sprintf("%d requests of %s arrived in a second, its rate is %d", n, number, e.rate)})
		}
	}
	return all
}

// sums checks I7 and I8: there are as many records as orders, and nothing is left over.
func (e findings) sums() []breach {
	var all []breach
	by := states(e.records)
	sum := 0
	for _, n := range by {
		sum += n
	}
	ids := map[string]bool{}
	for _, o := range e.orders {
		ids[o.ID] = true
	}
	if sum != len(ids) {
		all = append(all, breach{"I7", "", fmt.Sprintf("%d messages were accepted, and the records add up to %d: %v", len(ids), sum, by)})
	}
	for _, what := range slices.Sorted(maps.Keys(e.left)) {
		if n := e.left[what]; n != 0 {
			all = append(all, breach{cmp.Or(map[string]string{"open in the ledger's indexes": "I7"}[what], "I8"), "", fmt.Sprintf("%d %s", n, what)})
		}
	}
	for _, program := range slices.Sorted(maps.Keys(e.grown)) {
		all = append(all, breach{"I8", "", program + " " + e.grown[program]})
	}
	return all
}

func states(records map[string]client.Record) map[client.State]int {
	by := map[client.State]int{}
	for _, r := range records {
		by[r.State]++
	}
	return by
}

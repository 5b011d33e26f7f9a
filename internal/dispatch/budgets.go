package dispatch

import (
	"context"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
)

// Budgets decide which messages may be sent by what they cost.
type Budgets interface {
	// Closed reports for each class, the most urgent first, whether a budget has had too little left for a message of a flow, a moment ago. It
	// asks memory only.
	Closed(message.Flow) [4]bool
	// Admit counts what the messages of some candidates cost as spent, and returns for each whether it may be sent now.
	Admit(ctx context.Context, now time.Time, some []Candidate) ([]bool, error)
}

// limitCost finds the tasks that budgets keep, so that they use no slot, counts what the others cost, and reports whether there are some
// that are kept. Tasks that a hold or the pair limit keeps, and those for which there is no
// slot, do not count. It is one round trip, or none if nothing costs anything.
func (d *dispatcher) limitCost(ctx context.Context, n *number, r fetched, tasks []*queue.Fetched, known []Candidate) (kept bool, err error) {
	if d.o.Budgets == nil {
		return false, nil
	}
	var some []Candidate
	var of []int // the index of each in known
	for i, c := range known {
		if c.Verdict == Sendable && c.Cost > 0 && c.holdOn(n.id, tasks[i].ID, r.holds) == "" && n.pairs.Free(c.Recipient, r.now).IsZero() {
			if len(some) == len(n.spare) { // the others get no slot of this fetch
				known[i].Verdict, kept = Kept, true
				continue
			}
			some, of = append(some, c), append(of, i)
		}
	}
	if len(some) == 0 {
		return kept, nil
	}
	may, err := d.o.Budgets.Admit(ctx, r.now, some)
	for i, is := range may {
		if !is {
			known[of[i]].Verdict, kept = Kept, true
		}
	}
	return kept, err
}

package dispatch

import (
	"context"

	"sluice/internal/portfolio"
	"sluice/internal/queue"
)

// Limit has the messaging limits of portfolios: how many people their numbers may write to first. It is used only for numbers
// that it applies to.
type Limit interface {
	Applies(number string) bool
	// Admit decides which messages of a number may be sent now, and counts their people.
	Admit(ctx context.Context, number string, asks []portfolio.Ask) ([]bool, error)
	// Capacity returns how many tasks that wait for the limit may try again, and how many urgent ones.
	Capacity(number string) (all, urgent int)
}

// limit finds those tasks that the messaging limit lets go now, and counts their people. Tasks that a hold keeps do not count.
func (d *dispatcher) limit(ctx context.Context, n *number, r fetched, tasks []*queue.Fetched, known []Candidate) error {
	if d.o.Limit == nil || !d.o.Limit.Applies(n.id) {
		return nil
	}
	var asks []portfolio.Ask
	var of []int
	for i := range known {
		c := &known[i]
		if c.Verdict == Sendable && c.Person != (portfolio.Person{}) && c.holdOn(n.id, tasks[i].ID, r.holds) == "" {
			asks, of = append(asks, portfolio.Ask{Person: c.Person, Urgent: tasks[i].Class == 0}), append(of, i)
		}
	}
	if len(asks) == 0 {
		return nil
	}
	may, err := d.o.Limit.Admit(ctx, n.id, asks)
	if err != nil {
		return err
	}
	for i, ok := range may {
		if !ok {
			known[of[i]].Verdict = Full
		}
	}
	return nil
}

// capacity returns how many tasks of a number that wait for the limit may try again, and how many urgent ones. Only the first worker
// of a number lets them.
func (d *dispatcher) capacity(n *number, first bool) (all, urgent int) {
	if !first {
		return 0, 0
	}
	if d.o.Limit == nil {
		return limitGone, limitGone
	}
	return d.o.Limit.Capacity(n.id)
}

// limitGone is more than all tasks: no limit applies any more.
const limitGone = 1 << 30

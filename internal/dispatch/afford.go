package dispatch

import (
	"context"
	"time"

	"sluice/internal/queue"
)

// Afford counts what the messages of some candidates cost as spent, and returns for each until when it must wait, because a budget has too
// little left, by Redis's clock; zero: it may be sent.
type Afford func(ctx context.Context, now time.Time, some []Candidate) ([]time.Time, error)

// afford puts off the tasks that budgets do not let go now, and counts what the others cost. Tasks that a hold keeps do not count.
func (d *dispatcher) afford(ctx context.Context, n *number, r fetched, tasks []*queue.Fetched, known []Candidate) error {
	if d.o.Afford == nil {
		return nil
	}
	var some []Candidate
	var of []int // the index of each in known
	for i, c := range known {
		if c.Verdict == Sendable && c.Cost > 0 && c.holdOn(n.id, tasks[i].ID, r.holds) == "" {
			some, of = append(some, c), append(of, i)
		}
	}
	if len(some) == 0 {
		return nil
	}
	until, err := d.o.Afford(ctx, r.now, some)
	for i, at := range until {
		if !at.IsZero() {
			known[of[i]].Verdict, known[of[i]].At = NotYet, at
		}
	}
	return err
}

package dispatch

import (
	"context"

	"sluice/internal/message"
	"sluice/internal/queue"
)

// Campaigns has the settings of campaigns: how fast their messages are sent, and how many in a day.
type Campaigns interface {
	// Gate returns how often a message of a campaign may be fetched now. It asks memory only.
	Gate(message.Flow) message.Gate
	// Admit counts messages of campaigns with a cap, and returns for each whether it may be sent now. A message that was counted before may
	// be asked for again.
	Admit(ctx context.Context, all []message.CapAsk) ([]bool, error)
}

// gate returns how often a message of a flow may be fetched now, and of which classes none, because of budgets.
func (d *dispatcher) gate(f message.Flow) (g message.Gate, closed [4]bool) {
	if d.o.Campaigns != nil && f.Campaign != "" {
		g = d.o.Campaigns.Gate(f)
	}
	if d.o.Budgets != nil {
		closed = d.o.Budgets.Closed(f)
	}
	return g, closed
}

// gatedAny reports whether not all messages of a flow may be fetched at once.
func (d *dispatcher) gatedAny(f message.Flow) bool {
	g, closed := d.gate(f)
	return g.Limited() || closed != [4]bool{}
}

// gated reports whether not all messages of a flow and class may be fetched at once.
func (d *dispatcher) gated(f message.Flow, class int) bool {
	g, closed := d.gate(f)
	return g.Limited() || closed[class]
}

// limitCampaigns finds the tasks that were fetched before this worker knew that their flow waits at this number, so that they use no slot, and
// reports whether there are some. The next fetch knows it. Tasks that a hold keeps do not count.
func (d *dispatcher) limitCampaigns(n *number, r fetched, tasks []*queue.Fetched, known []Candidate) (kept bool) {
	for i := range known {
		c := &known[i]
		if c.Verdict == Sendable && d.gated(c.Flow, tasks[i].Class) && !r.rated[c.Flow.String()] && c.holdOn(n.id, tasks[i].ID, r.holds) == "" {
			c.Verdict, kept = Kept, true
		}
	}
	return kept
}

// limitCaps finds the tasks over the cap of a day of their campaigns, so that they use no slot, counts the others, and reports whether there are some.
// Tasks that a hold keeps do not count. It is one round trip, or none without a cap.
func (d *dispatcher) limitCaps(ctx context.Context, n *number, r fetched, tasks []*queue.Fetched, known []Candidate) (kept bool, err error) {
	var asks []message.CapAsk
	var of []int // the index of each in known
	for i, c := range known {
		if g, _ := d.gate(c.Flow); c.Verdict == Sendable && g.Capped && c.holdOn(n.id, tasks[i].ID, r.holds) == "" {
			asks, of = append(asks, message.CapAsk{Flow: c.Flow, ID: tasks[i].Message}), append(of, i)
		}
	}
	if len(asks) == 0 {
		return false, nil
	}
	may, err := d.o.Campaigns.Admit(ctx, asks)
	for i, is := range may {
		if !is {
			known[of[i]].Verdict, kept = Kept, true
		}
	}
	return kept, err
}

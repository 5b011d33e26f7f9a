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

// gate returns how often a message of a flow may be fetched now.
func (d *dispatcher) gate(f message.Flow) (g message.Gate) {
	if d.o.Campaigns != nil && f.Campaign != "" {
		g = d.o.Campaigns.Gate(f)
	}
	if d.o.Budgets != nil && d.o.Budgets.Closed(f) {
		g = message.Gate{Closed: true}
	}
	return g
}

// limitCampaigns finds the tasks that the settings of their campaigns keep, so that they use no slot, and reports whether there are some:
// the messages over the cap of a day, and those that were fetched before this worker knew that their flow waits at this number. The next fetch
// knows it. Tasks that a hold keeps do not count. It is one round trip, or none without a cap.
func (d *dispatcher) limitCampaigns(ctx context.Context, n *number, r fetched, tasks []*queue.Fetched, known []Candidate) (kept bool, err error) {
	var asks []message.CapAsk
	var of []int // the index of each in known
	for i := range known {
		c := &known[i]
		if c.Verdict != Sendable {
			continue
		}
		gate := d.gate(c.Flow)
		if !gate.Limited() && !gate.Capped || c.holdOn(n.id, tasks[i].ID, r.holds) != "" {
			continue
		}
		if gate.Limited() && !r.rated[c.Flow.String()] {
			c.Verdict, kept = Kept, true
			continue
		}
		if gate.Capped {
			asks, of = append(asks, message.CapAsk{Flow: c.Flow, ID: tasks[i].Message}), append(of, i)
		}
	}
	if len(asks) == 0 {
		return kept, nil
	}
	may, err := d.o.Campaigns.Admit(ctx, asks)
	if err != nil {
		return kept, err
	}
	for i, is := range may {
		if !is {
			known[of[i]].Verdict, kept = Kept, true
		}
	}
	return kept, nil
}

package repository

import (
	"context"
	"time"

	"sluice/internal/budget"
	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/record"
)

// budgetPause is how long a message waits that is over the budget of its campaign before it tries again. A change of the budgets lets it try
// earlier; this is for money that comes back, because messages are not delivered or free.
const budgetPause = time.Hour

// Budgets counts what messages cost.
type Budgets struct {
	Store *budget.Store
	Over  func(c message.Class) // is called with the class of each message that must wait
}

// Afford is what a dispatcher asks about candidates.
func (b Budgets) Afford(ctx context.Context, now time.Time, some []dispatch.Candidate) ([]time.Time, error) {
	all := make([]budget.Message, len(some))
	for i, c := range some {
		all[i] = budget.Message{ID: c.Known.(*record.Record).ID, Flow: c.Flow, Cost: c.Cost}
	}
	until, err := b.Store.Admit(ctx, now, all, budgetPause)
	for i, at := range until {
		if !at.IsZero() {
			b.Over(some[i].Known.(*record.Record).Class)
		}
	}
	return until, err
}

// over returns the name of a budget that has too little left for a message; empty: there is none.
func (wt *Waiting) over(ctx context.Context, r message.Record) (string, error) {
	if !wt.budgets.Concern(r.Client) {
		return "", nil
	}
	stored, err := wt.named.records.Read(ctx, r.ID)
	if err != nil || stored.Spent > 0 {
		return "", err
	}
	return wt.budgets.Over(ctx, time.Now(), budget.Message{ID: r.ID, Flow: r.Flow(), Cost: stored.Price})
}

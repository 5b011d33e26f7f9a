package repository

import (
	"context"
	"strconv"
	"time"

	"sluice/internal/budget"
	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/record"
)

// Budgets counts what messages cost, for a dispatcher.
type Budgets struct {
	*budget.Store
	Over func(c message.Class) // is called with the class of each message that must wait
}

// Admit counts what the messages of some candidates cost as spent, and returns for each whether it may be sent now.
func (b Budgets) Admit(ctx context.Context, now time.Time, some []dispatch.Candidate) ([]bool, error) {
	all := make([]budget.Message, len(some))
	for i, c := range some {
		r := c.Known.(*record.Record)
		all[i] = budget.Message{ID: r.ID + "." + strconv.Itoa(r.Attempt), Flow: c.Flow, Class: r.Class, Cost: c.Cost} // sent again by an operator it counts again
	}
	may, err := b.Store.Admit(ctx, now, all)
	for i, is := range may {
		if !is {
			b.Over(some[i].Known.(*record.Record).Class)
		}
	}
	return may, err
}

// over returns the budget that has too little left for a message; nil: there is none.
func (wt *Waiting) over(ctx context.Context, r message.Record) (*message.BudgetUse, error) {
	if !wt.o.Budgets.Concern(r.Flow()) {
		return nil, nil
	}
	stored, err := wt.o.Records.Read(ctx, r.ID)
	if err != nil || stored.Spent > 0 || stored.Price == 0 {
		return nil, err
	}
	return wt.o.Budgets.Over(ctx, time.Now(), budget.Message{ID: r.ID, Flow: r.Flow(), Cost: stored.Price})
}

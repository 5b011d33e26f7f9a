package main

import (
	"context"
	"errors"

	"sluice/internal/message"
)

type usageCmd struct {
	Client *string `help:"Only of this client." placeholder:"NAME"`
	From   *string `help:"The first day, by UTC, like 2026-01-01. Default: the first day of this month." placeholder:"DAY"`
	To     *string `help:"The last day, by UTC. Default: today." placeholder:"DAY"`
	Quotas bool    `help:"Show what is used of the quotas and budgets, and how many messages the quotas refused, in place of the usage."`
	apiFlags
}

// Run shows the usage of clients, or their quotas.
func (c usageCmd) Run(ctx context.Context) error {
	if c.Quotas {
		if c.From != nil || c.To != nil {
			return errors.New("--quotas shows the current periods: use it without --from and --to")
		}
		return c.ask(ctx, "GET", query("/v1/quotas", "client", c.Client), nil, read(func(t table, a struct {
			Quotas  []message.QuotaUse
			Budgets []message.BudgetUse
		},
		) {
			t.row("CLIENT", "QUOTA", "USED", "LIMIT", "REFUSED", "BEGINS AGAIN")
			for _, one := range a.Quotas {
				t.row(one.Client, one.Quota, one.Used, one.Limit, one.Refused, clock(one.Until, "-"))
			}
			for _, one := range a.Budgets {
				t.row(one.Client, "budget "+one.Budget, one.Spent, one.Limit, "-", clock(one.Until, "-"))
			}
		}))
	}
	return c.ask(ctx, "GET", query("/v1/usage", "client", c.Client, "from", c.From, "to", c.To), nil, read(func(t table, a struct{ Usage []message.Usage }) {
		t.row("DAY", "CLIENT", "PHONE NUMBER ID", "CATEGORY", "TAKEN", "BILLED")
		for _, one := range a.Usage {
			t.row(one.Day, one.Client, one.Number, one.Category, one.Taken, one.Billed)
		}
	}))
}

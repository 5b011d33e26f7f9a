package main

import (
	"context"

	"sluice/internal/message"
)

type usageCmd struct {
	Client *string `help:"Only of this client." placeholder:"NAME"`
	From   *string `help:"The first day, by UTC, like 2026-01-01. Default: the first day of this month." placeholder:"DAY"`
	To     *string `help:"The last day, by UTC. Default: today." placeholder:"DAY"`
	apiFlags
}

// Run shows the usage of clients.
func (c usageCmd) Run(ctx context.Context) error {
	return c.ask(ctx, "GET", query("/v1/usage", "client", c.Client, "from", c.From, "to", c.To), nil, read(func(t table, a struct{ Usage []message.Usage }) {
		t.row("DAY", "CLIENT", "PHONE NUMBER ID", "CATEGORY", "TAKEN", "BILLED")
		for _, one := range a.Usage {
			t.row(one.Day, one.Client, one.Number, one.Category, one.Taken, one.Billed)
		}
	}))
}

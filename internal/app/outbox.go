package app

import (
	"context"

	"sluice/internal/config"
	"sluice/internal/intake"
	"sluice/internal/outbox"
)

// outbox adds the part that accepts messages from the outbox, if there is one.
func (p *Program) outbox(c config.Outbox, requests *intake.Intake) error {
	if c.URL == "" {
		return nil
	}
	accept := func(ctx context.Context, rows []outbox.Order) ([]outbox.Verdict, error) {
		orders := make([]intake.Order, len(rows))
		for i, r := range rows {
			orders[i] = intake.Order(r)
		}
		all, err := requests.AcceptOrders(ctx, c.APIKey, orders)
		verdicts := make([]outbox.Verdict, len(all))
		for i, v := range all {
			verdicts[i] = outbox.Verdict(v)
		}
		return verdicts, err
	}
	r, err := outbox.New(outbox.Options{URL: string(c.URL), Table: c.Table, Poll: c.Poll, Accept: accept, Log: p.Log, Registerer: p.Registry})
	if err != nil {
		return err
	}
	p.Work(r.Run)
	return nil
}

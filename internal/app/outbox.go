package app

import (
	"context"

	"sluice/internal/config"
	"sluice/internal/intake"
	"sluice/internal/message"
	"sluice/internal/outbox"
)

// outbox adds the part that accepts messages from the outbox, if there is one.
func (p *Program) outbox(c config.Outbox, requests *intake.Intake) error {
	if c.URL == "" {
		return nil
	}
	accept := func(ctx context.Context, orders []message.Order) ([]message.OrderResult, error) {
		return requests.AcceptOrders(ctx, c.APIKey, orders)
	}
	r, err := outbox.New(outbox.Options{URL: string(c.URL), Table: c.Table, Poll: c.Poll, Accept: accept, Log: p.Log, Registerer: p.Registry})
	if err != nil {
		return err
	}
	p.Work(r.Run)
	return nil
}

package app

import (
	"context"

	"sluice/internal/httpapi"
	"sluice/internal/intake"
	"sluice/internal/message"
	"sluice/internal/schedules"
	"sluice/internal/secrets"
)

// schedules returns the schedules, whose messages pass through requests. requests is set before the program runs.
func (p *Program) schedules(box secrets.Box, keys httpapi.Keys, requests **intake.Intake) *schedules.Schedules {
	s := schedules.New(schedules.Options{
		DB: p.DB, Box: box, Keys: keys,
		Check: func(key httpapi.Key, body []byte) (string, string, []message.Problem, httpapi.Refusal) {
			return (*requests).CheckOrder(key, body)
		},
		Recipient: intake.Recipient,
		Accept: func(ctx context.Context, key string, orders []message.Order) ([]message.OrderResult, error) {
			return (*requests).AcceptOrders(ctx, key, orders)
		},
		Log: p.Log, Registerer: p.Registry,
	})
	p.entries.AlsoReencrypt(s.Reencrypt)
	p.Work(s.Run)
	return s
}

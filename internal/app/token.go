package app

import (
	"context"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

// watchedGraph is Meta's API for the sender. It reports the outcome of each message with the access token
// that the number had, and how long the request took. What Meta refused because of its route goes by another one.
type watchedGraph struct {
	*cloudapi.Client
	token    func(number string) (string, error)
	answered func(number, token string, out message.Outcome)
	ended    func(number string, out message.Outcome, latency time.Duration)
	rerouted func(q message.Request, out message.Outcome) message.Outcome
}

// Send sends a message, see cloudapi.Client.Send.
func (g watchedGraph) Send(ctx context.Context, q message.Request, ready func() error) message.Outcome {
	token, err := g.token(q.Number)
	var start time.Time
	out := g.Client.Send(ctx, q, func() error {
		if err := ready(); err != nil {
			return err
		}
		start = time.Now()
		return nil
	})
	if !start.IsZero() {
		g.ended(q.Number, out, time.Since(start))
	}
	if err == nil {
		g.answered(q.Number, token, out)
	}
	return g.rerouted(q, out)
}

package app

import (
	"context"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

// watchedGraph is Meta's API for the sender. It reports the outcome of each message with the access token
// that the number had, and how long the request took.
type watchedGraph struct {
	*cloudapi.Client
	token    func(number string) (string, error)
	answered func(number, token string, out message.Outcome)
	ended    func(number string, out message.Outcome, latency time.Duration)
}

// Send sends a message, see cloudapi.Client.Send.
func (g watchedGraph) Send(ctx context.Context, number string, body []byte, ready func() error) message.Outcome {
	token, err := g.token(number)
	var start time.Time
	out := g.Client.Send(ctx, number, body, func() error {
		if err := ready(); err != nil {
			return err
		}
		start = time.Now()
		return nil
	})
	if !start.IsZero() {
		g.ended(number, out, time.Since(start))
	}
	if err == nil {
		g.answered(number, token, out)
	}
	return out
}

package app

import (
	"context"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

// watchedGraph is Meta's API for the sender. It reports the outcome of each message with the access token
// that the number had.
type watchedGraph struct {
	*cloudapi.Client
	token    func(number string) (string, error)
	answered func(number, token string, out message.Outcome)
}

// Send sends a message, see cloudapi.Client.Send.
func (g watchedGraph) Send(ctx context.Context, number string, body []byte, ready func() error) message.Outcome {
	token, err := g.token(number)
	out := g.Client.Send(ctx, number, body, ready)
	if err == nil {
		g.answered(number, token, out)
	}
	return out
}

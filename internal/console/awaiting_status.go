package console

import (
	"context"
	"net/http"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// awaitingStatusList is the answer of GET /v1/awaiting-status.
type awaitingStatusList struct {
	Messages []awaitingStatusMessage `json:"messages" doc:"The messages that wait longest come first."`
}

// awaitingStatusMessage is a message that Meta accepted and sent no status for.
type awaitingStatusMessage struct {
	message.Context
	WAMID   string    `json:"wamid,omitempty" doc:"Meta's id of the message."`
	Attempt int       `json:"attempt" doc:"The number of the attempt that Meta accepted."`
	Since   time.Time `json:"since,omitzero" doc:"When Meta accepted the message."`
	Reason  string    `json:"reason,omitempty" doc:"Why Meta delays the message, if Meta said so: held_for_quality_assessment or paused."`
}

func (c *Console) listAwaitingStatus(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	number, limit, refused := c.page(r, key)
	if refused != nil {
		return nil, refused
	}
	all, err := c.o.Lists.AwaitingStatus(ctx, number, c.now().Add(-message.ReportsWithin), limit)
	if err != nil {
		return nil, c.unavailable("list messages awaiting status", err)
	}
	shown := awaitingStatusList{[]awaitingStatusMessage{}}
	for _, rec := range all {
		if key.Covers(rec.From) {
			shown.Messages = append(shown.Messages, awaitingStatusMessage{rec.Context, rec.WAMID, rec.Attempt, last(rec), rec.Reason})
		}
	}
	return shown, nil
}

// last returns when a message came into its state.
func last(r message.Record) time.Time {
	if n := len(r.Timeline); n > 0 {
		return r.Timeline[n-1].At.UTC()
	}
	return time.Time{}
}

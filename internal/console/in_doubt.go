package console

import (
	"context"
	"net/http"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// inDoubtList is the answer of GET /v1/in-doubt.
type inDoubtList struct {
	Messages []inDoubtMessage `json:"messages" doc:"The messages that wait longest come first."`
}

// inDoubtMessage is a message of which it is unknown whether Meta accepted it.
type inDoubtMessage struct {
	message.Context
	State  message.State `json:"state" doc:"in_doubt: Sluice waits for a status from Meta. parked: an operator must decide."`
	Reason string        `json:"reason,omitempty" doc:"Why the result of the attempt is unknown."`
	advice
	Attempt   int       `json:"attempt" doc:"The number of the attempt whose result is unknown."`
	Since     time.Time `json:"since,omitzero" doc:"When the message came into this state."`
	Until     time.Time `json:"until,omitzero" doc:"in_doubt: the end of the in-doubt window. Then the in-doubt policy of the class decides."`
	ExpiresAt time.Time `json:"expires_at" doc:"No attempt starts after this time."`
}

func (c *Console) listInDoubt(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	number, limit, refused := c.page(r, key)
	if refused != nil {
		return nil, refused
	}
	all, err := c.o.Lists.InDoubt(ctx, number, limit)
	if err != nil {
		return nil, c.unavailable("list in-doubt messages", err)
	}
	shown := inDoubtList{Messages: []inDoubtMessage{}}
	for _, rec := range all {
		if !key.Covers(rec.From) {
			continue
		}
		d := inDoubtMessage{
			Context: rec.Context, State: rec.State, Reason: rec.Reason, advice: c.advise(rec.Code), Attempt: rec.Attempt,
			Since: last(rec), ExpiresAt: rec.ExpiresAt.UTC(),
		}
		if rec.State == message.InDoubt {
			d.Until = rec.NextAt.UTC()
		}
		shown.Messages = append(shown.Messages, d)
	}
	return shown, nil
}

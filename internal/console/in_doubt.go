package console

import (
	"context"
	"errors"
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
	State     message.State `json:"state" doc:"in_doubt: Sluice waits for a status from Meta. parked: an operator must decide."`
	Reason    string        `json:"reason,omitempty" doc:"Why the result of the attempt is unknown."`
	Code      int           `json:"code,omitempty" doc:"Meta's error code, if there was an answer."`
	Attempt   int           `json:"attempt" doc:"The number of the attempt whose result is unknown."`
	Since     time.Time     `json:"since,omitzero" doc:"When the message came into this state."`
	Until     time.Time     `json:"until,omitzero" doc:"in_doubt: the end of the in-doubt window. Then the in-doubt policy of the class decides."`
	ExpiresAt time.Time     `json:"expires_at" doc:"No attempt starts after this time."`
}

// resolveRequest is the body of POST /v1/in-doubt/{id}/resolve.
type resolveRequest struct {
	Resolution string `json:"resolution" doc:"sent: Meta accepted the message. not-sent: Meta did not accept it, and Sluice sends it again before its deadline. cancel: Sluice does not send it again."`
	order
}

// resolveResult is its answer.
type resolveResult struct {
	ID    string        `json:"id" doc:"Sluice's id of the message."`
	State message.State `json:"state" doc:"The state of the message now."`
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
			Context: rec.Context, State: rec.State, Reason: rec.Reason, Code: rec.Code, Attempt: rec.Attempt,
			Since: last(rec), ExpiresAt: rec.ExpiresAt.UTC(),
		}
		if rec.State == message.InDoubt {
			d.Until = rec.NextAt.UTC()
		}
		shown.Messages = append(shown.Messages, d)
	}
	return shown, nil
}

func (c *Console) resolve(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	id := r.PathValue("id")
	if number, ok := message.Number(id); !ok || !key.Covers(number) {
		return nil, httpapi.Refuse("not_found")
	}
	var ask resolveRequest
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	refused := ask.signed()
	if ask.Resolution != message.VerbSent && ask.Resolution != message.VerbNotSent && ask.Resolution != message.VerbCancel {
		refused = append(refused, httpapi.Problem("resolution", "resolution_unknown"))
	}
	if refused != nil {
		return nil, refused
	}
	for {
		o, err := c.o.Messages.ReadOpen(ctx, id)
		if errors.Is(err, message.ErrNotFound) {
			return nil, httpapi.Refuse("not_found")
		}
		if err != nil {
			return nil, c.unavailable("resolve in-doubt message", err)
		}
		m := settle(o, ask.Resolution, c.now())
		if o.State != message.Parked && o.State != message.InDoubt {
			if o.State == m.To && o.Reason == message.ReasonResolved {
				return resolveResult{id, o.State}, nil // the same decision again
			}
			return nil, httpapi.Refuse("not_in_doubt")
		}
		d := ask.entry(ask.Resolution, id, key)
		m.Audit = &d
		done, err := c.o.Messages.Move(ctx, o, m)
		if err != nil {
			return nil, c.unavailable("resolve in-doubt message", err)
		}
		if done {
			c.orders.WithLabelValues(ask.Resolution).Inc()
			return resolveResult{id, m.To}, nil
		}
		// The message changed meanwhile: a status may have settled it.
	}
}

// settle returns the move that carries out an operator's decision about an in-doubt message. A message is not
// sent after its deadline.
func settle(o message.Open, resolution string, now time.Time) message.Move {
	m := message.Move{Reason: message.ReasonResolved}
	switch {
	case resolution == message.VerbSent:
		m.To = message.Submitted
	case resolution == message.VerbCancel:
		m.To = message.Cancelled
	case now.Before(o.ExpiresAt):
		m.To = message.Queued
	default:
		m.To, m.Keep = message.Expired, true
	}
	return m
}

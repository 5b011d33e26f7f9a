package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// doubtList is the answer of GET /v1/doubts.
type doubtList struct {
	Doubts []doubt `json:"doubts" doc:"Those that wait longest first."`
}

// doubt is a message of which nobody knows whether Meta took it.
type doubt struct {
	message.Context
	State     message.State `json:"state" doc:"in_doubt: evidence is awaited; parked: a person decides."`
	Reason    string        `json:"reason,omitempty" doc:"What made it a doubt."`
	Code      int           `json:"code,omitempty" doc:"Meta's error code, if there was an answer."`
	Attempt   int           `json:"attempt" doc:"Which attempt it is about."`
	Since     time.Time     `json:"since,omitzero" doc:"Since when it is in this state."`
	Until     time.Time     `json:"until,omitzero" doc:"In doubt: when the policy of its class decides."`
	ExpiresAt time.Time     `json:"expires_at" doc:"No attempt starts after this."`
}

// resolution is the body of POST /v1/doubts/{id}/resolve.
type resolution struct {
	As string `json:"as" doc:"sent: Meta took it; not-sent: it did not, and it is sent again while its deadline lasts; cancel: whether or not, it is not sent again."`
	order
}

// resolved is its answer.
type resolved struct {
	ID    string        `json:"id" doc:"Our id of the message."`
	State message.State `json:"state" doc:"Where it is now."`
}

func (c *Console) listDoubts(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	number, limit, refused := c.page(r, key)
	if refused != nil {
		return nil, refused
	}
	all, err := c.o.Lists.InDoubt(ctx, number, limit)
	if err != nil {
		return nil, c.unavailable("list doubts", err)
	}
	shown := doubtList{Doubts: []doubt{}}
	for _, rec := range all {
		if !key.Covers(rec.From) {
			continue
		}
		d := doubt{
			Context: rec.Context, State: rec.State, Reason: rec.Reason, Code: rec.Code, Attempt: rec.Attempt,
			Since: last(rec), ExpiresAt: rec.ExpiresAt.UTC(),
		}
		if rec.State == message.InDoubt {
			d.Until = rec.NextAt.UTC()
		}
		shown.Doubts = append(shown.Doubts, d)
	}
	return shown, nil
}

func (c *Console) resolve(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	id := r.PathValue("id")
	if number, ok := message.Number(id); !ok || !key.Covers(number) {
		return nil, httpapi.Refuse("not_found")
	}
	var ask resolution
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	refused := ask.signed()
	if ask.As != message.VerbSent && ask.As != message.VerbNotSent && ask.As != message.VerbCancel {
		refused = append(refused, httpapi.Problem("as", "as_unknown"))
	}
	if refused != nil {
		return nil, refused
	}
	for {
		o, err := c.o.Messages.Look(ctx, id)
		if errors.Is(err, message.ErrNotFound) {
			return nil, httpapi.Refuse("not_found")
		}
		if err != nil {
			return nil, c.unavailable("resolve", err)
		}
		m := settle(o, ask.As, time.Now())
		if o.State != message.Parked && o.State != message.InDoubt {
			if o.State == m.To && o.Reason == message.ReasonResolved {
				return resolved{id, o.State}, nil // a repeat
			}
			return nil, httpapi.Refuse("not_in_doubt")
		}
		d := ask.deed(ask.As, id, key)
		m.Deed = &d
		done, err := c.o.Messages.Move(ctx, o, m)
		if err != nil {
			return nil, c.unavailable("resolve", err)
		}
		if done {
			c.orders.WithLabelValues(ask.As).Inc()
			return resolved{id, m.To}, nil
		}
		// Something happened to it since: it may have settled itself.
	}
}

// settle says what becomes of a doubt by a person's word. Nothing is sent after its deadline.
func settle(o message.Open, as string, now time.Time) message.Move {
	m := message.Move{Reason: message.ReasonResolved}
	switch {
	case as == message.VerbSent:
		m.To = message.Submitted
	case as == message.VerbCancel:
		m.To = message.Cancelled
	case now.Before(o.ExpiresAt):
		m.To = message.Queued
	default:
		m.To, m.Keep = message.Expired, true
	}
	return m
}

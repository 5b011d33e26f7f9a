package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// resendOneRequest is the body of POST /v1/messages/{id}/resend.
type resendOneRequest struct {
	Extend string `json:"extend,omitempty" doc:"Give the message a new deadline, this long from now, for example 2h. Needed if its deadline has passed."`
	order
}

// resendOneResult is its answer.
type resendOneResult struct {
	ID        string        `json:"id" doc:"Sluice's id of the message."`
	State     message.State `json:"state" doc:"Always queued."`
	ExpiresAt time.Time     `json:"expires_at" doc:"No attempt starts after this time."`
}

// cancelRequest is the body of POST /v1/messages/{id}/cancel.
type cancelRequest struct{ order }

// cancelResult is its answer.
type cancelResult struct {
	ID    string        `json:"id" doc:"Sluice's id of the message."`
	State message.State `json:"state" doc:"Always cancelled."`
}

// cancel cancels a message that is not sent yet, as the API of callers does, with an entry in the audit log.
func (c *Console) cancel(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	id, refused := messageOf(r, key)
	if refused != nil {
		return nil, refused
	}
	var ask cancelRequest
	refused = httpapi.ReadJSON(w, r, &ask)
	if refused == nil {
		refused = ask.signed()
	}
	if refused != nil {
		return nil, refused
	}
	for at := id; ; {
		o, err := c.o.Messages.ReadOpen(ctx, at)
		switch {
		case errors.Is(err, message.ErrNotFound) && at != id: // it is there in a moment
			return nil, c.unavailable("cancel message", err)
		case errors.Is(err, message.ErrNotFound):
			return nil, httpapi.Refuse("not_found")
		case err != nil:
			return nil, c.unavailable("cancel message", err)
		case o.MovedTo != "":
			at = o.MovedTo
			continue
		case o.State == message.Cancelled:
			return cancelResult{id, o.State}, nil
		case o.State == message.Attempting, o.State == message.InDoubt:
			return nil, httpapi.Refuse("in_flight")
		case o.State.AtMeta():
			return nil, httpapi.Refuse("already_sent")
		case o.State != message.Queued && o.State != message.Parked:
			return nil, httpapi.Refuse("already_final")
		}
		d := ask.entry(message.VerbCancel, at, key)
		done, err := c.o.Messages.Move(ctx, o, message.Move{To: message.Cancelled, Reason: message.ReasonCaller, Audit: &d})
		if err != nil {
			return nil, c.unavailable("cancel message", err)
		}
		if done {
			c.orders.WithLabelValues(message.VerbCancel).Inc()
			return cancelResult{id, message.Cancelled}, nil
		}
		// The message changed meanwhile. Each round has seen it change, so the loop ends.
	}
}

// resendOne sends one message again that ended undelivered.
func (c *Console) resendOne(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	id, refused := messageOf(r, key)
	if refused != nil {
		return nil, refused
	}
	var ask resendOneRequest
	refused = httpapi.ReadJSON(w, r, &ask)
	if refused == nil {
		refused = ask.signed()
	}
	var extend time.Duration
	if refused == nil && ask.Extend != "" {
		extend, refused = span("extend", ask.Extend)
	}
	if refused != nil {
		return nil, refused
	}
	e, err := c.o.Messages.ReadEnded(ctx, id)
	switch {
	case errors.Is(err, message.ErrNotFound):
		return nil, httpapi.Refuse("not_found")
	case err != nil:
		return nil, c.unavailable("resend message", err)
	}
	now := c.now()
	d := ask.entry(message.VerbResend, id, key)
	m := message.Move{To: message.Queued, Reason: message.ReasonReplayed, ExpiresAt: extended(e.Open, now, extend), Audit: &d}
	switch {
	case !slices.Contains(message.ResendStates(), e.State):
		return nil, httpapi.Refuse("not_ended")
	case e.Unclear():
		return nil, httpapi.Refuse("maybe_delivered")
	case !e.Kept:
		return nil, httpapi.Refuse("content_dropped")
	case m.ExpiresAt.IsZero() && !now.Before(e.ExpiresAt):
		return nil, httpapi.RefuseAt("extend", "deadline_passed")
	}
	err = c.o.Audit.Add(ctx, d)
	moved := false
	if err == nil {
		moved, err = c.o.Messages.Move(ctx, e.Open, m)
	}
	switch {
	case err != nil:
		return nil, c.unavailable("resend message", err)
	case !moved: // it changed meanwhile: a status came, or another operator sent it again
		return nil, httpapi.Refuse("not_ended")
	}
	c.orders.WithLabelValues(message.VerbResend).Inc()
	until := e.ExpiresAt
	if !m.ExpiresAt.IsZero() {
		until = m.ExpiresAt
	}
	return resendOneResult{id, message.Queued, until.UTC()}, nil
}

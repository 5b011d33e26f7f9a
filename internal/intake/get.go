package intake

import (
	"context"
	"errors"
	"net/http"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// record is a message.Record as the API shows it.
type record struct {
	message.Context
	State      message.State `json:"state"`
	Reason     string        `json:"reason,omitempty" doc:"Why, when the state does not say it."`
	Code       int           `json:"code,omitempty" doc:"Meta's error code."`
	Error      *metaError    `json:"error,omitempty" doc:"What that code means."`
	Attempt    int           `json:"attempt" doc:"Attempts started so far."`
	WAMID      string        `json:"wamid,omitempty" doc:"Meta's id of the message."`
	AcceptedAt time.Time     `json:"accepted_at,omitzero"`
	SendAt     time.Time     `json:"send_at,omitzero" doc:"Not before."`
	ExpiresAt  time.Time     `json:"expires_at,omitzero" doc:"No attempt starts after this."`
	NextAt     time.Time     `json:"next_at,omitzero" doc:"When the next thing happens by itself: a retry, the end of a doubt's window."`
	Duplicates int           `json:"duplicates" doc:"Proven second acceptances by Meta."`
	Timeline   []step        `json:"timeline" doc:"The last 20 transitions, oldest first."`
}

// metaError tells people what Meta's code means and what to do.
type metaError struct {
	Code   int    `json:"code"`
	Title  string `json:"title" doc:"What the code means."`
	Advice string `json:"advice" doc:"What to do about it."`
}

type step struct {
	At      time.Time     `json:"at"`
	State   message.State `json:"state"`
	Attempt int           `json:"attempt,omitempty"`
	Code    int           `json:"code,omitempty"`
	Reason  string        `json:"reason,omitempty"`
}

// get serves GET /v1/messages/{id}.
func (in *Intake) get(w http.ResponseWriter, r *http.Request) {
	id, refused := in.named(r, httpapi.ScopeRead)
	if refused != nil {
		refused.Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	rec, refused := in.find(ctx, id)
	if refused != nil {
		refused.Write(w)
		return
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, in.record(rec))
}

func (in *Intake) find(ctx context.Context, id string) (message.Record, refusal) {
	rec, err := in.o.Reader.Get(ctx, id)
	switch {
	case errors.Is(err, message.ErrNotFound):
		return rec, refuse("not_found")
	case err != nil:
		in.o.Log.Error("message not read", "msg_id", id, "err", err)
		return rec, refuse("store_unavailable")
	}
	return rec, nil
}

func (in *Intake) record(rec message.Record) record {
	shown := record{
		Context: rec.Context, State: rec.State, Reason: rec.Reason, Code: rec.Code, Attempt: rec.Attempt,
		WAMID: rec.WAMID, AcceptedAt: rec.AcceptedAt.UTC(), SendAt: rec.SendAt.UTC(), ExpiresAt: rec.ExpiresAt.UTC(),
		NextAt: rec.NextAt.UTC(), Duplicates: rec.Duplicates, Timeline: []step{},
	}
	shown.Error = in.metaError(rec.Code)
	for _, s := range rec.Timeline {
		shown.Timeline = append(shown.Timeline, step{s.At.UTC(), s.State, s.Attempt, s.Code, s.Reason})
	}
	return shown
}

// metaError explains a code of Meta's; nil when there is none, or nobody who could.
func (in *Intake) metaError(code int) *metaError {
	if code == 0 || in.o.Explain == nil {
		return nil
	}
	title, advice := in.o.Explain(code)
	return &metaError{code, title, advice}
}

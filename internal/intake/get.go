package intake

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// record is a message.Record as the API shows it.
type record struct {
	message.Context
	State      message.State `json:"state" doc:"Where it is; GET /v1/states says what each state means."`
	Final      bool          `json:"final" doc:"Nothing more is expected: Sluice does not send the message again by itself. Meta may still report more, as read after delivered, and an operator may send it again."`
	Reason     string        `json:"reason,omitempty" doc:"Why, when the state does not say it."`
	Code       int           `json:"code,omitempty" doc:"Meta's error code."`
	Error      *metaError    `json:"error,omitempty" doc:"What that code means, and what Meta said."`
	Attempt    int           `json:"attempt" doc:"Attempts started so far."`
	WAMID      string        `json:"wamid,omitempty" doc:"Meta's id of the message."`
	AcceptedAt time.Time     `json:"accepted_at,omitzero" doc:"When it was accepted."`
	SendAt     time.Time     `json:"send_at,omitzero" doc:"Not before."`
	ExpiresAt  time.Time     `json:"expires_at,omitzero" doc:"No attempt starts after this."`
	NextAt     time.Time     `json:"next_at,omitzero" doc:"When the next thing happens by itself: a retry, the end of a doubt's window."`
	Duplicates int           `json:"duplicates" doc:"Proven second acceptances by Meta."`
	KeyUntil   time.Time     `json:"key_until,omitzero" doc:"The time of the record is over: this is what is left of it, until then."`
	Timeline   []step        `json:"timeline" doc:"The last 20 transitions, oldest first."`
}

// metaError tells people what Meta refused or reported, and what to do.
type metaError struct {
	Code   *int   `json:"code,omitempty" doc:"Meta's error code; absent when the answer had none."`
	Title  string `json:"title" doc:"What the code means: in Meta's own words when docs/errors.md does not list it."`
	Advice string `json:"advice" doc:"What to do about it."`
	message.ErrorDetail
}

type step struct {
	At      time.Time     `json:"at" doc:"When."`
	State   message.State `json:"state" doc:"What it became."`
	Attempt int           `json:"attempt,omitempty" doc:"By which attempt."`
	Code    int           `json:"code,omitempty" doc:"Meta's error code."`
	Reason  string        `json:"reason,omitempty" doc:"Why, when the state does not say it."`
}

// about serves a question about one message: by its record, show makes the answer.
func (in *Intake) about(show func(ctx context.Context, rec message.Record) (any, refusal)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
		defer cancel()
		var rec message.Record
		var answer any
		id, refused := in.named(r, httpapi.ScopeRead)
		if refused == nil {
			rec, refused = in.find(ctx, id)
		}
		if refused == nil {
			answer, refused = show(ctx, rec)
		}
		if refused != nil {
			refused.Write(w)
			return
		}
		httpapi.WriteJSON(w, "application/json", http.StatusOK, answer)
	}
}

// get answers GET /v1/messages/{id}.
func (in *Intake) get(_ context.Context, rec message.Record) (any, refusal) {
	return in.record(rec), nil
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
		Context: rec.Context, State: rec.State, Final: rec.State.Final(), Reason: rec.Reason, Code: rec.Code, Attempt: rec.Attempt,
		WAMID: rec.WAMID, AcceptedAt: rec.AcceptedAt.UTC(), SendAt: rec.SendAt.UTC(), ExpiresAt: rec.ExpiresAt.UTC(),
		NextAt: rec.NextAt.UTC(), Duplicates: rec.Duplicates, KeyUntil: rec.KeyUntil.UTC(), Timeline: []step{},
	}
	shown.Error = in.metaError(rec)
	for _, s := range rec.Timeline {
		shown.Timeline = append(shown.Timeline, step{s.At.UTC(), s.State, s.Attempt, s.Code, s.Reason})
	}
	return shown
}

// metaError explains what Meta said of a message last; nil when there is no error.
func (in *Intake) metaError(rec message.Record) *metaError {
	coded := message.HasCode(rec.Code, rec.Reason)
	if !coded && rec.Detail == (message.ErrorDetail{}) {
		return nil
	}
	e := &metaError{ErrorDetail: rec.Detail}
	if coded {
		e.Code = &rec.Code
		if in.o.Explain != nil {
			e.Title, e.Advice = in.o.Explain(rec.Code)
		}
	}
	switch { // what Sluice would do about such an answer it does no more
	case !in.o.Passes(rec.Code):
	case rec.State == message.Failed:
		e.Advice = "Meta took the message and did not deliver it, for a reason that passes. Sluice does not send it again: send it again, under another key, while it is of use."
	case rec.State == message.Dead:
		e.Advice = "The message was not delivered, for a reason that passes. Replay it while it is of use."
	}
	if e.Title == "" {
		e.Title = codePrefix.ReplaceAllString(rec.Detail.Message, "")
	}
	if e.Advice == "" {
		e.Advice = "docs/errors.md does not list it: see message and details."
	}
	return e
}

// codePrefix is what Meta puts in front of its messages: "(#131026) ".
var codePrefix = regexp.MustCompile(`^\(#\d+\) `)

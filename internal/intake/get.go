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
	State      message.State   `json:"state" doc:"The state of the message. GET /v1/states describes the states."`
	Final      bool            `json:"final" doc:"Whether the state is final: Sluice does not send the message again by itself. Meta can still report more, for example read after delivered, and an operator can send the message again."`
	Reason     string          `json:"reason,omitempty" doc:"Why the message is in this state."`
	Code       int             `json:"code,omitempty" doc:"Meta's error code."`
	Error      *metaError      `json:"error,omitempty" doc:"What the code means, what to do, and Meta's own text."`
	Attempt    int             `json:"attempt" doc:"Number of attempts that have started."`
	WAMID      string          `json:"wamid,omitempty" doc:"Meta's id of the message."`
	AcceptedAt time.Time       `json:"accepted_at,omitzero" doc:"When the message was accepted."`
	SendAt     time.Time       `json:"send_at,omitzero" doc:"The message is not sent before this time."`
	ExpiresAt  time.Time       `json:"expires_at,omitzero" doc:"No attempt starts after this time."`
	NextAt     time.Time       `json:"next_at,omitzero" doc:"When the next step happens by itself: a retry, the end of the in-doubt window, or the end of the wait for another message."`
	After      *message.After  `json:"after,omitempty" doc:"The message waits for another message. Absent when it does not wait, or not any more."`
	MovedTo    string          `json:"moved_to,omitempty" doc:"With the reason moved: the id of the message of another number that has taken the place of this one."`
	Followers  []message.After `json:"followers,omitempty" doc:"The messages that wait for this one, each with the state that it waits for."`
	Duplicates int             `json:"duplicates" doc:"How many extra times Meta accepted the message, as Meta's statuses prove. A repeated request of yours does not count."`
	KeyUntil   time.Time       `json:"key_until,omitzero" doc:"Present only when the record was removed. Until this time Sluice remembers the state and the key."`
	Timeline   []timelineEntry `json:"timeline" doc:"The last 20 state changes. The oldest comes first."`
}

// metaError explains an error of Meta, and what to do about it.
type metaError struct {
	Code   *int   `json:"code,omitempty" doc:"Meta's error code; absent when the answer had none."`
	Title  string `json:"title" doc:"What the code means, or Meta's own text if docs/errors.md does not list the code."`
	Advice string `json:"advice" doc:"What to do about it."`
	message.ErrorDetail
}

type timelineEntry struct {
	At      time.Time     `json:"at" doc:"When the state changed."`
	State   message.State `json:"state" doc:"The new state."`
	Attempt int           `json:"attempt,omitempty" doc:"The number of the attempt that changed it."`
	Code    int           `json:"code,omitempty" doc:"Meta's error code."`
	Title   string        `json:"title,omitempty" doc:"What the code means."`
	Reason  string        `json:"reason,omitempty" doc:"Why the message is in this state."`
}

// about returns a handler of a request about one message. show makes the answer from the record.
func (in *Intake) about(show func(ctx context.Context, rec message.Record) (any, refusal)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
		defer cancel()
		var rec message.Record
		var answer any
		id, refused := in.named(r, httpapi.ScopeRead, httpapi.ScopeConsole)
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
		in.o.Log.Error("cannot read message", "message_id", id, "err", err)
		return rec, refuse("store_unavailable")
	}
	return rec, nil
}

func (in *Intake) record(rec message.Record) record {
	shown := record{
		Context: rec.Context, State: rec.State, Final: rec.State.Final(), Reason: rec.Reason, Code: rec.Code, Attempt: rec.Attempt,
		WAMID: rec.WAMID, AcceptedAt: rec.AcceptedAt.UTC(), SendAt: rec.SendAt.UTC(), ExpiresAt: rec.ExpiresAt.UTC(),
		NextAt: rec.NextAt.UTC(), Followers: rec.Followers, MovedTo: rec.MovedTo, Duplicates: rec.Duplicates, KeyUntil: rec.KeyUntil.UTC(), Timeline: []timelineEntry{},
	}
	shown.Error = in.metaError(rec)
	if rec.After.ID != "" {
		shown.After = &rec.After
	}
	for _, s := range rec.Timeline {
		entry := timelineEntry{At: s.At.UTC(), State: s.State, Attempt: s.Attempt, Code: s.Code, Reason: s.Reason}
		if s.Code != 0 && in.o.Explain != nil {
			entry.Title, _ = in.o.Explain(s.Code)
		}
		shown.Timeline = append(shown.Timeline, entry)
	}
	return shown
}

// metaError explains Meta's last error for a message; nil: there is none.
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
	switch { // the advice of the catalogue is for codes in answers, after which Sluice retries
	case !in.o.Passes(rec.Code):
	case rec.State == message.Failed && rec.Reason == message.ReasonUndetermined:
		e.Advice = "Meta answered the last attempt with this code. It is not known whether Meta accepted the message. Sluice does not send it again."
	case rec.State == message.Expired:
		e.Advice = "Meta answered the last attempt with this code, for a temporary reason. If the message is still useful, send it again."
	case rec.State == message.Failed:
		e.Advice = "Meta accepted the message and did not deliver it, for a temporary reason. Sluice does not send it again. If it is still useful, send it again with another key."
	case rec.State == message.Dead:
		e.Advice = "The message was not delivered, for a temporary reason. If it is still useful, replay it."
	}
	if e.Title == "" {
		e.Title = codePrefix.ReplaceAllString(rec.Detail.Message, "")
	}
	if e.Advice == "" {
		e.Advice = "docs/errors.md does not list this code. Read message and details."
	}
	return e
}

// codePrefix is the code at the start of Meta's error messages: "(#131026) ".
var codePrefix = regexp.MustCompile(`^\(#\d+\) `)

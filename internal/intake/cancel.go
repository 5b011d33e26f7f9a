package intake

import (
	"context"
	"errors"
	"net/http"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// cancelled is the answer of POST /v1/messages/{id}/cancel.
type cancelled struct {
	ID    string        `json:"id" doc:"Sluice's id of the message."`
	State message.State `json:"state" doc:"Always cancelled."`
}

// cancel serves POST /v1/messages/{id}/cancel.
func (in *Intake) cancel(w http.ResponseWriter, r *http.Request) {
	id, refused := in.named(r, httpapi.ScopeCancel)
	if refused == nil {
		refused = httpapi.ReadNothing(w, r)
	}
	if refused == nil {
		refused = in.cancelMessage(r.Context(), id)
	}
	if refused != nil {
		in.metrics.cancelled(refused)
		refused.Write(w)
		return
	}
	in.metrics.cancelled(nil)
	httpapi.WriteJSON(w, "application/json", http.StatusOK, cancelled{id, message.Cancelled})
}

// cancelMessage cancels a message. It is nil if the message is cancelled.
func (in *Intake) cancelMessage(ctx context.Context, id string) refusal {
	ctx, stop := context.WithTimeout(ctx, storeTimeout)
	defer stop()
	st, err := in.o.Canceller.Cancel(ctx, id)
	switch {
	case errors.Is(err, message.ErrNotFound):
		return refuse("not_found")
	case err != nil:
		in.o.Log.Error("cannot cancel message", "message_id", id, "err", err)
		return refuse("store_unavailable")
	}
	switch {
	case st == message.Cancelled:
		return nil
	case st == message.Attempting, st == message.InDoubt:
		return refuse("in_flight")
	case st.AtMeta():
		return refuse("already_sent")
	}
	return refuse("already_final")
}

// named returns the message id in the path of a request. It refuses a request whose API key has none of the
// scopes, and answers not_found for messages of numbers that the key does not cover, and of other clients.
func (in *Intake) named(r *http.Request, scopes ...string) (string, refusal) {
	key, refused := in.o.Keys.Authorize(r, scopes...)
	if refused != nil {
		return "", refused
	}
	id := r.PathValue("id")
	if number, ok := message.Number(id); !ok || !key.Covers(number) {
		return "", refuse("not_found")
	}
	if key.Client == "" {
		return id, nil
	}
	ctx, stop := context.WithTimeout(r.Context(), storeTimeout)
	defer stop()
	rec, refused := in.find(ctx, id)
	if refused == nil && !key.Sees(rec.Client, rec.From) {
		refused = refuse("not_found")
	}
	return id, refused
}

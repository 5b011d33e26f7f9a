package intake

import (
	"context"
	"net/http"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// found is what is answered of a reference.
type found struct {
	Messages []record `json:"messages" doc:"The latest first."`
}

// byRef serves GET /v1/messages?from=&ref=.
func (in *Intake) byRef(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead)
	if refused != nil {
		refused.Write(w)
		return
	}
	from, ref := r.URL.Query().Get("from"), r.URL.Query().Get("ref")
	switch {
	case from == "":
		refused = refuseAt("from", "from_missing")
	case !message.IsNumberID(from):
		refused = refuseAt("from", "from_invalid")
	case !key.Covers(from):
		refused = refuseAt("from", "phone_not_found")
	case !label(ref, maxRef):
		refused = refuseAt("ref", "ref_invalid")
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	records, err := in.o.Finder.ByRef(ctx, from, ref)
	if err != nil {
		in.o.Log.Error("messages not found by their reference", "phone_number_id", from, "err", err)
		refuse("store_unavailable").Write(w)
		return
	}
	shown := found{Messages: []record{}}
	for _, rec := range records {
		shown.Messages = append(shown.Messages, in.record(rec))
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, shown)
}

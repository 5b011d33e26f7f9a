package intake

import (
	"context"
	"net/http"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// messageList is the answer of GET /v1/messages.
type messageList struct {
	Messages []record `json:"messages" doc:"The latest message comes first."`
}

// byRef serves GET /v1/messages?phone_number_id=&ref=.
func (in *Intake) byRef(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead)
	if refused != nil {
		refused.Write(w)
		return
	}
	number, ref := r.URL.Query().Get("phone_number_id"), r.URL.Query().Get("ref")
	switch {
	case number == "":
		refused = refuseAt("phone_number_id", "phone_number_id_missing")
	case !message.IsNumberID(number):
		refused = refuseAt("phone_number_id", "phone_number_id_invalid")
	case !key.Covers(number):
		refused = refuseAt("phone_number_id", "phone_number_id_not_found")
	case !label(ref, maxRef):
		refused = refuseAt("ref", "ref_invalid")
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	records, err := in.o.Finder.ByRef(ctx, number, ref)
	if err != nil {
		in.o.Log.Error("cannot find messages by their reference", "phone_number_id", number, "err", err)
		refuse("store_unavailable").Write(w)
		return
	}
	shown := messageList{Messages: []record{}}
	for _, rec := range records {
		shown.Messages = append(shown.Messages, in.record(rec))
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, shown)
}

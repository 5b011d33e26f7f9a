package console

import (
	"context"
	"net/http"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// noteRequest is the body of POST /v1/audit.
type noteRequest struct {
	Target string `json:"target" doc:"What was done, to what: 1 to 200 characters."`
	order
}

// note writes an entry of the audit log about something that was done elsewhere.
func (c *Console) note(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask noteRequest
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	refused := ask.signed()
	if !words(ask.Target, 200) {
		refused = append(refused, httpapi.Problem("target", "target_missing"))
	}
	if refused != nil {
		return nil, refused
	}
	d := ask.entry(message.VerbNote, ask.Target, key)
	if err := c.o.Audit.Add(ctx, d); err != nil {
		return nil, c.unavailable("write audit log", err)
	}
	c.orders.WithLabelValues(message.VerbNote).Inc()
	return auditEntry{Action: d.Verb, Target: d.On, Actor: d.Actor, APIKeyName: d.Key, Reason: d.Reason}, nil
}

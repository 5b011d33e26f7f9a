package console

import (
	"context"
	"net/http"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// unreportedList is the answer of GET /v1/unreported.
type unreportedList struct {
	Unreported []owed `json:"unreported" doc:"Those that wait longest first."`
}

// owed is a message that Meta took and said nothing of since.
type owed struct {
	message.Context
	WAMID   string    `json:"wamid,omitempty" doc:"Meta's id of the message."`
	Attempt int       `json:"attempt" doc:"The attempt that Meta took."`
	Since   time.Time `json:"since,omitzero" doc:"When Meta took it."`
}

func (c *Console) listUnreported(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	number, limit, refused := c.page(r, key)
	if refused != nil {
		return nil, refused
	}
	all, err := c.o.Lists.Unreported(ctx, number, time.Now().Add(-message.ReportsWithin), limit)
	if err != nil {
		return nil, c.unavailable("list messages without a status", err)
	}
	shown := unreportedList{[]owed{}}
	for _, rec := range all {
		if key.Covers(rec.From) {
			shown.Unreported = append(shown.Unreported, owed{rec.Context, rec.WAMID, rec.Attempt, last(rec)})
		}
	}
	return shown, nil
}

// last is when a message came into its state.
func last(r message.Record) time.Time {
	if n := len(r.Timeline); n > 0 {
		return r.Timeline[n-1].At.UTC()
	}
	return time.Time{}
}

package repository

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/sync/errgroup"

	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/record"
)

// Fallbacks lets fallback templates take the place of templates that are held because Meta does not send them. It is safe for
// concurrent use.
type Fallbacks struct {
	Messages *Messages
	Holds    func(ctx context.Context) ([]message.Hold, error) // all that are in force
	ByMeta   func(message.Hold) bool                           // reports whether a hold is there because of what Meta said; a hold of an operator is not
	Log      *slog.Logger
}

// fallbacksAtOnce is how many messages are changed at the same time. They share transactions.
const fallbacksAtOnce = 64

// Use changes messages of a number whose template is held, see dispatch.Options.
func (f Fallbacks) Use(ctx context.Context, number string, some []dispatch.Candidate) []bool {
	changed := make([]bool, len(some))
	all, err := f.Holds(ctx)
	if err != nil {
		f.Log.Warn("cannot read holds, messages of held templates wait for their templates", "phone_number_id", number, "err", err)
		return changed
	}
	held := map[string]bool{} // by template
	for _, h := range all {
		if h.Number == number && h.Template != "" && f.ByMeta(h) {
			held[h.Template] = true
		}
	}
	var g errgroup.Group
	g.SetLimit(fallbacksAtOnce)
	var failed sync.Once
	for i, c := range some {
		r, ok := c.Known.(*record.Record)
		if !ok || !held[c.Template] {
			continue
		}
		g.Go(func() error {
			var err error
			changed[i], err = f.Messages.Move(ctx, r.Open(), message.Move{To: message.Queued, Reason: message.ReasonFallback, Fallback: true})
			if err != nil {
				failed.Do(func() {
					f.Log.Warn("cannot use the fallback template of a message, it waits for its template", "message_id", r.ID, "err", err)
				})
			}
			return nil
		})
	}
	g.Wait()
	return changed
}

package reconcile

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sluice/internal/message"
)

// inboundAge is how long an inbound message counts against the throughput of its number. Meta counts throughput
// by the second, and may deliver messages that are hours old all at once. Meta's times are whole seconds.
const inboundAge = 2 * time.Second

// written has the inbound messages that were counted, while they count. Its zero value is ready to use.
type written struct {
	mu    sync.Mutex
	seen  map[string]time.Time // by Meta's id
	swept time.Time
}

// counts reports whether to count a message: it was written within inboundAge, and this is its first event.
func (w *written) counts(id string, at, now time.Time) bool {
	if at.IsZero() || now.Truncate(time.Second).Sub(at).Abs() > inboundAge {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.swept) > inboundAge {
		for id, at := range w.seen {
			if now.Sub(at) > 2*inboundAge {
				delete(w.seen, id)
			}
		}
		w.swept = now
	}
	if _, before := w.seen[id]; before {
		return false
	}
	if w.seen == nil {
		w.seen = map[string]time.Time{}
	}
	w.seen[id] = at
	return true
}

// inbound counts inbound messages against the rate limits of their numbers, those of conversations of other apps too, and says who
// wrote to this app.
func (r *Reconciler) inbound(ctx context.Context, events []message.Event) {
	if r.o.Wrote != nil {
		known := slices.DeleteFunc(slices.Clone(events), func(e message.Event) bool { return e.Type != message.EventInbound || !r.known(e.Number) })
		if len(known) > 0 {
			r.o.Wrote(ctx, known)
		}
	}
	if r.o.Inbound == nil {
		return
	}
	var now time.Time
	numbers := map[string]int{}
	for _, e := range events {
		if e.Type != message.EventInbound && e.Type != message.EventStandby || !r.known(e.Number) {
			continue
		}
		if now.IsZero() {
			now = r.o.Now(ctx)
		}
		if id, at := r.o.Written(e); r.written.counts(id, at, now) {
			numbers[e.Number]++
		}
	}
	for number, n := range numbers {
		// An error does not fail the events: a rate that is too high for a moment matters less.
		if err := r.o.Inbound(ctx, number, n); err != nil {
			r.log.Warn("cannot count inbound messages against the rate limit", slog.String("phone_number_id", number), slog.Any("err", err))
		}
	}
}

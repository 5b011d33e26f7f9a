package reconcile

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sluice/internal/message"
)

// inboundAge is how long a message that a person wrote counts against the throughput of its number: Meta
// counts by the second, and reports what it kept back for hours at once. Meta's times are whole seconds.
const inboundAge = 2 * time.Second

// written remembers the messages of people that were counted, as long as they count. Its zero value is
// ready.
type written struct {
	mu    sync.Mutex
	seen  map[string]time.Time // by Meta's id
	swept time.Time
}

// counts tells whether a message is to be counted: it was written within inboundAge, and comes for the
// first time.
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

// inbound counts what people wrote to our numbers against their pace.
func (r *Reconciler) inbound(ctx context.Context, events []message.Event) {
	if r.o.Inbound == nil {
		return
	}
	var now time.Time
	numbers := map[string]int{}
	for _, e := range events {
		if e.Type != message.EventInbound || !r.known(e.Number) {
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
		// A pace that is a little too fast once is no reason to hand the events out again.
		if err := r.o.Inbound(ctx, number, n); err != nil {
			r.log.Warn("cannot count inbound messages against the rate limit", slog.String("phone_number_id", number), slog.Any("err", err))
		}
	}
}

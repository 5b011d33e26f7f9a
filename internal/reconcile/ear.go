package reconcile

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"sluice/internal/message"
)

// tellEvery is how often what was heard is published: whether Meta's webhooks reach us at all
// decides over doubts, and a second more or less does not.
const tellEvery = time.Second

// ear remembers when Meta was last heard. Its zero value is ready.
type ear struct {
	mu    sync.Mutex
	heard map[message.Shard]message.Heard
}

// hear notes the events of Meta's among some that were folded. A status counts from when Meta
// made it: one that comes late says nothing of the channel since.
func (e *ear) hear(shard message.Shard, events []message.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range events {
		if ev.Type == message.EventMessage || ev.At == 0 {
			continue
		}
		if e.heard == nil {
			e.heard = map[message.Shard]message.Heard{}
		}
		h := e.heard[shard]
		if h.Statuses == nil {
			h.Statuses = map[string]time.Time{}
		}
		at := time.UnixMilli(ev.At)
		if at.After(h.Any) {
			h.Any = at
		}
		if r := ev.Receipt; r != nil && ev.Number != "" && !r.At.IsZero() {
			if r.At.Before(at) {
				at = r.At
			}
			if at.After(h.Statuses[ev.Number]) {
				h.Statuses[ev.Number] = at
			}
		}
		e.heard[shard] = h
	}
}

// take hands over what was heard since it was last called; nil: nothing.
func (e *ear) take() map[message.Shard]message.Heard {
	e.mu.Lock()
	defer e.mu.Unlock()
	heard := e.heard
	e.heard = nil
	return heard
}

// back takes in again what could not be told.
func (e *ear) back(heard map[message.Shard]message.Heard) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.heard == nil { // else what came since is newer
		e.heard = maps.Clone(heard)
	}
}

// tell publishes what was heard, at most once a second, until ctx ends.
func (r *Reconciler) tell(ctx context.Context) {
	for ctx.Err() == nil {
		if heard := r.ear.take(); heard != nil {
			if err := r.stream.Hear(ctx, heard); err != nil && ctx.Err() == nil {
				r.log.Warn("cannot store when the last status was received", slog.Any("err", err))
				r.ear.back(heard)
			}
		}
		pause(ctx, tellEvery)
	}
}

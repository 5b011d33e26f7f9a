package send

import (
	"context"
	"sync"
	"time"

	"sluice/internal/message"
)

const (
	// holdsEvery is how often a worker reads which holds are in force. It learns with this delay when one has ended.
	holdsEvery = 2 * time.Second
	// heldFor is how long a worker remembers when a hold ended: longer than a released backlog usually takes.
	heldFor = 24 * time.Hour
)

// accepted observes how long Meta's acceptance of the message took since the message could be sent.
func (t *turn) accepted() {
	ready := t.begun.Add(-t.attempt.Waited)
	if end := t.s.heldUntil.of(t.attempt.Message); end.After(ready) {
		ready = end
	}
	t.s.metrics.latency.WithLabelValues(string(t.attempt.Message.Class)).Observe(max(0, time.Since(ready).Seconds()))
}

// WatchHolds reads which holds are in force, until ctx ends: the time in which a message is held is no latency.
func (s *Sender) WatchHolds(ctx context.Context) error {
	tick := time.NewTicker(holdsEvery)
	defer tick.Stop()
	var inForce []message.Hold
	for {
		if all, err := s.o.Holds(ctx); err == nil { // without an answer nothing is sent either
			inForce = all
		}
		s.heldUntil.note(inForce, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// heldUntil is until when holds were in force, at most, by what they are on. A worker does not know holds that ended before
// it started. The zero value is ready; it is safe for concurrent use.
type heldUntil struct {
	mu  sync.RWMutex
	end map[target]time.Time
}

// target is what a hold is on.
type target struct {
	number, template, tag string
	campaign              message.Flow
}

// note records holds that are in force now.
func (h *heldUntil) note(inForce []message.Hold, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end == nil {
		h.end = map[target]time.Time{}
	}
	for _, hold := range inForce {
		h.end[target{hold.Number, hold.Template, hold.Tag, hold.Flow()}] = now.Add(holdsEvery)
	}
	for on, end := range h.end {
		if now.Sub(end) > heldFor {
			delete(h.end, on)
		}
	}
}

// of returns when the last hold on a message ended; zero: none is known.
func (h *heldUntil) of(m message.Context) (end time.Time) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if len(h.end) == 0 {
		return end
	}
	on := func(t target) {
		if at := h.end[t]; at.After(end) {
			end = at
		}
	}
	on(target{})
	on(target{number: m.From})
	if m.Template != "" {
		on(target{number: m.From, template: m.Template})
	}
	for _, tag := range m.Tags {
		on(target{tag: tag})
		on(target{number: m.From, tag: tag})
	}
	if m.Campaign != "" {
		on(target{campaign: m.Flow()})
		on(target{number: m.From, campaign: m.Flow()})
	}
	return end
}

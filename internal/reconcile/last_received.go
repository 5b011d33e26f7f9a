package reconcile

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"sluice/internal/message"
)

// publishEvery is how often the times of the last webhooks are published. They show whether Meta's webhooks reach
// Sluice, which decides about in-doubt messages. One second more or less does not matter for that.
const publishEvery = time.Second

// lastReceived has the times of the last webhooks. Its zero value is ready to use.
type lastReceived struct {
	mu    sync.Mutex
	times map[message.Shard]message.LastReceived
}

// note records the times of applied events from Meta. The time of a status is when Meta created it, because a
// late status proves nothing about webhooks since then.
func (l *lastReceived) note(shard message.Shard, events []message.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ev := range events {
		if ev.Ours() || ev.At == 0 {
			continue
		}
		if l.times == nil {
			l.times = map[message.Shard]message.LastReceived{}
		}
		h := l.times[shard]
		if h.Statuses == nil {
			h.Statuses = map[string]time.Time{}
		}
		at := time.UnixMilli(ev.At)
		if at.After(h.Any) {
			h.Any = at
		}
		if r := ev.Report; r != nil && ev.Number != "" && !r.At.IsZero() {
			if r.At.Before(at) {
				at = r.At
			}
			if at.After(h.Statuses[ev.Number]) {
				h.Statuses[ev.Number] = at
			}
		}
		l.times[shard] = h
	}
}

// take returns the times since the last call; nil: there are none.
func (l *lastReceived) take() map[message.Shard]message.LastReceived {
	l.mu.Lock()
	defer l.mu.Unlock()
	times := l.times
	l.times = nil
	return times
}

// restore puts back times that could not be published.
func (l *lastReceived) restore(times map[message.Shard]message.LastReceived) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.times == nil { // otherwise the present times are newer
		l.times = maps.Clone(times)
	}
}

// publishReceived publishes the times, at most once per publishEvery, until ctx ends.
func (r *Reconciler) publishReceived(ctx context.Context) {
	for ctx.Err() == nil {
		if times := r.received.take(); times != nil {
			if err := r.stream.NoteReceived(ctx, times); err != nil && ctx.Err() == nil {
				r.log.Warn("cannot store when the last webhooks were received", slog.Any("err", err))
				r.received.restore(times)
			}
		}
		pause(ctx, publishEvery)
	}
}

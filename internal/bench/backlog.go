package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/admission"
	"sluice/internal/content"
	"sluice/internal/message"
	"sluice/internal/rig"
)

// messageObject returns the i-th message: Meta's object, about 500 bytes of it, and its recipient.
// Each has its own recipient, so that the pair limit does not apply. None is a magic number of the
// simulator.
func messageObject(i int) (json.RawMessage, string) {
	to := fmt.Sprintf("+49%09d00", i)
	return json.RawMessage(`{"recipient_type":"individual","to":"` + to + `","type":"template","template":{"name":"order_shipped","language":{"code":"en_US"},"components":[` +
		`{"type":"header","parameters":[{"type":"image","image":{"link":"https://shop.example/media/parcel-of-the-day.png"}}]},` +
		`{"type":"body","parameters":[{"type":"text","text":"Maria"},{"type":"text","text":"#20261122-000123"},{"type":"text","text":"between 10 and 12 o'clock"}]},` +
		`{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"20261122000123"}]}]}}`), to
}

// ordered returns the i-th message of a number as the intake accepts it.
func ordered(from string, class message.Class, i int) message.Message {
	object, to := messageObject(i)
	payload, err := content.Payload(object, to)
	if err != nil {
		panic(err) // cannot happen: it is JSON
	}
	return message.Message{
		ID: message.NewID(from, ""), From: from, Class: class, Payload: payload, Hash: "bench",
		ExpiresAt: time.Now().Add(message.DefaultPolicy(class).Deadline).Truncate(time.Millisecond),
		Content:   message.Content{Type: "template", To: to, Template: "order_shipped", Language: "en_US"},
	}
}

// preload accepts n marketing messages, spread evenly over the numbers.
func (w *world) preload(ctx context.Context, numbers []rig.Number, n int) error {
	if n == 0 {
		return nil
	}
	const batch = 1000
	loader := admission.NewLoader(w.db, shards)
	began := time.Now()
	var next atomic.Int64
	g, loading := errgroup.WithContext(ctx)
	for range 4 {
		g.Go(func() error {
			for loading.Err() == nil {
				b := int(next.Add(1) - 1)
				first := b * batch
				if first >= n {
					return nil
				}
				from := numbers[b%len(numbers)].ID
				var messages []message.Message
				for i := first; i < min(first+batch, n); i++ {
					messages = append(messages, ordered(from, message.Marketing, i))
				}
				if err := loader.Load(loading, messages); err != nil {
					return err
				}
			}
			return context.Cause(loading)
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("load the backlog: %w", err)
	}
	w.o.say("  %d messages waiting, loaded in %s", n, time.Since(began).Round(time.Millisecond))
	return w.written(ctx)
}

// written waits until Redis has rewritten its append-only file. The loading of a large backlog starts that, and the
// copying of memory pages for it would be measured too.
func (w *world) written(ctx context.Context) error {
	for {
		now, err := info(ctx, w.db, "persistence")
		if err != nil || now["aof_rewrite_in_progress"]+now["aof_rewrite_scheduled"]+now["rdb_bgsave_in_progress"] == 0 {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// arrivals waits until the far side has n messages or d has passed, and returns how many it
// has and when.
func (w *world) arrivals(ctx context.Context, n int, d time.Duration) (int, time.Time, error) {
	deadline := time.Now().Add(d)
	for {
		taken, err := w.taken(ctx)
		now := time.Now()
		if err != nil || taken >= n || now.After(deadline) {
			return taken, now, err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return taken, now, err
		}
	}
}

// pause waits for d, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

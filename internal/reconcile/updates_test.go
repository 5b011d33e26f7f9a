package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/reconcile"
	"sluice/internal/redistest"
)

// TestAnUpdateThatFailsDelaysNoStatus: what an update demands may need the Redis of another shard. While that is away,
// statuses are applied. No update is lost, not even when the worker dies, and they are applied in their order.
func TestAnUpdateThatFailsDelaysNoStatus(t *testing.T) {
	t.Parallel()
	s := newSetup(t, redistest.Client(t))
	var mu sync.Mutex
	away, tried, done := true, make(chan struct{}, 1000), make(chan string, 10)
	start := func() (stop func()) {
		r := reconcile.New(s.stream, s.ledger, reconcile.Options{
			Name: "one", Mark: mark, Log: slog.New(slog.DiscardHandler),
			Update: func(_ context.Context, e message.Event) error {
				mu.Lock()
				defer mu.Unlock()
				tried <- struct{}{}
				if away {
					return errors.New("the Redis of another shard is away")
				}
				done <- e.Field
				return nil
			},
		})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		stop = sync.OnceFunc(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(stop)
		return stop
	}
	var want []string
	for i := range 3 {
		want = append(want, fmt.Sprint("field ", i))
		s.add(t,
			message.Event{Type: message.EventUpdate, At: 1750030073000, Number: number, WABA: "500", Field: want[i], Meta: []byte(`{"a":1}`)},
			statusEvent(number, fmt.Sprint("wamid.", i), "sent", ""))
	}
	stop := start()
	s.ledger.until(t, 3)
	<-tried
	stop()
	mu.Lock()
	away = false
	mu.Unlock()
	stop = start()
	var got []string
	for range want {
		select {
		case field := <-done:
			got = append(got, field)
		case <-time.After(poll.Limit):
			t.Fatalf("after %s only %q are applied", poll.Limit, got)
		}
	}
	poll.Until(t, "no update is left", func() bool { return len(s.db.Keys(t.Context(), "*:updates").Val()) == 0 })
	stop()
	if !slices.Equal(got, want) || len(done) > 0 {
		t.Errorf("applied %q and then %d again, want %q", got, len(done), want)
	}
}

package admission

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/message"
)

func TestETAReadsEachNumberOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		reads := map[string]int{}
		eta := NewETA(func(_ context.Context, number string) (backlog.Number, error) {
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			reads[number]++
			return backlog.Number{Configured: 10, Rate: 10, Full: 10, Waiting: []backlog.Waiting{
				{Class: message.Authentication, Pending: 10 * reads[number]},
				{Class: message.Service, Pending: 0},
			}}, nil
		}, slog.New(slog.DiscardHandler))
		ask := func(number string, want time.Duration) {
			if got, err := eta.Of(t.Context(), number, message.Authentication, message.Flow{}); err != nil || got != want {
				t.Errorf("%s: %v, %v, want %v", number, got, err, want)
			}
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { ask("1", time.Second) })
			wg.Go(func() { ask("2", time.Second) })
		}
		wg.Wait()
		if got, err := eta.Of(t.Context(), "1", message.Service, message.Flow{}); err != nil || got != time.Second {
			t.Errorf("another class: %v, %v", got, err)
		}
		time.Sleep(etaFresh - 101*time.Millisecond)
		ask("1", time.Second)
		time.Sleep(time.Millisecond)
		ask("1", 2*time.Second)
		if reads["1"] != 2 || reads["2"] != 1 {
			t.Errorf("reads %v, want 2 of the first number and 1 of the second", reads)
		}
	})
}

// A caller that disconnects does not cancel the reading for others, and a store that hangs delays each
// caller for at most etaTimeout.
func TestETAWhileTheStoreHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		hang := true
		reads := 0
		eta := NewETA(func(ctx context.Context, _ string) (backlog.Number, error) {
			reads++
			if hang {
				<-ctx.Done()
				return backlog.Number{}, ctx.Err()
			}
			time.Sleep(200 * time.Millisecond)
			return backlog.Number{}, ctx.Err()
		}, slog.New(slog.NewTextHandler(&log, nil)))

		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := eta.Of(ctx, "1", message.Service, message.Flow{}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 300*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if _, err := eta.Of(t.Context(), "1", message.Service, message.Flow{}); err == nil || time.Since(start) != 300*time.Millisecond+etaTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if _, err := eta.Of(t.Context(), "1", message.Service, message.Flow{}); err == nil || time.Since(start) != etaFresh || reads != 1 {
			t.Errorf("%v after %v and %d reads", err, time.Since(start), reads)
		}
		if !strings.Contains(log.String(), "phone_number_id=1") || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("log: %s", &log)
		}

		hang = false
		gone, leave := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, leave)
		if _, err := eta.Of(gone, "1", message.Service, message.Flow{}); err == nil {
			t.Error("a caller that disconnected got an answer")
		}
		if _, err := eta.Of(t.Context(), "1", message.Service, message.Flow{}); err != nil || reads != 2 {
			t.Errorf("the other caller: %v after %d reads", err, reads)
		}
	})
}

package throughput_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"sluice/internal/throughput"
)

// TestDiscovery: each Ask lets Meta be asked about the numbers without a configured rate. A number of which
// Meta says nothing keeps its rate; calls during a slow answer cause one further question.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		asked := map[string]int{}
		answer := make(chan struct{})
		var stored []map[string]int
		d := throughput.New(map[string]bool{"1": true, "2": true, "3": true, "4": false}, func(_ context.Context, number string) (int, error) {
			asked[number]++
			<-answer
			switch number {
			case "1":
				return 1000, nil
			case "2":
				return 0, nil
			}
			return 0, errors.New("Meta is away")
		}, func(_ context.Context, rates map[string]int) error {
			stored = append(stored, rates)
			return errors.New("Redis is away")
		}, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		synctest.Wait()
		if len(asked) != 0 {
			t.Errorf("before Ask: %v", asked)
		}
		d.Ask()
		synctest.Wait()
		for range 3 {
			d.Ask()
		}
		close(answer)
		synctest.Wait()
		if want := map[string]int{"1": 2, "2": 2, "3": 2}; !maps.Equal(asked, want) {
			t.Errorf("asked %v, want %v", asked, want)
		}
		for _, rates := range stored {
			if want := map[string]int{"1": 1000, "4": 0}; !maps.Equal(rates, want) {
				t.Errorf("stored %v, want %v", rates, want)
			}
		}
		if len(stored) != 2 || !strings.Contains(log.String(), "phone_number_id=3") || !strings.Contains(log.String(), "Redis is away") {
			t.Errorf("stored %d times, log %s", len(stored), &log)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestDiscoveryEnds: a Discovery that ends while Meta is asked stores nothing.
func TestDiscoveryEnds(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	d := throughput.New(map[string]bool{"1": true}, func(ctx context.Context, _ string) (int, error) {
		stop()
		return 0, ctx.Err()
	}, func(context.Context, map[string]int) error {
		t.Error("it stored rates")
		return nil
	}, slog.New(slog.DiscardHandler))
	d.Ask()
	if err := d.Run(ctx); err != nil {
		t.Error(err)
	}
}

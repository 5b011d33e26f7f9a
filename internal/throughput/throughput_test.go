package throughput_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/observed"
	"sluice/internal/throughput"
)

// TestDiscovery: Meta is asked about a number whose answer is older than an hour, and about all after Ask. Calls of Ask
// during a slow answer cause one further question. Look concerns the numbers that it names, and no others. A number of which Meta says nothing keeps its rate; one with a
// configured rate has no other.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var mu sync.Mutex // guards asked, answer and stored
		asked := map[string]int{}
		answer := make(chan struct{})
		known := map[string]observed.Profile{"5": {Rate: 20, At: time.Now()}} // that another worker has stored
		var stored []map[string]int
		d := throughput.New(throughput.Options{
			Numbers: func() []string { return []string{"1", "2", "3", "4", "5"} }, Learns: func(number string) bool { return number != "4" },
			Known: func(context.Context) (map[string]observed.Profile, error) { return maps.Clone(known), nil },
			Ask: func(_ context.Context, number string) (observed.Profile, error) {
				mu.Lock()
				asked[number]++
				wait := answer
				mu.Unlock()
				<-wait
				if number == "3" {
					return observed.Profile{}, errors.New("Meta is away")
				}
				return observed.Profile{Rate: map[string]int{"1": 1000, "4": 80, "5": 1000}[number], At: time.Now()}, nil
			},
			Store: func(_ context.Context, number string, p observed.Profile) error {
				known[number] = p
				return nil
			},
			Set: func(_ context.Context, rates map[string]int) error {
				mu.Lock()
				defer mu.Unlock()
				stored = append(stored, rates)
				return errors.New("Redis is away")
			},
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		synctest.Wait()
		close(answer)
		synctest.Wait()
		want := func(when string, counts, rates map[string]int) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if !maps.Equal(asked, counts) || !maps.Equal(stored[len(stored)-1], rates) {
				t.Errorf("%s: asked %v, set %v; want %v, %v", when, asked, stored[len(stored)-1], counts, rates)
			}
		}
		want("at the start", map[string]int{"1": 1, "2": 1, "3": 1, "4": 1}, map[string]int{"1": 1000, "4": 0, "5": 20})
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		want("after 31 minutes", map[string]int{"1": 1, "2": 1, "3": 2, "4": 1}, map[string]int{"1": 1000, "4": 0, "5": 20})
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		want("after an hour", map[string]int{"1": 2, "2": 2, "3": 3, "4": 2, "5": 1}, map[string]int{"1": 1000, "4": 0, "5": 1000})
		mu.Lock()
		answer = make(chan struct{})
		mu.Unlock()
		d.Ask()
		synctest.Wait()
		for range 3 {
			d.Ask()
		}
		close(answer)
		synctest.Wait()
		want("after Ask", map[string]int{"1": 4, "2": 4, "3": 5, "4": 4, "5": 3}, map[string]int{"1": 1000, "4": 0, "5": 1000})
		d.Look("5")
		d.Look() // an API key changed: no number
		synctest.Wait()
		want("after Look", map[string]int{"1": 4, "2": 4, "3": 5, "4": 4, "5": 3}, map[string]int{"5": 1000})
		if !strings.Contains(log.String(), "phone_number_id=3") || !strings.Contains(log.String(), "Redis is away") {
			t.Errorf("log %s", &log)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestCoexistence: a number that is also used in the WhatsApp Business app has the rate limit of such numbers, unless its configured
// one is lower.
func TestCoexistence(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	configured := map[string]int{"app": 100, "slow app": 10, "other": 100}
	var got map[string]int
	d := throughput.New(throughput.Options{
		Numbers: func() []string { return []string{"app", "slow app", "other"} }, Learns: func(string) bool { return false },
		Rate: func(number string) int { return configured[number] }, Shared: 20,
		Known: func(context.Context) (map[string]observed.Profile, error) { return nil, nil },
		Ask: func(_ context.Context, number string) (observed.Profile, error) {
			return observed.Profile{OnBizApp: number != "other", At: time.Now()}, nil
		},
		Store: func(context.Context, string, observed.Profile) error { return nil },
		Set: func(_ context.Context, rates map[string]int) error {
			got = rates
			stop()
			return nil
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err := d.Run(ctx); err != nil {
		t.Error(err)
	}
	if want := map[string]int{"app": 20, "slow app": 0, "other": 0}; !maps.Equal(got, want) {
		t.Errorf("set %v, want %v: 0 is the configured rate", got, want)
	}
}

// TestDiscoveryEnds: a Discovery that ends while Meta is asked sets no rates.
func TestDiscoveryEnds(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	d := throughput.New(throughput.Options{
		Numbers: func() []string { return []string{"1"} }, Learns: func(string) bool { return true },
		Known: func(context.Context) (map[string]observed.Profile, error) { return nil, errors.New("Redis is away") },
		Ask: func(ctx context.Context, _ string) (observed.Profile, error) {
			stop()
			return observed.Profile{}, ctx.Err()
		},
		Set: func(context.Context, map[string]int) error {
			t.Error("it set rates")
			return nil
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err := d.Run(ctx); err != nil {
		t.Error(err)
	}
}

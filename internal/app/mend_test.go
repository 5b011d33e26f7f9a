package app

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/cloudapi"
)

// TestTokensAreWatched: a new token lifts, again until that succeeds, and Meta is asked about it
// at once, about an old one hourly, and once for all numbers that have it.
func TestTokensAreWatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var did []string
		var token atomic.Value
		token.Store("old")
		fail := true
		w := &tokens{
			numbers: []string{"1", "2"}, log: slog.New(slog.DiscardHandler), expiry: newExpiry(prometheus.NewRegistry()),
			token: func(string) (string, error) { return token.Load().(string), nil },
			ask: func(context.Context, string) (cloudapi.Token, error) {
				did = append(did, time.Since(start).String()+" asked of "+token.Load().(string))
				return cloudapi.Token{Valid: true, Expires: start.Add(time.Hour)}, nil
			},
			lift: func(_ context.Context, number string) error {
				did = append(did, time.Since(start).String()+" lifted "+number)
				if fail {
					fail = false
					return errors.New("away")
				}
				return nil
			},
		}
		ctx, stop := context.WithTimeout(t.Context(), 62*time.Minute)
		defer stop()
		time.AfterFunc(62*time.Second, func() { token.Store("new") })
		if err := w.run(ctx); err != nil {
			t.Error(err)
		}
		if want := []string{"0s asked of old", "1m5s lifted 1", "1m5s lifted 2", "1m5s asked of new", "1m10s lifted 1", "1h1m5s asked of new"}; !slices.Equal(did, want) {
			t.Errorf("%q, want %q", did, want)
		}
		for got, want := range map[cloudapi.Token]float64{
			{Valid: true, Expires: start}: float64(start.Unix()), {Valid: true}: math.Inf(1), {}: 0,
		} {
			w.answers = map[string]answer{}
			w.ask = func(context.Context, string) (cloudapi.Token, error) { return got, nil }
			w.look(t.Context(), "1")
			if v := testutil.ToFloat64(w.expiry.WithLabelValues("1")); v != want {
				t.Errorf("%+v: %v, want %v", got, v, want)
			}
		}
	})
}

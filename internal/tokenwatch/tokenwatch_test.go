package tokenwatch

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

// TestTokensAreWatched: a new token is reported, again until that succeeds, and Meta is asked about it
// at once, about an old one hourly, and once for all numbers that have it.
func TestTokensAreWatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var did []string
		var token atomic.Value
		token.Store("old")
		fail := true
		w := New(Options{
			Numbers: []string{"1", "2"}, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
			Token: func(string) (string, error) { return token.Load().(string), nil },
			Ask: func(context.Context, string) (cloudapi.Token, error) {
				did = append(did, time.Since(start).String()+" asked of "+token.Load().(string))
				return cloudapi.Token{Valid: true, Expires: start.Add(time.Hour)}, nil
			},
			Changed: func(_ context.Context, number string) error {
				did = append(did, time.Since(start).String()+" new token of "+number)
				if fail {
					fail = false
					return errors.New("away")
				}
				return nil
			},
		})
		ctx, stop := context.WithTimeout(t.Context(), 62*time.Minute)
		defer stop()
		time.AfterFunc(62*time.Second, func() { token.Store("new") })
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
		if want := []string{"0s asked of old", "1m5s new token of 1", "1m5s new token of 2", "1m5s asked of new", "1m10s new token of 1", "1h1m5s asked of new"}; !slices.Equal(did, want) {
			t.Errorf("%q, want %q", did, want)
		}
		for got, want := range map[cloudapi.Token]float64{
			{Valid: true, Expires: start}: float64(start.Unix()), {Valid: true}: math.Inf(1), {}: 0,
		} {
			w.answers = map[string]answer{}
			w.Ask = func(context.Context, string) (cloudapi.Token, error) { return got, nil }
			w.check(t.Context(), "1")
			if v := testutil.ToFloat64(w.expiry.WithLabelValues("1")); v != want {
				t.Errorf("%+v: %v, want %v", got, v, want)
			}
		}
	})
}

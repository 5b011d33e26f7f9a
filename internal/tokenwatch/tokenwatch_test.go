package tokenwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
	"sluice/internal/observed"
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
		storeFails := true
		w := New(Options{
			Store: func(_ context.Context, tokens map[string]observed.Token) error {
				if storeFails {
					storeFails = false
					return errors.New("away")
				}
				for _, number := range slices.Sorted(maps.Keys(tokens)) {
					one := tokens[number]
					did = append(did, fmt.Sprint(time.Since(start), " stored ", number, " ", one.Valid, " ", one.Expires.Sub(start), " ", one.At.Sub(start)))
				}
				return nil
			},
			Numbers: func() []string { return []string{"1", "2"} }, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
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
		if want := []string{
			"0s asked of old", "5s stored 1 true 1h0m0s 0s", "5s stored 2 true 1h0m0s 0s", "1m5s new token of 1", "1m5s new token of 2", "1m5s asked of new",
			"1m5s stored 2 true 1h0m0s 1m5s", "1m10s new token of 1", "1m10s stored 1 true 1h0m0s 1m5s", "1h1m5s asked of new",
			"1h1m5s stored 1 true 1h0m0s 1h1m5s", "1h1m5s stored 2 true 1h0m0s 1h1m5s",
		}; !slices.Equal(did, want) {
			t.Errorf("%q, want %q", did, want)
		}
		for got, want := range map[cloudapi.Token]float64{
			{Valid: true, Expires: start}: float64(start.Unix()), {Valid: true}: math.Inf(1), {}: 0,
		} {
			w.states = map[string]*state{}
			w.Ask = func(context.Context, string) (cloudapi.Token, error) { return got, nil }
			w.check(t.Context(), "1")
			if v := testutil.ToFloat64(w.expiry.WithLabelValues("1")); v != want {
				t.Errorf("%+v: %v, want %v", got, v, want)
			}
		}
	})
}

// TestAnswersSetTheMetric: code 190 in the answer to a message sets the metric of all numbers with that token at once,
// and the next acceptance sets it back to the expiry that Meta named. Then Meta is asked again.
func TestAnswersSetTheMetric(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		expires := time.Now().Add(1000 * time.Hour)
		asked := 0
		var during func() // runs while Meta is asked
		var askFails error
		w := New(Options{
			Numbers: func() []string { return []string{"1", "2", "3"} }, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
			Token: func(number string) (string, error) { return map[string]string{"3": "other"}[number] + "token", nil },
			Ask: func(context.Context, string) (cloudapi.Token, error) {
				asked++
				if during != nil {
					during()
				}
				return cloudapi.Token{Valid: true, Expires: expires}, askFails
			},
			Changed: func(context.Context, string) error { return nil },
		})
		refused, accepted := message.Outcome{Kind: message.Held, Code: 190}, message.Outcome{Kind: message.Accepted}
		valid := float64(expires.Unix())
		shows := func(when string, wants ...float64) {
			t.Helper()
			for i, want := range wants {
				if got := testutil.ToFloat64(w.expiry.WithLabelValues(w.Numbers()[i])); got != want {
					t.Errorf("%s: number %s has %v, want %v", when, w.Numbers()[i], got, want)
				}
			}
		}
		checkAll := func() {
			for _, number := range w.Numbers() {
				w.check(t.Context(), number)
			}
		}
		checkAll()
		shows("at first", valid, valid, valid)
		w.Answered("1", "token", message.Outcome{Kind: message.Refused, Code: 131026})
		shows("after another refusal", valid, valid, valid)
		w.Answered("1", "token", refused)
		shows("after 190", 0, 0, valid)
		time.Sleep(readEvery)
		checkAll()
		shows("after 190 and a check", 0, 0, valid)
		w.Answered("2", "token of before", accepted)
		shows("after an answer to the previous token", 0, 0, valid)
		if asked != 2 {
			t.Errorf("Meta was asked %d times, want once for each token", asked)
		}
		w.Answered("2", "token", accepted)
		shows("after an acceptance", valid, valid, valid)
		checkAll()
		if asked != 3 {
			t.Errorf("Meta was asked %d times, want again after the acceptance", asked)
		}

		time.Sleep(askEvery)
		during = func() { w.Answered("1", "token", refused) }
		w.check(t.Context(), "1")
		shows("after 190 while Meta is asked", 0, 0, valid)

		during, askFails = nil, errors.New("away")
		w.Answered("4", "unknown", refused)
		w.Answered("4", "unknown", accepted)
		if n := testutil.CollectAndCount(w.expiry); n != 3 {
			t.Errorf("%d numbers have the metric, want 3: nothing is known of the token of the fourth", n)
		}
	})
}

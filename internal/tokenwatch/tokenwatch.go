// Package tokenwatch watches the access tokens of numbers: it reports a new token, and asks Meta when
// each token expires.
package tokenwatch

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/cloudapi"
)

const (
	// readEvery is how often the token files are read. While a number is held nothing is sent, so nothing
	// else reads its token.
	readEvery = 5 * time.Second
	// askEvery is how often Meta is asked about a token.
	askEvery = time.Hour
)

// Options say what a Watch works with. All fields are required.
type Options struct {
	Numbers    []string                                                         // the phone number ids
	Token      func(number string) (string, error)                              // reads the token of a number
	Ask        func(ctx context.Context, number string) (cloudapi.Token, error) // asks Meta about the token of a number
	Changed    func(ctx context.Context, number string) error                   // is called for a new token; with an error again 5 s later
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Watch watches access tokens.
type Watch struct {
	Options
	expiry  *prometheus.GaugeVec
	last    map[string]string // by number
	answers map[string]answer // by token: thousands of numbers may share one
}

// New returns a Watch, and registers its metric.
func New(o Options) *Watch {
	return &Watch{Options: o, expiry: newExpiry(o.Registerer), last: map[string]string{}, answers: map[string]answer{}}
}

// answer is what Meta said of a token.
type answer struct {
	at    time.Time
	token cloudapi.Token
	err   error
}

func newExpiry(reg prometheus.Registerer) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sluice_token_expiry_timestamp_seconds",
		Help: "Unix time at which the access token of the number expires, as Meta reports it. 0: the token is not valid. +Inf: it does not expire.",
	}, []string{"phone_number_id"})
	reg.MustRegister(g)
	return g
}

// Run watches until ctx ends, and returns nil.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		for _, number := range w.Numbers {
			w.check(ctx, number)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// check reports a new token of a number, and sets the metric of the number.
func (w *Watch) check(ctx context.Context, number string) {
	token, err := w.Token(number)
	if err != nil || token == "" {
		return // who sends with it logs the error
	}
	last, known := w.last[number]
	if known && token != last {
		w.Log.Info("access token changed", "phone_number_id", number)
		if err := w.Changed(ctx, number); err != nil {
			w.Log.Error("cannot release the hold of a number with a new access token, will retry", "phone_number_id", number, "err", err)
			return
		}
	}
	w.last[number] = token
	got, err := w.about(ctx, number, token)
	switch {
	case err != nil: // the last value may still be true
	case !got.Valid:
		w.expiry.WithLabelValues(number).Set(0)
	case got.Expires.IsZero():
		w.expiry.WithLabelValues(number).Set(math.Inf(1))
	default:
		w.expiry.WithLabelValues(number).Set(float64(got.Expires.Unix()))
	}
}

// about asks Meta about the token of a number, once an hour for all numbers that have it.
func (w *Watch) about(ctx context.Context, number, token string) (cloudapi.Token, error) {
	if a, ok := w.answers[token]; ok && time.Since(a.at) < askEvery {
		return a.token, a.err
	}
	got, err := w.Ask(ctx, number)
	w.answers[token] = answer{time.Now(), got, err}
	switch {
	case err != nil:
		w.Log.Warn("cannot read from Meta when an access token expires", "phone_number_id", number, "err", err)
	case !got.Valid:
		w.Log.Error("access token is not valid", "phone_number_id", number)
	}
	return got, err
}

package pacing

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Backoff is an exponential schedule with jitter. Zero fields mean the default.
type Backoff struct {
	Base time.Duration // the first delay; 1 s
	Max  time.Duration // the longest before the spread; 60 s
}

// Delay returns how long to wait before the try after the n-th failed one (n from 1): Base
// doubled each time up to Max, each spread by half of itself to both sides so that a crowd
// that failed together does not come back together.
func (b Backoff) Delay(n int) time.Duration {
	if b.Base == 0 {
		b.Base = time.Second
	}
	if b.Max == 0 {
		b.Max = time.Minute
	}
	// A fresh one each time: its values keep state, and this one must not.
	e := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(b.Base), backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxInterval(b.Max), backoff.WithMaxElapsedTime(0),
	)
	var d time.Duration
	for range min(max(n, 1), 32) {
		d = e.NextBackOff()
	}
	return d
}

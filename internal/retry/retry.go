// Package retry says how long to wait before another try, and repeats what failed.
package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Pauses are the pauses between tries: First after the first failure, then twice as long each time, up to
// Max. Jitter is the share of a pause by which it is shorter or longer at random, so that callers who failed
// together do not come back together. Without it the pauses are exact.
type Pauses struct {
	First, Max time.Duration
	Jitter     float64 // 0 to 1
}

// doublings is after how many failures the pauses surely do not grow any more.
const doublings = 64

// After returns the pause after the n-th failure in a row, n from 1.
func (p Pauses) After(n int) time.Duration {
	schedule := p.schedule()
	var pause time.Duration
	for range min(max(n, 1), doublings) {
		pause = schedule.NextBackOff()
	}
	return pause
}

// Do calls f until it succeeds, and pauses between the calls. It returns the error of a Permanent at once.
// When ctx ends in a pause, Do returns the cause and f's last error. It calls f at least once, and allocates
// nothing when the first call succeeds.
func (p Pauses) Do(ctx context.Context, f func() error) error {
	err := f()
	if err == nil {
		return nil
	}
	for schedule := p.schedule(); err != nil; err = f() {
		if permanent, is := errors.AsType[*backoff.PermanentError](err); is {
			return permanent.Err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(schedule.NextBackOff()):
		}
	}
	return nil
}

// Permanent marks an error after which Do does not try again.
func Permanent(err error) error { return backoff.Permanent(err) }

func (p Pauses) schedule() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(min(p.First, p.Max)), backoff.WithMaxInterval(p.Max), backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(p.Jitter), backoff.WithMaxElapsedTime(0),
	)
}

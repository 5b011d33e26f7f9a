package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// The pause after the first failure, and the longest one. Each is multiplied by a random number from 0.5 to 1.
const (
	firstPause = 200 * time.Millisecond
	maxPause   = 5 * time.Second
)

// retry calls try until it succeeds or fails for good, until the time of WithRetryFor is used up, or until ctx ends. wait is
// how long Sluice may wait before it answers.
func (c *Client) retry(ctx context.Context, wait time.Duration, try func(context.Context) error) error {
	end := time.Now().Add(c.retryFor)
	for failures := 1; ; failures++ {
		err := c.limited(ctx, wait, try)
		if err == nil || !temporary(err) || ctx.Err() != nil {
			return err
		}
		pause := pauseAfter(failures, err)
		if time.Now().Add(pause).After(end) {
			return err
		}
		if ended := sleep(ctx, pause); ended != nil {
			return fmt.Errorf("%w. The last failure: %w", ended, err)
		}
	}
}

// limited calls try with a time limit. A call that is made once has the limit of its context only.
func (c *Client) limited(ctx context.Context, wait time.Duration, try func(context.Context) error) error {
	if c.retryFor > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait+tryTimeout)
		defer cancel()
	}
	return try(ctx)
}

// temporary reports whether the same call may succeed later.
func temporary(err error) bool {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Status == http.StatusRequestTimeout || p.Status == http.StatusTooManyRequests || p.Status >= 500
	}
	_, ok := errors.AsType[*callError](err)
	return ok
}

// pauseAfter returns the pause after a number of failures in a row, and at least what Sluice asks for.
func pauseAfter(failures int, err error) time.Duration {
	pause := min(firstPause<<min(failures-1, 10), maxPause)
	pause = time.Duration(float64(pause) * (0.5 + rand.Float64()/2))
	if p, ok := errors.AsType[*Problem](err); ok {
		pause = max(pause, p.RetryAfter)
	}
	return pause
}

// sleep waits for d, or returns the error of ctx when it ends earlier.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

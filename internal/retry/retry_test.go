package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/retry"
)

const ms = time.Millisecond

func TestAfter(t *testing.T) {
	t.Parallel()
	minute := retry.Pauses{First: time.Second, Max: time.Minute}
	for _, c := range []struct {
		p    retry.Pauses
		n    int
		want time.Duration
	}{
		{minute, -1, time.Second},
		{minute, 1, time.Second},
		{minute, 2, 2 * time.Second},
		{minute, 6, 32 * time.Second},
		{minute, 7, time.Minute},
		{minute, 1_000_000, time.Minute},
		{retry.Pauses{First: 10 * ms, Max: 25 * ms}, 3, 25 * ms},
		{retry.Pauses{First: time.Minute, Max: time.Second}, 1, time.Second},
		{retry.Pauses{}, 3, 0},
		{retry.Pauses{First: 1, Max: 1<<63 - 1}, 62, 1 << 61},
	} {
		if got := c.p.After(c.n); got != c.want {
			t.Errorf("%+v: after failure %d: %v, want %v", c.p, c.n, got, c.want)
		}
		c.p.Jitter = 0.5
		low, high := time.Duration(1<<63-1), time.Duration(0)
		for range 300 {
			d := c.p.After(c.n)
			low, high = min(low, d), max(high, d)
		}
		if low < c.want/2 || high > c.want+c.want/2+1 {
			t.Errorf("%+v: after failure %d: %v to %v, want half of %v to each side", c.p, c.n, low, high, c.want)
		}
		if high-low < c.want/2 {
			t.Errorf("%+v: after failure %d: always %v to %v, hardly any jitter", c.p, c.n, low, high)
		}
	}
}

// TestDo: the pauses grow, and what ends the tries is in the error with what failed last.
func TestDo(t *testing.T) {
	t.Parallel()
	p := retry.Pauses{First: 10 * ms, Max: 40 * ms}
	failure, final, gone := errors.New("failure"), errors.New("final"), errors.New("gone")
	for _, c := range []struct {
		name     string
		tries    int           // the last of which succeeds
		end      error         // of the last instead
		patience time.Duration // of the context
		took     time.Duration
		want     []error // none: success
	}{
		{"success at once", 1, nil, time.Hour, 0, nil},
		{"success later", 5, nil, time.Hour, (10 + 20 + 40 + 40) * ms, nil},
		{"permanent", 2, retry.Permanent(final), time.Hour, 10 * ms, []error{final}},
		{"the context ends", 100, nil, 50 * ms, 50 * ms, []error{gone, failure}},
		{"the context is over", 100, nil, 0, 0, []error{gone, failure}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeoutCause(t.Context(), c.patience, gone)
				defer cancel()
				start, n := time.Now(), 0
				err := p.Do(ctx, func() error {
					if n++; n == c.tries {
						return c.end
					}
					return failure
				})
				if took := time.Since(start); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if (err == nil) != (c.want == nil) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				for _, want := range c.want {
					if !errors.Is(err, want) {
						t.Errorf("error %v, want %v in it", err, want)
					}
				}
			})
		})
	}
}

// TestDoOfASuccessCostsNothing: it stands on the way of every message.
func TestDoOfASuccessCostsNothing(t *testing.T) {
	p := retry.Pauses{First: 10 * ms, Max: time.Second}
	ctx := t.Context()
	f := func() error { return nil }
	if n := testing.AllocsPerRun(100, func() { p.Do(ctx, f) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

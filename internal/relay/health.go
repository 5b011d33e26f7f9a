package relay

import (
	"time"

	"sluice/internal/retry"
)

const (
	tripped      = 8               // failures in a row after which there is one request at a time
	failingAfter = 5 * time.Minute // after failures for this time a target is failing
)

// probePauses are the pauses between the requests to a target that takes nothing.
var probePauses = retry.Pauses{First: time.Second, Max: time.Minute, Jitter: 0.3}

// health is whether a target takes requests.
type health struct {
	took    time.Time // the last request that it took
	since   time.Time // the first failure after that; zero: there is none
	fails   int       // failures in a row
	until   time.Time // no request before
	failure string    // why the last one failed
	tried   bool      // this worker has seen one of the failures
}

// resume takes over what another worker noted, as long as this one knows nothing better.
func (h *health) resume(g progress) {
	if since := time.UnixMilli(g.Failing); g.Failing > 0 && h.took.IsZero() && (h.since.IsZero() || since.Before(h.since)) {
		h.since, h.failure = since, g.Error
		if g.Paused {
			h.fails = max(h.fails, tripped)
		}
	}
}

// ok notes that the target took a request. It returns true if it took none before.
func (h *health) ok(now time.Time) (recovered bool) {
	recovered = h.fails >= tripped
	*h = health{took: now}
	return recovered
}

// failed notes that the target did not take a request.
func (h *health) failed(now time.Time, a answer) {
	if h.since.IsZero() {
		h.since = now
	}
	h.fails++
	h.failure, h.tried = a.failure, true
	if h.fails >= tripped {
		h.wait(now, probePauses.After(h.fails-tripped+1))
	}
	if a.crowded {
		h.wait(now, a.wait)
	}
}

func (h *health) wait(now time.Time, d time.Duration) {
	if at := now.Add(d); at.After(h.until) {
		h.until = at
	}
}

// failing reports whether the target has taken nothing for long.
func (h *health) failing(now time.Time) bool {
	return h.fails >= tripped && now.Sub(h.since) >= failingAfter
}

// limit returns how many requests may run, at most so many.
func (h *health) limit(now time.Time, most int) int {
	switch {
	case now.Before(h.until):
		return 0
	case h.fails >= tripped:
		return 1
	}
	return most
}

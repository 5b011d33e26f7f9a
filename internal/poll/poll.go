// Package poll lets tests wait for an event that shows only when one asks.
package poll

import (
	"testing"
	"time"
)

// Limit is how long a test waits for an event. It is long, so that a busy machine does not look like a failure.
const Limit = 2 * time.Minute

// Until waits until ok returns true, and fails the test after Limit. It asks first after 5 ms, then after a tenth of the time
// that has passed: to ask is work for the machine that the test waits for.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(min(max(time.Since(begin)/10, 5*time.Millisecond), 200*time.Millisecond)) {
		if time.Since(begin) > Limit {
			t.Fatalf("not within %s: %s", Limit, what)
		}
	}
}

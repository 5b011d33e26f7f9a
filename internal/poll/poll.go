// Package poll lets tests wait for an event that shows only when one asks.
package poll

import (
	"testing"
	"time"
)

// limit is how long a test waits. It is long, so that a busy machine does not look like a failure.
const limit = 2 * time.Minute

// Until waits until ok returns true. It asks every few milliseconds, and fails the test after two minutes.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

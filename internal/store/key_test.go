package store_test

import (
	"testing"

	"sluice/internal/message"
	"sluice/internal/store"
)

// TestKey: where a shard's data lies must not change between versions.
func TestKey(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"sluice:{s07}:m:x":  store.Key(7, "m:x"),
		"sluice:{s100}:run": store.Key(message.Shard(100), "run"),
	} {
		if got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}
}

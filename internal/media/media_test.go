package media_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/media"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// A file is known at the number from which it was uploaded, for as long as the store says. What was read a moment ago costs no command, and a
// new upload counts at once.
func TestStore(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	const number, other = "106540352242922", "106540352242923"
	one, two := strings.Repeat("1", 64), strings.Repeat("2", 64)
	s := media.New(db, message.DefaultShards)
	find := func(number string, want ...string) {
		t.Helper()
		if got, err := s.Find(t.Context(), number, []string{one, two}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	find(number, "", "")
	if err := s.Add(t.Context(), number, one, "900"); err != nil {
		t.Fatal(err)
	}
	find(number, "900", "")
	find(other, "", "")
	if err := s.Add(t.Context(), number, one, "901"); err != nil {
		t.Fatal(err)
	}
	find(number, "901", "")
	keys := db.Keys(t.Context(), "*").Val()
	if len(keys) != 3 { // two ids, and a hash
		t.Fatalf("keys: %q", keys)
	}
	for _, key := range keys {
		if left := db.TTL(t.Context(), key).Val(); left < media.Known-time.Minute || left > media.Known {
			t.Errorf("%s is remembered for %v", key, left)
		}
	}
	db.FlushDB(t.Context())
	find(number, "901", "") // as it was read a moment ago
	s = media.New(db, message.DefaultShards)
	find(number, "", "")
	if err := s.Add(t.Context(), number, two, "902"); err != nil {
		t.Fatal(err)
	}
	find(number, "", "902")
	for range 2 {
		if err := s.Remove(t.Context(), number, "902"); err != nil {
			t.Fatal(err)
		}
		find(number, "", "")
	}
}

package directory_test

import (
	"testing"
	"time"

	"sluice/internal/directory"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestRegistrations: ten registrations of a number are possible in 72 hours, by all processes together.
func TestRegistrations(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		wait, err := directory.NewRegistrations(db).Count(t.Context(), "106540352242922")
		if err != nil || (i < 10) != (wait == 0) || wait > 72*time.Hour || i >= 10 && wait < 71*time.Hour {
			t.Errorf("%d: wait %s, %v", i, wait, err)
		}
	}
	if wait, err := directory.NewRegistrations(db).Count(t.Context(), "106540352242923"); err != nil || wait != 0 {
		t.Errorf("another number: %s, %v", wait, err)
	}
	// An old one does not count.
	for _, key := range db.Keys(t.Context(), "*registrations:106540352242922").Val() {
		for _, z := range db.ZRangeWithScores(t.Context(), key, 0, 0).Val() {
			z.Score -= float64((73 * time.Hour).Milliseconds())
			db.ZAdd(t.Context(), key, z)
		}
	}
	if wait, err := directory.NewRegistrations(db).Count(t.Context(), "106540352242922"); err != nil || wait != 0 {
		t.Errorf("when the first is old: %s, %v", wait, err)
	}
}

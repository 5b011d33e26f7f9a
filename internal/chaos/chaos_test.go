package chaos

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sluice/internal/buildtest"
)

func TestRows(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range matrix {
		if seen[r.id] || r.fault == "" || r.takes == 0 || r.play == nil {
			t.Errorf("%s: %+v", r.id, r)
		}
		seen[r.id] = true
	}
	if some, err := (Options{Only: []string{"c4", "C1"}}).rows(); err != nil || len(some) != 2 || some[0].id != "C4" {
		t.Errorf("%v", err)
	}
	if _, err := (Options{Only: []string{"C99"}}).rows(); err == nil {
		t.Error("there is no C99")
	}
	if _, err := (Options{Only: []string{"C91"}}).rows(); err == nil {
		t.Error("C91 has no earlier version to run")
	}
}

// The same seed chooses the same rows, and no part takes longer than the budget.
func TestTheRowsOfCI(t *testing.T) {
	t.Parallel()
	var before []string
	for seed := range uint64(50) {
		some, err := Options{CI: true, Seed: seed}.rows()
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		var takes time.Duration
		for _, r := range some {
			ids = append(ids, r.id)
			takes += r.takes
		}
		again, _ := Options{CI: true, Seed: seed}.rows()
		if len(again) != len(some) || again[0].id != some[0].id {
			t.Errorf("seed %d chose %v, and then others", seed, ids)
		}
		if takes > ciBudget || takes < ciBudget/2 || slices.Equal(ids, before) {
			t.Errorf("seed %d: %v take %s", seed, ids, takes)
		}
		before = ids
	}
}

// TestPlay runs a small row.
func TestPlay(t *testing.T) {
	if testing.Short() {
		t.Skip("starts seven processes")
	}
	program := filepath.Join(buildtest.Programs(t), "sluice")
	o := Options{Only: []string{"C26"}, Scale: 0.2, Seed: 5, Program: program, Log: t.Output(), Keep: t.TempDir()}
	results, err := Run(t.Context(), o, func(Result) {})
	if err != nil || len(results) != 1 || !results[0].OK() || results[0].Messages < 100 {
		t.Errorf("%+v, %v", results, err)
	}
}

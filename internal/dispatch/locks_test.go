package dispatch

import (
	"sync"
	"testing"
	"time"
)

// TestPlacementAndBookingDoNotWaitForEachOther: a number is called while it books; each holds a
// lock that the other asks for.
func TestPlacementAndBookingDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	n := g.newNumber(phone, 80)
	g.assignment.active[phone] = &active{number: n, stop: func() {}}
	g.assignment.workers = alike(shards, "w", "v")
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 20_000 {
				g.serve(phone)
			}
		})
		wg.Go(func() {
			for range 20_000 {
				n.schedule.Args()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("they wait for each other")
	}
}

package pages_test

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkOverview opens the overview of 2,000 numbers with 1,000,000 waiting messages, each time with a new reading of the store.
func BenchmarkOverview(b *testing.B) {
	s := setup(b)
	s.numbers = nil
	for i := range 2000 {
		s.numbers = append(s.numbers, fmt.Sprint(106540000000000+i))
	}
	for _, id := range s.numbers {
		s.wait(id, 500, time.Now().Add(-time.Hour))
	}
	s.pages, s.url = s.serve(s.keys)
	browser := s.signIn("admin")
	browser.act("/console/holds", "hold", "tag", "spring", "reason", "x")
	for b.Loop() {
		b.StopTimer()
		time.Sleep(1100 * time.Millisecond) // one reading serves all callers for a second
		b.StartTimer()
		if p := browser.get("/console/overview"); p.StatusCode != 200 {
			b.Fatal(p.text)
		}
	}
}

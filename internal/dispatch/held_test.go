package dispatch

import (
	"maps"
	"slices"
	"testing"

	"sluice/internal/message"
)

// TestCountHeld: a hold on a number keeps what waits in its queues, one on a template or a tag what workers
// have set aside for it; by number each message counts once.
func TestCountHeld(t *testing.T) {
	t.Parallel()
	const template, other = "sale/en_US", "1999"
	f := setupRecords(t)
	hs, reader := f.holds(), f.rates(80)
	tasks := many(7, phone, message.Utility)
	f.record(tasks[:3], Candidate{Template: template})
	f.record(tasks[3:5], Candidate{Tags: []string{"spring"}})
	f.record(tasks[5:], Candidate{})
	f.add(tasks[:5]...)
	set := []message.Hold{{Number: phone, Template: template}, {Tag: "spring"}, {Number: other}}
	counts := func(byHold []int, byNumber map[string]int) {
		t.Helper()
		gotHold, gotNumber, err := reader.CountHeld(t.Context(), set)
		if err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(gotNumber, func(_ string, n int) bool { return n == 0 })
		if !slices.Equal(gotHold, byHold) || !maps.Equal(gotNumber, byNumber) {
			t.Errorf("%d and %v are held, want %d and %v", gotHold, gotNumber, byHold, byNumber)
		}
	}
	counts([]int{0, 0, 0}, map[string]int{})

	for _, h := range set {
		if _, err := hs.Set(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	n := g.number(phone)
	if got := take(t, g, n, 100); len(got) != 0 {
		t.Fatalf("took %q, which are held", got)
	}
	if err := n.lease.Write(0); err != nil {
		t.Fatal(err)
	}
	f.add(tasks[5:]...)
	f.add(many(4, other, message.Service)...)
	counts([]int{3, 2, 4}, map[string]int{phone: 5, other: 4})

	set = append(set, message.Hold{Number: phone}, message.Hold{})
	counts([]int{3, 2, 4, 2, 6}, map[string]int{phone: 7, other: 4})
	set = set[1:2]
	counts([]int{2}, map[string]int{phone: 2})
	set = nil
	counts([]int{}, map[string]int{})
}

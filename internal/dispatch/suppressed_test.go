package dispatch

import (
	"context"
	"slices"
	"testing"

	"sluice/internal/message"
	"sluice/internal/queue"
)

// TestSuppressed: messages to recipients who opted out are cancelled and take no slot; one that cannot be cancelled keeps its task.
func TestSuppressed(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	sale := many(3, phone, message.Marketing)
	f.add(sale...)
	f.record(sale[:2], Candidate{Verdict: Suppressed})
	f.record(sale[2:], Candidate{})
	g, n := c.gate("w", 2000)
	var asked int
	g.o.Cancel = func(_ context.Context, some []Candidate) []bool {
		done := make([]bool, len(some))
		for i := range some {
			done[i] = asked == 0
			asked++
		}
		return done
	}
	var got []string
	for range 3 { // after tasks that could not be sent, several are fetched for a slot
		some := take(t, g, n, 100)
		f.end(g, n, queue.Finished, some...)
		got = append(got, some...)
	}
	if !slices.Equal(got, messageIDs(sale[2:])) || asked != 2 {
		t.Errorf("sent %q, and cancelled %d", got, asked)
	}
	g.tidyUp(t.Context(), n, true)
	missing, err := f.client.Missing(t.Context(), sale)
	if err != nil || !slices.Equal(missing, []int{0, 2}) {
		t.Errorf("tasks of %v are gone, want those of the cancelled and the sent one, %v", missing, err)
	}
}

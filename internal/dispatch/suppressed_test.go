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

// TestOutside: messages outside the customer service window end or get another content, except those that are held: the window may
// open until the hold ends.
func TestOutside(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	all := many(3, phone, message.Service)
	f.add(all...)
	f.record(all[:1], Candidate{Verdict: Outside, Why: message.ReasonWindow})
	f.record(all[1:2], Candidate{Verdict: Outside, Why: message.ReasonWindow, Tags: []string{"spring"}})
	f.record(all[2:], Candidate{})
	if _, err := f.holds().Set(t.Context(), message.Hold{Tag: "spring"}); err != nil {
		t.Fatal(err)
	}
	g, n := c.gate("w", 2000)
	var ended []string
	g.o.Cancel = func(_ context.Context, some []Candidate) []bool {
		done := make([]bool, len(some))
		for i, one := range some {
			done[i], ended = true, append(ended, one.Why)
		}
		return done
	}
	var got []string
	for range 3 {
		some := take(t, g, n, 100)
		f.end(g, n, queue.Finished, some...)
		got = append(got, some...)
	}
	if !slices.Equal(got, messageIDs(all[2:])) || !slices.Equal(ended, []string{message.ReasonWindow}) {
		t.Errorf("sent %q, and ended %q", got, ended)
	}
	g.tidyUp(t.Context(), n, true)
	missing, err := f.client.Missing(t.Context(), all)
	if err != nil || !slices.Equal(missing, []int{0, 2}) {
		t.Errorf("tasks of %v are gone, want those of the ended and the sent one, %v", missing, err)
	}
}

package dispatch

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/internal/poll"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
)

// journal notes what was sent, in order.
type journal struct {
	mu   sync.Mutex
	ids  []string
	at   []time.Time   // their slots
	more chan struct{} // gets one value at each send; buffered
}

func newJournal() *journal { return &journal{more: make(chan struct{}, 10000)} }

// send waits for a slot, uses it and notes the message. It is false when the worker stops.
func (j *journal) send(ctx context.Context, id string, slots *Slots) bool {
	for {
		s, err := slots.Wait(ctx, false)
		if err != nil {
			return false
		}
		s.Ready()
		switch err := s.Use(ctx); err {
		case nil:
			j.mu.Lock()
			j.ids = append(j.ids, id)
			j.at = append(j.at, s.At)
			j.mu.Unlock()
			j.more <- struct{}{}
			return true
		case ratelimit.ErrLate:
		default:
			return false
		}
	}
}

// handle sends each task once.
func (j *journal) handle(ctx context.Context, id string, _ int, _ any, slots *Slots) error {
	if !j.send(ctx, id, slots) {
		return Later{}
	}
	return nil
}

func (j *journal) sent() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.ids)
}

// wait waits for n further sends.
func (j *journal) wait(t testing.TB, n int) {
	t.Helper()
	end := time.After(poll.Limit)
	for i := range n {
		select {
		case <-j.more:
		case <-end:
			t.Fatalf("%d of %d messages were sent", i, n)
		}
	}
}

// once fails the test unless exactly the tasks were sent, each once.
func (j *journal) once(t testing.TB, tasks []queue.Task) {
	t.Helper()
	count := map[string]int{}
	for _, id := range j.sent() {
		count[id]++
	}
	for _, task := range tasks {
		if count[task.ID] != 1 {
			t.Errorf("%s was sent %d times", task.ID, count[task.ID])
		}
		delete(count, task.ID)
	}
	if len(count) > 0 {
		t.Errorf("sent as well: %v", count)
	}
}

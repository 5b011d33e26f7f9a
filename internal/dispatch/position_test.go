package dispatch

import (
	"testing"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/message"
	"sluice/internal/queue"
)

// TestPlace: where a task is in its queue.
func TestPlace(t *testing.T) {
	t.Parallel()
	f := setup(t)
	reader := backlog.New(f.db, shards, func(string) int { return 10 })
	tasks := many(30, phone, message.Utility)
	f.add(tasks...)
	f.add(many(100, phone, message.Marketing)...)
	f.add(many(50, phone, message.Authentication)...)
	soon := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	f.add(queue.Task{ID: phone + "-soon", K: 1, Number: phone, Class: message.Utility, At: soon})
	place := func(id string) message.QueueStatus {
		t.Helper()
		p, err := reader.Position(t.Context(), phone, message.Utility, message.Flow{}, id, 1)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, last := place(tasks[0].ID), place(tasks[29].ID)
	if first.Task != message.TaskWaiting || first.Ahead != 0 || first.Approximate || last.Ahead != 29 {
		t.Errorf("the first %+v, the last %+v", first, last)
	}
	// 50 more urgent ones and 29 of its own, of which every third has a slot before them: see Drain.
	if last.In < 7*time.Second || last.In > 8*time.Second || first.In >= last.In {
		t.Errorf("the first leaves in %s, the last in %s", first.In, last.In)
	}
	if p := place(phone + "-soon"); p.Task != message.TaskDelayed || !p.Until.Equal(soon) {
		t.Errorf("a later one %+v, due %s", p, soon)
	}
	if p := place(phone + "-none"); p.Task != message.TaskMissing {
		t.Errorf("none %+v", p)
	}
	g, _ := f.gate("w", Number{ID: phone, Rate: 10})
	taken := take(t, g, g.number(phone), 100)
	if len(taken) == 0 || taken[len(taken)-1] == tasks[0].ID {
		t.Fatal(taken)
	}
	if p := place(tasks[0].ID); p.Task != message.TaskWaiting {
		t.Errorf("not taken %+v", p)
	}
	if p, err := reader.Position(t.Context(), phone, message.Authentication, message.Flow{}, taken[0], 1); err != nil || p.Task != message.TaskFetched {
		t.Errorf("taken %+v, %v", p, err)
	}
}

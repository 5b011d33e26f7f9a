package app

import (
	"context"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/store"
)

// desk is where callers of the API and operators ask about messages that were accepted.
type desk struct {
	*ledger.Ledger
	tasks *queue.Client
	holds *queue.Holds
	paces *queue.Paces
}

// Standing tells what keeps a queued message beside its record.
func (d desk) Standing(ctx context.Context, r message.Record) (message.Standing, error) {
	s, err := d.paces.Place(ctx, r.From, r.Class, r.ID, r.Task)
	if err != nil {
		return s, err
	}
	s.Holds, err = d.holds.On(ctx, r.Context)
	return s, err
}

// Move moves a message on, and makes its next task when it is to be sent again: both or neither,
// and on a full Redis too. It tells whether it moved.
func (d desk) Move(ctx context.Context, o message.Open, m message.Move) (bool, error) {
	if m.To != message.Queued {
		return d.Sweep(ctx, o, m)
	}
	task := queue.Task{ID: o.ID, K: o.K + 1, Number: o.Message.From, Class: o.Message.Class}
	if m.In > 0 {
		task.At = d.Clock(ctx, o.ID).Add(m.In)
	}
	return d.Ledger.Move(ctx, o, m, func(w *store.Writes) error { return d.tasks.Enqueue(w, task) })
}

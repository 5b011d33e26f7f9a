package repository

import (
	"context"

	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/queue"
)

// Waiting shows what a queued message waits for, except what its record shows. It is safe for concurrent use.
type Waiting struct {
	paces *queue.Paces
	holds *holds.Store
}

// NewWaiting returns a Waiting that reads paces and holds.
func NewWaiting(paces *queue.Paces, h *holds.Store) *Waiting { return &Waiting{paces, h} }

// QueueStatus returns the position of a queued message, and the holds that apply to it.
func (wt *Waiting) QueueStatus(ctx context.Context, r message.Record) (message.QueueStatus, error) {
	s, err := wt.paces.Place(ctx, r.From, r.Class, r.ID, r.Task)
	if err != nil {
		return s, err
	}
	s.Holds, err = wt.holds.On(ctx, r.Context)
	return s, err
}

package repository

import (
	"context"

	"sluice/internal/backlog"
	"sluice/internal/holds"
	"sluice/internal/message"
)

// Waiting shows what a queued message waits for, except what its record shows. It is safe for concurrent use.
type Waiting struct {
	backlog *backlog.Reader
	holds   *holds.Store
}

// NewWaiting returns a Waiting that reads the backlog and the holds.
func NewWaiting(b *backlog.Reader, h *holds.Store) *Waiting { return &Waiting{b, h} }

// QueueStatus returns the position of a queued message, and the holds that apply to it.
func (wt *Waiting) QueueStatus(ctx context.Context, r message.Record) (message.QueueStatus, error) {
	s, err := wt.backlog.Position(ctx, r.From, r.Class, r.ID, r.Task)
	if err != nil {
		return s, err
	}
	s.Holds, err = wt.holds.On(ctx, r.Context)
	return s, err
}

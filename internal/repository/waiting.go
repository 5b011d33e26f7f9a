package repository

import (
	"context"
	"errors"

	"sluice/internal/backlog"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
)

// Waiting shows what a queued message waits for, except what its record shows. It is safe for concurrent use.
type Waiting struct {
	backlog *backlog.Reader
	holds   *holds.Store
	named   Named
}

// NewWaiting returns a Waiting that reads the backlog, the holds and the records.
func NewWaiting(b *backlog.Reader, h *holds.Store, records *ledger.Ledger) *Waiting {
	return &Waiting{b, h, NewNamed(records)}
}

// QueueStatus returns the position of a queued message, the holds that apply to it, and the message that it waits for.
func (wt *Waiting) QueueStatus(ctx context.Context, r message.Record) (message.QueueStatus, error) {
	s, err := wt.backlog.Position(ctx, r.From, r.Class, r.Flow(), r.ID, r.Task)
	if err != nil {
		return s, err
	}
	if s.Holds, err = wt.holds.On(ctx, r.Context); err != nil {
		return s, err
	}
	s.Named, err = wt.named.waitsFor(ctx, r.ID)
	if errors.Is(err, message.ErrNotFound) { // it has ended since
		err = nil
	}
	return s, err
}

package app

import (
	"context"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
)

// desk answers callers of the API about messages that were accepted.
type desk struct {
	*ledger.Ledger
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

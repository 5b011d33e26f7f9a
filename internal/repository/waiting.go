package repository

import (
	"context"
	"errors"

	"sluice/internal/backlog"
	"sluice/internal/conversations"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/quiethours"
	"sluice/internal/servicewindow"
)

// Waiting shows what a queued message waits for, except what its record shows. It is safe for concurrent use.
type Waiting struct {
	backlog *backlog.Reader
	holds   *holds.Store
	named   Named
	owners  *conversations.Owners
	quiet   *quiethours.Rules
	windows *servicewindow.Windows
}

// NewWaiting returns a Waiting that reads the backlog, the holds, the records, the owners of conversations and the customer service windows, and
// knows the quiet hours.
func NewWaiting(b *backlog.Reader, h *holds.Store, records *ledger.Ledger, owners *conversations.Owners, quiet *quiethours.Rules, windows *servicewindow.Windows) *Waiting {
	return &Waiting{b, h, NewNamed(records), owners, quiet, windows}
}

// QueueStatus returns the position of a queued message, the holds that apply to it, and the message that it waits for.
func (wt *Waiting) QueueStatus(ctx context.Context, r message.Record) (message.QueueStatus, error) {
	s, err := wt.backlog.Position(ctx, r.From, r.Class, r.Flow(), r.ID, r.Task)
	if err != nil {
		return s, err
	}
	if s.Elsewhere {
		until, err := wt.owners.Elsewhere(ctx, []conversations.Conversation{{Number: r.From, Person: s.Person}})
		if err != nil {
			return s, err
		}
		s.Until = until[0]
	}
	if s.Task == message.TaskDelayed && !s.Limited && !s.Elsewhere {
		if s.Quiet, err = wt.quietUntil(ctx, r); err != nil {
			return s, err
		}
	}
	if s.Window, s.WindowEnds, err = wt.window(ctx, r); err != nil {
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

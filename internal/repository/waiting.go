package repository

import (
	"context"
	"errors"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/budget"
	"sluice/internal/campaigns"
	"sluice/internal/conversations"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/quiethours"
	"sluice/internal/servicewindow"
)

// Waiting shows what a queued message waits for, except what its record shows. It is safe for concurrent use.
type Waiting struct {
	o     WaitingOptions
	named Named
}

// WaitingOptions configure a Waiting. All are required.
type WaitingOptions struct {
	Backlog   *backlog.Reader
	Holds     *holds.Store
	Records   *ledger.Ledger
	Owners    *conversations.Owners
	Quiet     *quiethours.Rules
	Campaigns *campaigns.Store
	Budgets   *budget.Store
	Windows   *servicewindow.Windows
}

// NewWaiting returns a Waiting.
func NewWaiting(o WaitingOptions) *Waiting { return &Waiting{o, NewNamed(o.Records)} }

// QueueStatus returns the position of a queued message, the holds that apply to it, and the message that it waits for.
func (wt *Waiting) QueueStatus(ctx context.Context, r message.Record) (message.QueueStatus, error) {
	s, err := wt.o.Backlog.Position(ctx, r.From, r.Class, r.Flow(), r.ID, r.Task)
	if err != nil {
		return s, err
	}
	if s.Elsewhere {
		until, err := wt.o.Owners.Elsewhere(ctx, []conversations.Conversation{{Number: r.From, Person: s.Person}})
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
	if s.Task == message.TaskWaiting {
		if s.Budget, err = wt.over(ctx, r); err != nil {
			return s, err
		}
	}
	if s.Task == message.TaskWaiting && r.Campaign != "" {
		if err = wt.capped(ctx, r.Flow(), &s); err != nil {
			return s, err
		}
	}
	if s.Window, s.WindowEnds, err = wt.window(ctx, r); err != nil {
		return s, err
	}
	if s.Holds, err = wt.o.Holds.On(ctx, r.Context); err != nil {
		return s, err
	}
	s.Named, err = wt.named.waitsFor(ctx, r.ID)
	if errors.Is(err, message.ErrNotFound) { // it has ended since
		err = nil
	}
	return s, err
}

// capped sets until about when the cap per day of a campaign keeps a message, if the cap is reached; else it may be reached before the message's turn,
// and then that is later.
func (wt *Waiting) capped(ctx context.Context, f message.Flow, s *message.QueueStatus) error {
	settings, err := wt.o.Campaigns.Settings(ctx, f)
	if err != nil || settings == nil || settings.CapPerDay == 0 {
		return err
	}
	today, ends, err := wt.o.Campaigns.Counted(ctx, *settings)
	if err != nil {
		return err
	}
	now := time.Now()
	wait := settings.CapWait(s.Ahead, today, now, ends, func(ahead int) time.Duration {
		return time.Duration(float64(s.In) * float64(ahead) / float64(max(s.Ahead, 1)))
	})
	if today >= settings.CapPerDay {
		s.Capped = now.Add(wait)
	}
	s.In = max(s.In, wait)
	return nil
}

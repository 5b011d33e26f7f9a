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
		if s.Capped, err = wt.cappedUntil(ctx, r.Flow(), s.Ahead); err != nil {
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

// cappedUntil returns until about when the cap per day of a campaign keeps a message behind so many others; zero: the cap is not reached.
func (wt *Waiting) cappedUntil(ctx context.Context, f message.Flow, ahead int) (time.Time, error) {
	settings, err := wt.o.Campaigns.Settings(ctx, f)
	if err != nil || settings == nil || settings.CapPerDay == 0 {
		return time.Time{}, err
	}
	today, ends, err := wt.o.Campaigns.Counted(ctx, *settings)
	if err != nil || today < settings.CapPerDay {
		return time.Time{}, err
	}
	now := time.Now()
	return now.Add(settings.CapWait(ahead, today, now, ends, func(int) time.Duration { return 0 })), nil
}

package repository

import (
	"context"
	"errors"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/campaigns"
	"sluice/internal/conversations"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/quiethours"
)

// Waiting shows what a queued message waits for, except what its record shows. It is safe for concurrent use.
type Waiting struct {
	backlog *backlog.Reader
	holds   *holds.Store
	named   Named
	owners  *conversations.Owners
	quiet   *quiethours.Rules

	campaigns *campaigns.Store
}

// NewWaiting returns a Waiting that reads the backlog, the holds, the records, the owners of conversations and the settings of campaigns, and knows
// the quiet hours.
func NewWaiting(b *backlog.Reader, h *holds.Store, records *ledger.Ledger, owners *conversations.Owners, quiet *quiethours.Rules, c *campaigns.Store) *Waiting {
	return &Waiting{b, h, NewNamed(records), owners, quiet, c}
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
	if s.Task == message.TaskWaiting && r.Campaign != "" {
		if s.Capped, err = wt.cappedUntil(ctx, r.Flow(), s.Ahead+1); err != nil {
			return s, err
		}
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

// cappedUntil returns until about when the cap per day of a campaign keeps the last of its next messages; zero: the cap is not reached.
func (wt *Waiting) cappedUntil(ctx context.Context, f message.Flow, messages int) (time.Time, error) {
	settings, err := wt.campaigns.Settings(ctx, f)
	if err != nil || settings == nil || settings.CapPerDay == 0 {
		return time.Time{}, err
	}
	today, ends, err := wt.campaigns.Counted(ctx, *settings)
	if err != nil || today < settings.CapPerDay {
		return time.Time{}, err
	}
	return time.Now().Add(settings.CapWait(messages, today, time.Until(ends))), nil
}

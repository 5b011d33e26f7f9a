package repository

import (
	"context"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/budget"
	"sluice/internal/campaigns"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
)

// Campaigns reads how far campaigns are, and what their messages wait for, changes their settings, and cancels campaigns. It is safe for concurrent use.
type Campaigns struct {
	*ledger.Ledger
	backlog   *backlog.Reader
	holds     *holds.Store
	campaigns *campaigns.Store
	budgets   *budget.Store
}

// NewCampaigns returns Campaigns that read the counters in the ledger, the backlog, the holds, the settings and the cancelled campaigns, and what
// was spent.
func NewCampaigns(l *ledger.Ledger, b *backlog.Reader, h *holds.Store, c *campaigns.Store, spent *budget.Store) *Campaigns {
	return &Campaigns{l, b, h, c, spent}
}

// CampaignWait returns what the messages of a campaign that wait at some numbers wait for.
func (c *Campaigns) CampaignWait(ctx context.Context, f message.Flow, numbers []string) (message.CampaignWait, error) {
	var w message.CampaignWait
	all, err := c.backlog.ReadAll(ctx, numbers)
	if err != nil {
		return w, err
	}
	pending, in := backlog.FlowETA(all, f)
	w.Pending = pending
	every, err := c.holds.List(ctx)
	if err != nil {
		return w, err
	}
	for _, h := range every {
		for _, number := range numbers { // a hold on a template applies if the campaign has it
			if h.Concerns(message.Context{From: number, Template: h.Template, Tags: []string{f.Campaign}, Client: f.Client, Campaign: f.Campaign}) {
				w.Holds = append(w.Holds, h)
				break
			}
		}
	}
	if w.Cancelled, err = c.campaigns.Get(ctx, f); err != nil {
		return w, err
	}
	var settings message.CampaignSettings
	if w.Settings, err = c.campaigns.Settings(ctx, f); err != nil {
		return w, err
	}
	if w.Settings != nil {
		settings = *w.Settings
		err = c.used(ctx, &w)
	}
	if err != nil || pending == 0 {
		return w, err
	}
	now := time.Now()
	w.In = settings.CapWait(pending-1, w.Today, now, w.DayEnds, in)
	used, err := c.budgets.Of(ctx, now, f)
	if err != nil || len(used) == 0 {
		return w, err
	}
	cost, err := c.cost(ctx, all, f, pending)
	for _, u := range used {
		if fit := u.Fits(pending, cost); cost > 0 && fit < pending {
			w.Short = append(w.Short, message.Shortage{BudgetUse: u, Messages: pending - fit})
		}
	}
	return w, err
}

// costOf is of how many of the messages that leave next of each number and class the price is read, for an estimate of all.
const costOf = 100

// cost estimates what the messages of a flow cost that wait for a slot, by those that leave next. What counts as spent already costs nothing.
func (c *Campaigns) cost(ctx context.Context, all []backlog.Number, f message.Flow, pending int) (message.Amount, error) {
	if pending == 0 {
		return 0, nil
	}
	ids, err := c.backlog.Next(ctx, all, f, costOf)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	records, err := c.ReadAnywhere(ctx, ids)
	sum := 0
	for _, r := range records {
		if r.Spent == 0 {
			sum += r.Price
		}
	}
	return message.Amount(float64(sum) / float64(len(ids)) * float64(pending)), err
}

// CancelCampaign cancels a campaign, and returns when; or message.ErrNotFound if there is no message of it.
func (c *Campaigns) CancelCampaign(ctx context.Context, order message.CancelledCampaign) (time.Time, error) {
	progress := []message.CampaignProgress{{Flow: order.Flow}}
	if err := c.CampaignProgress(ctx, progress); err != nil {
		return time.Time{}, err
	}
	if len(progress[0].Counts) == 0 {
		return time.Time{}, message.ErrNotFound
	}
	return c.campaigns.Cancel(ctx, order)
}

// OpenCampaign lets messages of a cancelled campaign be accepted and sent again. It is false if the campaign is not cancelled.
func (c *Campaigns) OpenCampaign(ctx context.Context, order message.CancelledCampaign) (bool, error) {
	return c.campaigns.Open(ctx, order)
}

// ChangeCampaign changes settings of a campaign, which may have no messages yet. It returns the campaign's settings and what is used of them.
func (c *Campaigns) ChangeCampaign(ctx context.Context, change message.CampaignChange) (w message.CampaignWait, err error) {
	settings, err := c.campaigns.Change(ctx, change)
	if err != nil || !settings.Set() {
		return w, err
	}
	w.Settings = &settings
	return w, c.used(ctx, &w)
}

// used sets what is used of the settings in w.
func (c *Campaigns) used(ctx context.Context, w *message.CampaignWait) (err error) {
	if w.Settings.CapPerDay > 0 {
		w.Today, w.DayEnds, err = c.campaigns.Counted(ctx, *w.Settings)
	}
	if w.Settings.Budget > 0 && err == nil {
		w.Spent, err = c.budgets.Spent(ctx, w.Settings.Flow)
	}
	return err
}

package app

import (
	"context"
	"time"

	"sluice/internal/campaigns"
	"sluice/internal/message"
)

// cancelCampaigns cancels what waits of campaigns that operators cancelled. One worker does so for each campaign. An order stays until no
// message is left, so that another worker goes on after a kill.
func (w *worker) cancelCampaigns(ctx context.Context) error {
	orders := campaigns.NewStore(w.DB)
	tick := time.NewTicker(leaveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		all, err := orders.Cancelling(ctx)
		for _, c := range all {
			if err == nil {
				err = w.cancelCampaign(ctx, orders, c)
			}
		}
		if err != nil && ctx.Err() == nil {
			w.Log.Warn("cannot cancel the messages of a campaign, will retry", "err", err)
		}
	}
}

// cancelCampaign cancels the messages of a campaign that wait. When none is left, and all producers refuse new ones, it ends the order
// and the hold that came with it.
func (w *worker) cancelCampaign(ctx context.Context, orders *campaigns.Store, c message.CancelledCampaign) error {
	workers, err := living(w.book, w.shards)(ctx)
	if err != nil || message.Rank(w.name, workers[0], c.String()) != 0 {
		return err
	}
	count := func() (waiting, left int, err error) {
		progress := []message.CampaignProgress{{Flow: c.Flow}}
		err = w.book.CampaignProgress(ctx, progress)
		for _, one := range progress[0].Counts {
			switch one.State {
			case message.Queued, message.Parked:
				waiting += one.Count
				left += one.Count
			case message.InDoubt:
				left += one.Count
			}
		}
		return waiting, left, err
	}
	waiting, left, err := count()
	if err == nil && waiting > 0 {
		if err = w.cancelWaiting(ctx, c.Flow); err == nil {
			_, left, err = count()
		}
	}
	if err != nil || left > 0 || time.Now().Add(w.DB.ClockOffset()).Before(c.At.Add(campaigns.Noticed)) {
		return err
	}
	h := message.Hold{Client: c.Client, Campaign: c.Campaign, By: "sluice", Reason: "the campaign is cancelled, and no message is left"}
	if _, err := w.holds.Release(ctx, h); err != nil {
		return err
	}
	if err := orders.Done(ctx, c); err != nil {
		return err
	}
	w.Log.Info("campaign cancelled", "campaign", c.String())
	return nil
}

// cancelWaiting cancels the messages of a campaign that are queued or parked. It reads all messages that wait, page by page.
func (w *worker) cancelWaiting(ctx context.Context, f message.Flow) error {
	filter := message.ListFilter{Flow: &f, States: []message.State{message.Queued, message.Parked}}
	for at := (&message.ListPosition{}); at != nil; {
		some, next, err := w.book.List(ctx, filter, *at, cancelMost)
		if err != nil {
			return err
		}
		err = each(some, func(m message.Record) error {
			_, err := w.book.Cancel(ctx, m.ID)
			return err
		})
		if err != nil {
			return err
		}
		at = next
	}
	return nil
}

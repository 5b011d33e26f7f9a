package app

import (
	"context"
	"errors"
	"time"

	"sluice/internal/campaigns"
	"sluice/internal/message"
)

// purgeCampaignsEvery is how often a worker deletes old settings of campaigns, and old cancelled campaigns.
const purgeCampaignsEvery = time.Hour

// cancelCampaigns cancels what waits of campaigns that were cancelled. One worker does so for each campaign. An order stays until no
// message is left, so that another worker goes on after a kill.
func (w *worker) cancelCampaigns(ctx context.Context) error {
	tick, old := time.NewTicker(leaveEvery), time.NewTicker(purgeCampaignsEvery)
	defer tick.Stop()
	defer old.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-old.C:
			err = w.campaigns.Purge(ctx, func(ctx context.Context, f message.Flow) (bool, error) {
				progress := []message.CampaignProgress{{Flow: f}}
				err := w.book.CampaignProgress(ctx, progress)
				return len(progress[0].Counts) > 0, err
			})
		case <-tick.C:
			var all []message.CancelledCampaign
			all, err = w.campaigns.Cancelling(ctx)
			for _, c := range all {
				err = errors.Join(err, w.cancelCampaign(ctx, c))
			}
		}
		if err != nil && ctx.Err() == nil {
			w.Log.Warn("cannot cancel the messages of a campaign, will retry", "err", err)
		}
	}
}

// cancelCampaign cancels the messages of a campaign that wait. It ends the order when none is left, and all producers refuse new ones. A
// message in doubt is left, because it may be queued again.
func (w *worker) cancelCampaign(ctx context.Context, c message.CancelledCampaign) error {
	workers, err := living(w.book, w.shards)(ctx)
	if err != nil || message.Rank(w.name, workers[0], c.String()) != 0 {
		return err
	}
	refused := !time.Now().Add(w.DB.ClockOffset()).Before(c.At.Add(campaigns.Noticed)) // before the messages are counted
	waiting, inDoubt, err := w.openOf(ctx, c.Flow)
	switch {
	case err != nil:
		return err
	case waiting > 0:
		return w.cancelWaiting(ctx, c.Flow)
	case inDoubt > 0 || !refused:
		return nil
	}
	done, err := w.campaigns.Done(ctx, c)
	if done {
		w.Log.Info("campaign cancelled", "client", c.Client, "campaign", c.Campaign)
	}
	return err
}

// openOf counts the messages of a campaign that wait, and those that are in doubt.
func (w *worker) openOf(ctx context.Context, f message.Flow) (waiting, inDoubt int, err error) {
	progress := []message.CampaignProgress{{Flow: f}}
	err = w.book.CampaignProgress(ctx, progress)
	for _, one := range progress[0].Counts {
		switch one.State {
		case message.Queued, message.Parked:
			waiting += one.Count
		case message.InDoubt:
			inDoubt += one.Count
		}
	}
	return waiting, inDoubt, err
}

// cancelWaiting cancels the messages of a campaign that are queued or parked. It reads all messages that wait, page by page, and returns the
// errors of those that it could not cancel.
func (w *worker) cancelWaiting(ctx context.Context, f message.Flow) (failed error) {
	filter := message.ListFilter{Flow: &f, States: []message.State{message.Queued, message.Parked}}
	for at := (&message.ListPosition{}); at != nil; {
		some, next, err := w.book.List(ctx, filter, *at, cancelMost)
		if err != nil {
			return errors.Join(failed, err)
		}
		failed = errors.Join(failed, each(some, func(m message.Record) error {
			_, err := w.book.Cancel(ctx, m.ID)
			return err
		}))
		at = next
	}
	return failed
}

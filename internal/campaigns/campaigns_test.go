package campaigns_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"sluice/internal/audit"
	"sluice/internal/campaigns"
	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

var spring = message.Flow{Client: "acme", Campaign: "spring / 50 %"}

// setup returns cancelled campaigns in an empty Redis, with the holds.
func setup(t *testing.T) (*store.DB, *campaigns.Store, *holds.Store) {
	t.Helper()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	h := holds.New(db, message.DefaultShards, slog.New(slog.DiscardHandler))
	return db, campaigns.NewStore(db, h, audit.New(db, message.DefaultShards)), h
}

// TestCancel: a campaign is cancelled and held until it is opened; the hold ends when its messages are Done. The end of an earlier order
// ends no later one, and no hold of it. A Watch follows.
func TestCancel(t *testing.T) {
	t.Parallel()
	db, s, hs := setup(t)
	watch := campaigns.NewWatch(s, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- watch.Run(ctx) }()
	defer func() { stop(); <-ended }()
	check := func(when string, cancelled, held bool, cancelling int) {
		t.Helper()
		c, err := s.Get(t.Context(), spring)
		running, err2 := s.Cancelling(t.Context())
		all, err3 := hs.List(t.Context())
		if err != nil || err2 != nil || err3 != nil || (c != nil) != cancelled || len(running) != cancelling || (len(all) == 1) != held || cancelled && (c.Flow != spring || c.By != "anna" || c.Reason != "price") {
			t.Errorf("%s: %+v, %v, cancelling %+v, %v, holds %+v, %v", when, c, err, running, err2, all, err3)
		}
		poll.Until(t, when+": the watch follows", func() bool { return watch.Cancelled(spring) == cancelled })
	}
	order := message.CancelledCampaign{Flow: spring, By: "anna", Reason: "price"}
	cancel := func() message.CancelledCampaign {
		t.Helper()
		at, err := s.Cancel(t.Context(), order)
		if err != nil {
			t.Fatal(err)
		}
		for time.Now().Add(db.ClockOffset()).Sub(at) < time.Millisecond { // so that the next order has another time
		}
		return message.CancelledCampaign{Flow: spring, At: at}
	}
	done := func(c message.CancelledCampaign, want bool) {
		t.Helper()
		if ok, err := s.Done(t.Context(), c); ok != want || err != nil {
			t.Errorf("done: %t %v, want %t", ok, err, want)
		}
	}
	open := func(want bool) {
		t.Helper()
		if ok, err := s.Open(t.Context(), order); ok != want || err != nil {
			t.Errorf("open: %t %v, want %t", ok, err, want)
		}
	}
	check("at first", false, false, 0)
	first := cancel()
	check("cancelled", true, true, 1)
	done(first, true)
	check("done", true, false, 0)
	done(first, false)
	second := cancel()
	done(first, false)
	check("cancelled again", true, true, 1)
	open(true)
	check("opened", false, false, 0)
	open(false)
	third := cancel()
	done(second, false)
	check("cancelled after it was opened", true, true, 1)
	done(third, true)
	if watch.Cancelled(message.Flow{Campaign: spring.Campaign}) {
		t.Error("a campaign of no client is cancelled")
	}
}

// TestPurge: a campaign does not stay cancelled longer than its counters are kept.
func TestPurge(t *testing.T) {
	t.Parallel()
	db, s, _ := setup(t)
	old := message.Flow{Campaign: "old"}
	if _, err := s.Cancel(t.Context(), message.CancelledCampaign{Flow: spring, By: "anna", Reason: "price"}); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-401 * 24 * time.Hour).UTC().Format(time.RFC3339)
	if err := db.HSet(t.Context(), store.Key(0, "campaigns:cancelled"), old.String(), fmt.Sprintf(`{"at":%q}`, at)).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for f, want := range map[message.Flow]bool{old: false, spring: true} {
		if c, err := s.Get(t.Context(), f); (c != nil) != want || err != nil {
			t.Errorf("%s: %+v %v, want it cancelled: %t", f, c, err, want)
		}
	}
}

package campaigns_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"sluice/internal/campaigns"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestCancel: a campaign is cancelled until it is opened, and its messages wait until Done. The end of an earlier order does not end a
// later one. A Watch follows.
func TestCancel(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	s := campaigns.NewStore(db)
	watch := campaigns.NewWatch(s, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go watch.Run(ctx)
	spring := message.Flow{Client: "acme", Campaign: "spring / 50 %"}
	first := message.CancelledCampaign{Flow: spring, At: time.UnixMilli(1_790_000_000_000).UTC(), By: "anna", Reason: "price"}
	second := first
	second.At = first.At.Add(time.Second)
	check := func(when string, cancelled, done bool, cancelling int) {
		t.Helper()
		all, err := s.All(t.Context())
		running, err2 := s.Cancelling(t.Context())
		if err != nil || err2 != nil || (len(all) == 1) != cancelled || len(running) != cancelling || cancelled && (all[0].Flow != spring || all[0].By != "anna" || all[0].Done != done) {
			t.Errorf("%s: %+v, %v, cancelling %+v, %v", when, all, err, running, err2)
		}
		poll.Until(t, when+": the watch follows", func() bool { return watch.Cancelled(spring) == cancelled })
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check("at first", false, false, 0)
	do(s.Cancel(t.Context(), first))
	do(s.Cancel(t.Context(), first))
	check("cancelled", true, false, 1)
	do(s.Done(t.Context(), first))
	check("done", true, true, 0)
	do(s.Cancel(t.Context(), second))
	do(s.Done(t.Context(), first))
	check("cancelled again", true, false, 1)
	if ok, err := s.Open(t.Context(), spring); !ok || err != nil {
		t.Errorf("open: %t %v", ok, err)
	}
	check("opened", false, false, 0)
	if ok, err := s.Open(t.Context(), spring); ok || err != nil {
		t.Errorf("opened twice: %t %v", ok, err)
	}
	if watch.Cancelled(message.Flow{Campaign: spring.Campaign}) {
		t.Error("a campaign of no client is cancelled")
	}
}

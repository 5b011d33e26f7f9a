package campaigns_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/campaigns"
	"sluice/internal/message"
	"sluice/internal/store"
)

// midday is the time that clocks of these tests show at first. It is today, because Redis deletes what ended.
var midday = time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)

// watched returns a Watch that has read the settings of a store, whose clock shows a time.
func watched(t *testing.T, s *campaigns.Store, at *atomic.Pointer[time.Time]) *campaigns.Watch {
	t.Helper()
	at.Store(&midday)
	s.SetClock(func() time.Time { return *at.Load() })
	w := campaigns.NewWatch(s, slog.New(slog.DiscardHandler))
	w.Read(t.Context())
	return w
}

// change changes settings of the campaign spring.
func change(t *testing.T, s *campaigns.Store, c message.CampaignChange) message.CampaignSettings {
	t.Helper()
	c.Flow, c.By, c.Reason = spring, "anna", "slowly"
	got, err := s.Change(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestSettings: settings are stored until they are removed, a Watch follows, and simultaneous changes of different ones are all kept.
func TestSettings(t *testing.T) {
	t.Parallel()
	db, s, _ := setup(t)
	var at atomic.Pointer[time.Time]
	if g := campaigns.NewWatch(s, slog.New(slog.DiscardHandler)).Gate(spring); !g.Closed {
		t.Errorf("before the first reading: %+v, want it closed", g)
	}
	w := watched(t, s, &at)
	if g := w.Gate(spring); g != (message.Gate{}) {
		t.Errorf("without settings: %+v", g)
	}
	var wg sync.WaitGroup
	for _, c := range []message.CampaignChange{{Rate: new(3.), RampFrom: 0.25, RampOver: time.Hour}, {CapPerDay: new(5), TimeZone: new("Europe/Berlin")}} {
		wg.Go(func() { change(t, s, c) })
	}
	wg.Wait()
	got, err := s.Settings(t.Context(), spring)
	if err != nil || got == nil || got.Rate != 3 || got.CapPerDay != 5 || got.TimeZone != "Europe/Berlin" || got.Flow != spring || got.Reason != "slowly" {
		t.Fatalf("stored rate %g, cap %d in %q, %q, %v", got.Rate, got.CapPerDay, got.TimeZone, got.Reason, err)
	}
	w.Read(t.Context())
	if g := w.Gate(spring); g != (message.Gate{Every: 4 * time.Second, Capped: true}) {
		t.Errorf("at the begin of the ramp: %+v", g)
	}
	later := midday.Add(2 * time.Hour)
	at.Store(&later)
	if g := w.Gate(spring); g != (message.Gate{Every: 333334 * time.Microsecond, Capped: true}) {
		t.Errorf("after the ramp: %+v", g)
	}
	if g := w.Gate(message.Flow{Campaign: spring.Campaign}); g != (message.Gate{}) {
		t.Errorf("a campaign of no client: %+v", g)
	}
	change(t, s, message.CampaignChange{Rate: new(0.), CapPerDay: new(0)})
	if got, err := s.Settings(t.Context(), spring); got != nil || err != nil {
		t.Errorf("removed: %+v, %v", got, err)
	}
	w.Read(t.Context())
	if g := w.Gate(spring); g != (message.Gate{}) {
		t.Errorf("removed: %+v", g)
	}

	// What cannot be read must not be sent without limit, and what is old is forgotten.
	key := store.Key(0, "campaigns:settings")
	db.HSet(t.Context(), key, spring.String(), "{")
	db.Set(t.Context(), store.Key(0, "campaigns:revision"), "another", 0)
	w.Read(t.Context())
	if g := w.Gate(spring); !g.Closed {
		t.Errorf("settings that cannot be read: %+v", g)
	}
	change(t, s, message.CampaignChange{Reset: true, Rate: new(1.)})
	later = midday.Add(401 * 24 * time.Hour)
	at.Store(&later)
	for _, known := range []bool{true, false} {
		err := s.Purge(t.Context(), func(_ context.Context, f message.Flow) (bool, error) { return known && f == spring, nil })
		if kept := db.HLen(t.Context(), key).Val() == 1; err != nil || kept != known {
			t.Errorf("after 400 days, messages known: %t: kept %t, %v", known, kept, err)
		}
	}
}

// TestCapPerDay: however many workers ask, a campaign sends as many messages in a day as its cap allows, and no more. A message counts once.
func TestCapPerDay(t *testing.T) {
	t.Parallel()
	_, s, _ := setup(t)
	var at atomic.Pointer[time.Time]
	at.Store(&midday)
	s.SetClock(func() time.Time { return *at.Load() })
	change(t, s, message.CampaignChange{CapPerDay: new(100)})
	w := watched(t, s, &at)
	other := message.Flow{Client: "acme", Campaign: "free"}
	admit := func(w *campaigns.Watch, f message.Flow, from, n int) (may []bool) {
		t.Helper()
		var asks []message.CapAsk
		for i := range n {
			asks = append(asks, message.CapAsk{Flow: f, ID: fmt.Sprint("message-", from+i)})
		}
		may, err := w.Admit(t.Context(), asks)
		if err != nil {
			t.Error(err)
		}
		return may
	}
	var admitted atomic.Int64
	var wg sync.WaitGroup
	var workers []*campaigns.Watch
	for range 4 {
		workers = append(workers, watched(t, s, &at))
	}
	for worker, one := range workers {
		wg.Go(func() {
			for i := range 10 {
				for range 2 { // each is asked for again
					for _, is := range admit(one, spring, worker*100+7*i, 7) {
						if is {
							admitted.Add(1)
						}
					}
				}
			}
		})
	}
	wg.Wait()
	counted, end, err := s.Counted(t.Context(), message.CampaignSettings{Flow: spring})
	if err != nil || counted != 100 || admitted.Load() != 200 || !end.Equal(midday.Add(12*time.Hour)) {
		t.Errorf("admitted %d, each asked for twice, and counted %d until %v, %v, want 200 and 100", admitted.Load(), counted, end, err)
	}
	if may := admit(w, spring, 900, 1); may[0] || !w.Gate(spring).Closed {
		t.Errorf("over the cap: %v, %+v", may, w.Gate(spring))
	}
	if may := admit(w, other, 900, 1); !may[0] || w.Gate(other).Closed {
		t.Errorf("another campaign: %v", may)
	}
	change(t, s, message.CampaignChange{CapPerDay: new(101)})
	w.Read(t.Context())
	if open := !w.Gate(spring).Closed; !open || !admit(w, spring, 900, 1)[0] || admit(w, spring, 901, 1)[0] {
		t.Errorf("the cap is raised by one: open %t", open)
	}

	// What is counted can come back, for a retry or from a dead worker, so the campaign is fetched again now and then.
	later := midday.Add(10 * time.Second)
	at.Store(&later)
	if open := !w.Gate(spring).Closed; !open || !admit(w, spring, 900, 1)[0] || admit(w, spring, 902, 1)[0] || !w.Gate(spring).Closed {
		t.Errorf("10 s after the cap was reached: open %t", open)
	}

	// In the last seconds of a day nothing is counted for it: the message might leave on the next one.
	edge, next := midday.Add(12*time.Hour-time.Second), midday.Add(12*time.Hour)
	change(t, s, message.CampaignChange{CapPerDay: new(1000)})
	w.Read(t.Context())
	at.Store(&edge)
	if may := admit(w, spring, 2000, 1); may[0] || !w.Gate(spring).Closed {
		t.Errorf("a second before the day ends: %v, %+v", may, w.Gate(spring))
	}
	at.Store(&next)
	if may := admit(w, spring, 2000, 1); !may[0] || w.Gate(spring).Closed {
		t.Errorf("on the next day: %v, %+v", may, w.Gate(spring))
	}
	if n, _, err := s.Counted(t.Context(), message.CampaignSettings{Flow: spring}); n != 1 || err != nil {
		t.Errorf("on the next day %d are counted, %v", n, err)
	}
}

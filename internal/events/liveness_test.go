package events_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/store"
)

const webhooks = "sluice:{s00}:webhooks"

// heartbeat writes the heartbeats of webhook programs.
func heartbeat(t *testing.T, all ...*events.Liveness) {
	t.Helper()
	for _, l := range all {
		if err := events.Heartbeat(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
}

func channel(t *testing.T, s *events.Stream) message.Channel {
	t.Helper()
	c, err := s.Channel(t.Context(), numberA)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func clock(t *testing.T, db *store.DB) time.Time {
	t.Helper()
	now, err := db.Now(t.Context(), webhooks)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// silent makes the last heartbeat of a program older.
func silent(t *testing.T, db *store.DB, name string, ago time.Duration) {
	t.Helper()
	at := clock(t, db).Add(-ago).UnixMilli()
	if err := db.HSet(t.Context(), webhooks, name, fmt.Sprintf("%d %d", at, at)).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestLiveness: a missing status is a proof only for a time in which every webhook program accepted everything.
func TestLiveness(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		if c := channel(t, s); c != (message.Channel{}) {
			t.Errorf("before any program reported: %+v", c)
		}
		one, two := s.NewLiveness("host-one"), s.NewLiveness("host-two")

		began := clock(t, db).Truncate(time.Millisecond)
		heartbeat(t, one)
		c := channel(t, s)
		if !c.Reported || c.Programs != 1 || c.Gap.Before(began) || c.Gap.After(clock(t, db)) || !c.Open.IsZero() {
			t.Errorf("after the first start: %+v, it was %s", c, began)
		}
		first := c.Gap
		heartbeat(t, one, one)
		if c = channel(t, s); c.Gap != first || c.Open.Before(first) || c.Open.After(clock(t, db)) {
			t.Errorf("while one runs: %+v", c)
		}
		heartbeat(t, two, two)
		if c = channel(t, s); c.Gap != first || c.Programs != 2 {
			t.Errorf("a second one is no gap: %+v", c)
		}

		// An unanswered delivery may still be refused, so the proof ends at its arrival.
		done := one.Track()
		arrived := clock(t, db)
		heartbeat(t, one, two, one)
		if c = channel(t, s); c.Gap != first || c.Open.After(arrived.Add(time.Millisecond)) {
			t.Errorf("with an unanswered delivery since %s: %+v", arrived, c)
		}
		done(false)
		heartbeat(t, one, two, one, two)
		if c = channel(t, s); c.Gap != first || c.Open.Before(arrived.Truncate(time.Millisecond)) {
			t.Errorf("after it was stored: %+v", c)
		}
		refused := clock(t, db)
		one.Track()(true)
		sent := time.Now()
		heartbeat(t, one)
		slow := time.Since(sent) // the gap may end so much later: the program only knows how long ago it was
		if c = channel(t, s); c.Gap.Before(refused.Add(-10*time.Millisecond)) || c.Gap.After(clock(t, db)) {
			t.Errorf("after a refusal at %s: %+v", refused, c)
		}

		// The refusal is reported again to a Redis that lost it.
		db.HSet(t.Context(), webhooks, "gap", first.UnixMilli())
		heartbeat(t, one)
		if c = channel(t, s); c.Gap.Before(refused.Add(-10 * time.Millisecond)) {
			t.Errorf("after a loss: %+v", c)
		}

		// A program that stops in good order while another one runs leaves no gap. A program that dies does.
		before := channel(t, s).Gap
		if err := two.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		sent = time.Now()
		heartbeat(t, one)
		if c = channel(t, s); c.Programs != 1 || c.Gap.Sub(before) > slow+time.Since(sent)+20*time.Millisecond {
			t.Errorf("after one stopped: %+v, before it %s", c, before)
		}
		silent(t, db, "host-two", 4*time.Second)
		if c = channel(t, s); c.Open.After(clock(t, db).Add(-3 * time.Second)) {
			t.Errorf("while one is silent: %+v", c)
		}
		died := clock(t, db).Truncate(time.Millisecond)
		heartbeat(t, one)
		if c = channel(t, s); c.Gap.Before(died) || c.Open.After(died) {
			t.Errorf("after one died at %s: %+v", died, c)
		}
		// A suspended program still gets deliveries until the load balancer leaves it out.
		silent(t, db, "host-two", 50*time.Second)
		died = clock(t, db).Truncate(time.Millisecond)
		heartbeat(t, one)
		if c = channel(t, s); c.Gap.Before(died) || c.Open.After(died.Add(-time.Second)) {
			t.Errorf("50 s after its last heartbeat, at %s: %+v", died, c)
		}
		silent(t, db, "host-two", 61*time.Second)
		heartbeat(t, one, one)
		if c = channel(t, s); c.Programs != 1 || c.Open.Before(died) {
			t.Errorf("a minute after its last heartbeat: %+v", c)
		}
		db.HDel(t.Context(), webhooks, "host-one") // suspended for more than a minute, next to another one
		heartbeat(t, two)
		back := clock(t, db).Truncate(time.Millisecond)
		heartbeat(t, one)
		if c = channel(t, s); c.Programs != 2 || c.Gap.Before(back) {
			t.Errorf("after its heartbeat was removed, until %s: %+v", back, c)
		}
		if err := two.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		// The next process at the same place shows at once that the one before it is gone.
		silent(t, db, "host:8082/one", 2*time.Second)
		next := s.NewLiveness("host:8082/two")
		died = clock(t, db).Truncate(time.Millisecond)
		heartbeat(t, next)
		if c = channel(t, s); c.Programs != 2 || c.Gap.Before(died) {
			t.Errorf("after a restart at %s: %+v", died, c)
		}
		if err := next.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A suspended program may have let deliveries time out.
		silent(t, db, "host-one", 4*time.Second)
		woken := clock(t, db).Truncate(time.Millisecond)
		heartbeat(t, one)
		if c = channel(t, s); c.Programs != 1 || c.Gap.Before(woken) {
			t.Errorf("after it was suspended until %s: %+v", woken, c)
		}
		// Without a running program nothing is proven, and the next start ends the gap.
		if err := one.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c = channel(t, s); !c.Reported || c.Programs != 0 || !c.Open.IsZero() {
			t.Errorf("while none runs: %+v", c)
		}
		again := clock(t, db).Truncate(time.Millisecond)
		heartbeat(t, s.NewLiveness("host-three"))
		if c = channel(t, s); c.Programs != 1 || c.Gap.Before(again) {
			t.Errorf("after the next start at %s: %+v", again, c)
		}
	})
}

func TestLivenessRuns(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		l := s.NewLiveness("host-one")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		eventually(t, "proven open", func() bool { return !channel(t, s).Open.IsZero() })
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if c := channel(t, s); c.Programs != 1 {
			t.Errorf("before it stopped: %+v", c)
		}
	})
}

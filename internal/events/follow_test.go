package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

func TestFollow(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		for n := range 500 { // more than two pages, with different numbers of events in the shards
			number := numberA
			if n%50 == 0 {
				number = numberB
			}
			key := events.MetaKey(shards.Of(number))
			if n%3 == 0 { // Follow returns the same events in each stream
				key = events.MessageKey(shards.Of(number))
			}
			add(t, db, key, fmt.Sprintf("%d-0", 1000+n), events.Field, line(number, n))
		}
		add(t, db, events.MetaKey(shards.Of(numberA)), "*", events.Field, "{")
		enough := errors.New("enough")
		follow := func(from string, n int) (got []string) {
			t.Helper()
			err := s.Follow(t.Context(), from, nil, func(e message.Event) error {
				if got = append(got, e.Report.WAMID); len(got) == n {
					return enough
				}
				return nil
			})
			if !errors.Is(err, enough) {
				t.Fatalf("Follow(%q): %v", from, err)
			}
			return got
		}
		for _, tt := range []struct {
			from string
			want []string
		}{
			{"0", wamids(0, 500)},
			{"1450", wamids(450, 500)},
			{"1450-0", wamids(451, 500)},
			{"1970-01-01T00:00:01.4Z", wamids(400, 500)},
		} {
			if got := follow(tt.from, len(tt.want)); !slices.Equal(got, tt.want) {
				t.Errorf("from %s: %v", tt.from, got)
			}
		}

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		started, fresh := make(chan struct{}), make(chan string, 1)
		done := make(chan error, 1)
		go func() {
			var once sync.Once
			done <- s.Follow(ctx, "$", nil, func(e message.Event) error {
				if e.Report.Status == "probe" {
					once.Do(func() { close(started) })
					return nil
				}
				fresh <- e.Report.WAMID
				return nil
			})
		}()
		for following := false; !following; {
			probe := status(numberB, 0)
			probe.Report.Status = "probe"
			appendAll(t, s, []message.Event{probe})
			select {
			case <-started:
				following = true
			case <-time.After(20 * time.Millisecond):
			}
		}
		appendAll(t, s, statuses(numberA, 9000, 9001))
		if got := <-fresh; got != "wamid.9000" {
			t.Errorf("followed %s, want only new events", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Follow after its context ended: %v", err)
		}

		for _, bad := range []string{"", "x", "-1", "1-", "1-2-3", "2026-13-01T00:00:00Z", "99999999999999999999"} {
			if err := s.Follow(t.Context(), bad, nil, nil); err == nil {
				t.Errorf("from %q was accepted", bad)
			}
		}
	})
}

// TestFollowSomeTypes: Follow reads only the streams that may have events of these types.
func TestFollowSomeTypes(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	other := message.Event{Type: message.EventInbound, Number: numberA}
	ours := message.Event{Type: message.EventMessage, Number: numberA}
	appendAll(t, s, []message.Event{other, status(numberA, 1), ours})
	follow := func(types ...string) (got []string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := s.Follow(ctx, "0", types, func(e message.Event) error {
			got = append(got, e.Type)
			cancel()
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return got
	}
	// Reading a key of another type fails.
	db.Rename(t.Context(), events.MessageKey(shards.Of(numberA)), "kept")
	db.Set(t.Context(), events.MessageKey(shards.Of(numberA)), "no stream", 0)
	if got := follow(message.EventStatus); !slices.Equal(got, []string{message.EventStatus}) {
		t.Errorf("of statuses: %v", got)
	}
	db.Rename(t.Context(), "kept", events.MessageKey(shards.Of(numberA)))
	db.Set(t.Context(), events.MetaKey(shards.Of(numberA)), "no stream", 0)
	if got := follow(message.EventMessage); !slices.Equal(got, []string{message.EventMessage}) {
		t.Errorf("of messages: %v", got)
	}
}

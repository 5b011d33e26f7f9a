package events_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

func TestWatermark(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		shard := shards.Of(numberA)
		key := events.MetaKey(shard)
		mark := func() time.Time {
			t.Helper()
			w, err := s.Watermark(t.Context(), shard)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		if w := mark(); !w.IsZero() {
			t.Errorf("never written: %v", w)
		}
		if lag := s.Lag(); lag != 0 {
			t.Errorf("no reader: lag %s", lag)
		}
		// More entries than one read returns, with different times.
		for n := range 120 {
			add(t, db, key, fmt.Sprintf("%d-0", 1000*(n+1)), events.Field, line(numberA, n))
		}
		before, err := db.Now(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		steps, handled := make(chan struct{}), make(chan string)
		stop := read(t, s, "one", func(_ context.Context, _ message.Shard, batch []message.Event, also map[string]string) (bool, error) {
			if batch[0].Number == numberA {
				handled <- also[events.AppliedKey(shard)]
				<-steps
			}
			return false, nil
		})
		last := ""
		for last != "120000-0" {
			id := <-handled
			if last != "" {
				if w := mark(); w.UnixMilli() != ms(t, last) {
					t.Errorf("applied up to %s: %v", last, w.UnixMilli())
				}
			}
			last = id
			steps <- struct{}{}
		}
		eventually(t, "all events are applied, and the watermark is the time of the last read", func() bool { return mark().After(before.Truncate(time.Millisecond)) })
		idle := mark()
		eventually(t, "it increases while no events come", func() bool { return mark().Sub(idle) >= 2*time.Second })
		if ahead := time.Until(mark()); ahead > time.Second {
			t.Errorf("it is %s ahead", ahead)
		}
		if lag := s.Lag(); lag <= 0 || lag > 10*time.Second {
			t.Errorf("lag %s", lag)
		}
		// A wrong clock may have written entries.
		future := time.Now().Add(time.Hour).UnixMilli()
		for n := range 120 {
			add(t, db, key, fmt.Sprintf("%d-%d", future, n), events.Field, line(numberA, n))
		}
		<-handled
		steps <- struct{}{}
		<-handled
		if ahead := time.Until(mark()); ahead > time.Minute {
			t.Errorf("after a clock that was ahead, the watermark is %s ahead", ahead)
		}
		stood := mark()
		close(steps)
		go func() {
			for range handled {
			}
		}()
		eventually(t, "it goes on", func() bool { return mark().After(stood) })
		stop()
		close(handled)
		if lag := s.Lag(); lag != 0 {
			t.Errorf("after the reader stopped: lag %s", lag)
		}
	})
}

// ms returns the time in the id of an entry.
func ms(t *testing.T, id string) int64 {
	t.Helper()
	text, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTheWatermarkStopsWhileEventsFail: it increases again when they are applied.
func TestTheWatermarkStopsWhileEventsFail(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	var away atomic.Bool
	away.Store(true)
	failed := make(chan struct{}, 1)
	appendAll(t, s, statuses(numberA, 0, 3))
	arrived, err := db.Now(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	read(t, s, "one", func(context.Context, message.Shard, []message.Event, map[string]string) (bool, error) {
		if away.Load() {
			select {
			case failed <- struct{}{}:
			default:
			}
			return false, context.DeadlineExceeded
		}
		return false, nil
	})
	mark := func(number string) time.Time {
		w, err := s.Watermark(t.Context(), shards.Of(number))
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	for range 3 {
		<-failed
		if w := mark(numberA); w.After(arrived) {
			t.Fatalf("watermark %v although nothing was applied", w)
		}
	}
	eventually(t, "the watermark of the other shard increases", func() bool { return mark(numberB).After(arrived) })
	if w := mark(numberA); w.After(arrived) {
		t.Fatalf("watermark %v although nothing was applied", w)
	}
	away.Store(false)
	eventually(t, "it goes on", func() bool { return mark(numberA).After(arrived) })
}

// TestApplied: it waits for the events that a shard has when it is asked, and not for later ones or those of other shards.
func TestApplied(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		shard := shards.Of(numberA)
		applied := func(ctx context.Context) bool {
			t.Helper()
			is, err := s.Applied(ctx, shard)
			if err != nil {
				t.Fatal(err)
			}
			return is
		}
		if !applied(t.Context()) {
			t.Error("without events")
		}
		add(t, db, events.MetaKey(shard), "1000-0", events.Field, line(numberA, 1))
		ended, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if applied(ended) {
			t.Error("an event that is not applied")
		}
		begun, answer := make(chan struct{}), make(chan bool)
		go func() {
			close(begun)
			is, _ := s.Applied(t.Context(), shard)
			answer <- is
		}()
		<-begun
		if err := db.Set(t.Context(), events.AppliedKey(shard), "1000-0", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if !<-answer {
			t.Error("not applied")
		}
		add(t, db, events.MetaKey(shard), "2000-0", events.Field, line(numberA, 2))
		if err := db.Set(t.Context(), events.AppliedKey(shard), "2000-0", 0).Err(); err != nil || !applied(t.Context()) {
			t.Error("a later event", err)
		}
	})
}

package templates

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestSent: the day of the last message of a template is stored, once a day, also what was noted just before the end and while
// Redis was away.
func TestSent(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	stored := NewStore(db)
	s := NewSent(stored, slog.New(slog.DiscardHandler))
	want := func(name string, templates ...string) {
		t.Helper()
		last, err := stored.LastSent(t.Context(), []string{"1", "2"})
		if err != nil || len(last) != len(templates) {
			t.Fatalf("%s: %v, %v", name, last, err)
		}
		for _, id := range templates {
			if age := time.Since(last[id]); age < 0 || age > 2*day {
				t.Errorf("%s: %s was used %s ago", name, id, age)
			}
		}
	}
	want("nothing")
	s.Note("1", "sale/en_US")
	away, cancel := context.WithCancel(t.Context())
	cancel()
	s.flush(away)
	want("while Redis is away")
	s.Note("2", "order/en_US")
	s.Note("3", "of_another/en_US")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ended); err != nil {
		t.Fatal(err)
	}
	s.flush(t.Context())
	want("at the end", "sale/en_US", "order/en_US")
	if s.Note("1", "sale/en_US"); len(s.due) != 0 {
		t.Errorf("twice on a day: %v", s.due)
	}
	if ttl := db.TTL(t.Context(), sentKey("1")).Val(); ttl < 365*day {
		t.Errorf("it is kept for %s", ttl)
	}
	// A later day of another number counts.
	db.HSet(t.Context(), sentKey("1"), "sale/en_US", 1)
	db.HSet(t.Context(), sentKey("2"), "sale/en_US", time.Now().Unix()/86400)
	want("the later day", "sale/en_US", "order/en_US")
}

// TestSentEachDay: a template is noted again on the next day.
func TestSentEachDay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewSent(nil, nil)
		s.Note("1", "sale/en_US")
		first := s.due[use{"1", "sale/en_US"}]
		time.Sleep(day)
		if s.Note("1", "sale/en_US"); s.due[use{"1", "sale/en_US"}] != first+1 {
			t.Errorf("%v, before %d", s.due, first)
		}
	})
}

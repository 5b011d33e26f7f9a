package observed_test

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/observed"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const first, second = "106540352242922", "200000000000001"

func setup(t *testing.T) (*observed.Store, *store.DB) {
	t.Helper()
	db, err := store.New(t.Context(), redistest.Start(t, "--appendonly", "no").Client())
	if err != nil {
		t.Fatal(err)
	}
	return observed.New(db, message.DefaultShards), db
}

// TestRequests: a slot has the sums of all workers. An idle worker writes nothing.
func TestRequests(t *testing.T) {
	t.Parallel()
	s, db := setup(t)
	log := slog.New(slog.DiscardHandler)
	one, two := s.NewRecorder("a", log), s.NewRecorder("b", log)
	one.Add(first, message.Outcome{Kind: message.Accepted}, 100*time.Millisecond)
	one.Add(first, message.Outcome{Kind: message.Throttled, Limit: message.LimitNumber}, 50*time.Millisecond)
	one.Add(first, message.Outcome{Kind: message.Throttled, Limit: message.LimitPair}, 50*time.Millisecond)
	two.Add(first, message.Outcome{Kind: message.NoAnswer}, time.Second)
	two.Add(second, message.Outcome{Kind: message.Accepted}, time.Millisecond)
	for _, r := range []*observed.Recorder{one, two, one} { // the last has nothing more
		if err := r.Write(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Requests(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	if want := (observed.Requests{Count: 4, Throttled: 1, Failed: 2, Latency: 1200 * time.Millisecond, Longest: time.Second}); got[first] != want || got[second].Count != 1 || len(got) != 2 {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, err := s.Requests(t.Context(), 8); err != nil || len(got) != 0 {
		t.Errorf("another slot: %v %v", got, err)
	}
	keys, err := db.Keys(t.Context(), "*requests*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatalf("%v %v", keys, err)
	}
	for _, key := range keys {
		if left := db.TTL(t.Context(), key).Val(); left <= time.Minute {
			t.Errorf("%s is kept for %s", key, left)
		}
	}
}

// TestRunWritesTheSlotThatEnded: Latest is that slot, once all workers have had the time to write it.
func TestRunWritesTheSlotThatEnded(t *testing.T) {
	t.Parallel()
	s, db := setup(t)
	var clock atomic.Int64
	clock.Store(1_800_000_009_950) // 50 ms before the end of a slot
	db.UseClock(func() time.Time { return time.UnixMilli(clock.Load()) })
	r := s.NewRecorder("a", slog.New(slog.DiscardHandler))
	r.Add(first, message.Outcome{Kind: message.Accepted}, time.Second)
	go r.Run(t.Context())
	poll.Until(t, "the slot is written", func() bool {
		got, err := s.Requests(t.Context(), 180_000_000)
		return err == nil && got[first].Count == 1
	})
	if latest := s.Latest(t.Context()); latest != 179_999_999 {
		t.Errorf("before all workers have written: %d", latest)
	}
	clock.Add(2050)
	if latest := s.Latest(t.Context()); latest != 180_000_000 {
		t.Errorf("2 s later: %d", latest)
	}
}

// TestMeta: what Meta says of a number is joined from two sources. What another version wrote is unknown.
func TestMeta(t *testing.T) {
	t.Parallel()
	s, db := setup(t)
	at := time.Now().UTC().Truncate(time.Second)
	token, profile := observed.Token{Valid: true, Expires: at.Add(time.Hour), At: at}, observed.Profile{Rate: 80, Quality: "GREEN", At: at}
	if err := s.SetTokens(t.Context(), map[string]observed.Token{first: token, second: {At: at}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetProfile(t.Context(), first, profile); err != nil {
		t.Fatal(err)
	}
	db.HSet(t.Context(), store.Key(message.DefaultShards.Of(second), "meta:numbers"), second, "x")
	all, err := s.Meta(t.Context())
	if err != nil || len(all) != 2 || all[first].Token == nil || *all[first].Token != token || all[first].Profile == nil || *all[first].Profile != profile ||
		all[second].Token == nil || all[second].Token.Valid || all[second].Profile != nil {
		t.Errorf("%+v, %v", all, err)
	}
}

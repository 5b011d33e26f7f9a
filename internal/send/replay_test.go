package send_test

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/send"
)

// restarting is a ledger whose server restarts, and then lost what lost says.
type restarting struct {
	*script
	mu         sync.Mutex
	run        string
	trusted    string
	quietEnd   time.Time
	lost       message.LostWrites
	kept       map[message.Shard]int64 // the latest heartbeat
	sent       map[int64]time.Time     // when those of the first shard came
	back       time.Duration           // if not 0: by how much the first shard is set back, once
	failing    func(now time.Duration) error
	heartbeats []time.Duration
	left       bool
	ahead      time.Duration // of the server's clock
	start      time.Time
	told       []string
	unheld     int // how often the hold of a restored shard fails
}

// quiet is how long the others need until they have replayed.
const quiet = 6 * time.Second

func (r *restarting) restart(run string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.run, r.quietEnd = run, time.Time{}
}

func (r *restarting) Begin(ctx context.Context, id string, k int, token string, known *record.Record) (message.Attempt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run != r.trusted {
		return message.Attempt{Verdict: message.Restarted}, nil
	}
	return r.script.Begin(ctx, id, k, token, known)
}

func (r *restarting) Heartbeat(_ context.Context, pulses []message.Heartbeat) []message.Epoch {
	runs := make([]message.Epoch, len(pulses))
	for i, p := range pulses {
		runs[i] = r.heartbeat(p)
	}
	return runs
}

func (r *restarting) heartbeat(p message.Heartbeat) message.Epoch {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.start)
	if p.Shard == 0 {
		r.heartbeats = append(r.heartbeats, now)
	}
	if r.failing != nil {
		if err := r.failing(now); err != nil {
			return message.Epoch{Err: err}
		}
	}
	if r.kept == nil {
		r.kept, r.sent = map[message.Shard]int64{}, map[int64]time.Time{}
	}
	if p.Shard == 0 && r.back != 0 {
		for r.kept[0] > 0 && time.Since(r.sent[r.kept[0]]) < r.back {
			r.kept[0]--
		}
		r.run, r.quietEnd, r.back = r.run+" set back", time.Time{}, 0
	}
	if p.Shard == 0 {
		r.sent[p.N] = time.Now()
	}
	if r.quietEnd.IsZero() {
		r.quietEnd = time.Now().Add(quiet)
	}
	run := message.Epoch{ID: r.run, Ready: r.run == r.trusted, Wait: time.Until(r.quietEnd), Kept: r.kept[p.Shard], Now: time.Now().Add(r.ahead)}
	r.kept[p.Shard] = max(run.Kept, p.N)
	return run
}

func (r *restarting) Leave(ctx context.Context, worker string) error {
	r.left = ctx.Err() == nil && worker == "w"
	return nil
}

func (r *restarting) BeginEpoch(_ context.Context, _ message.Shard, run string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trusted != run { // by the first of the shards
		r.told = append(r.told, "trust "+run)
	}
	r.trusted = run
	return nil
}

func (r *restarting) Replay(_ context.Context, _ message.Shard, all []message.RememberedAttempt) (message.LostWrites, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(all) == 0 {
		return message.LostWrites{}, nil
	}
	what := fmt.Sprintf("%s to hear of %d", r.run, len(all))
	for _, m := range all {
		to := message.State("under way")
		if m.Move != nil {
			to = m.Move.To
		}
		what += fmt.Sprintf(" %d/%d %s", m.K, m.N, to)
	}
	r.told = append(r.told, what)
	return r.lost, nil
}

// watching runs a sender and its watch on a ledger that restarts.
func watching(t *testing.T, r *restarting) *send.Sender {
	s := newWatching(r)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Watch(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return s
}

// watchingUntil is watching until ctx ends.
func watchingUntil(ctx context.Context, r *restarting) { newWatching(r).Watch(ctx) }

func newWatching(r *restarting) *send.Sender {
	return send.New(r, r.script, send.Options{
		Worker: "w", Shards: message.DefaultShards, Parts: [][]message.Shard{message.DefaultShards.All()},
		Policy:  func(_ string, c message.Class) message.Policy { return message.DefaultPolicy(c) },
		Backoff: func(int) time.Duration { return time.Second }, Attempts: 5,
		Request: func(a message.Attempt) (message.Request, error) {
			return message.Request{Number: a.Message.From, Body: a.Payload}, nil
		},
		LostWrites: func(context.Context, message.Shard) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.told = append(r.told, "rewound")
		},
		Restored: func(_ context.Context, shard message.Shard, depth time.Duration) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.unheld > 0 {
				r.unheld--
				return errAway
			}
			r.told = append(r.told, fmt.Sprintf("shard %d restored, lost %s", shard, depth))
			return nil
		},
		Log: slog.New(slog.DiscardHandler), Registerer: r.reg,
	})
}

// TestRestartOfTheStore: after a restart nothing begins until what was done before it is written
// down again and the others have had their time for it.
func TestRestartOfTheStore(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		play func(t *testing.T, r *restarting, s *send.Sender)
		told []string
	}{
		"while sending": {func(t *testing.T, r *restarting, s *send.Sender) {
			s.Handle(t.Context(), id, 7, nil, r.nextSlot)
			r.lost = message.LostWrites{Intents: 1}
			r.restart("second")
			from := time.Now()
			if a := s.Handle(t.Context(), id, 8, nil, r.nextSlot); a != (send.Retry{Due: true}) || time.Since(from) != quiet {
				t.Errorf("%+v after %s", a, time.Since(from))
			}
			if a := s.Handle(t.Context(), id, 8, nil, r.nextSlot); a != (send.Retry{}) {
				t.Errorf("%+v", a)
			}
		}, []string{"trust first", "second to hear of 1 7/2 submitted", "rewound", "trust second"}},
		"while idle": {func(t *testing.T, r *restarting, s *send.Sender) {
			s.Handle(t.Context(), id, 7, nil, r.nextSlot)
			r.restart("second")
			time.Sleep(2*time.Second + quiet) // fake
		}, []string{"trust first", "second to hear of 1 7/2 submitted", "trust second"}},
		"long after": {func(t *testing.T, r *restarting, s *send.Sender) {
			s.Handle(t.Context(), id, 7, nil, r.nextSlot)
			time.Sleep(2 * time.Minute)
			r.restart("second")
			s.Handle(t.Context(), id, 8, nil, r.nextSlot)
		}, []string{"trust first", "trust second"}},
		"during an attempt": {func(t *testing.T, r *restarting, s *send.Sender) {
			r.post = func() message.Outcome {
				r.restart("second")
				time.Sleep(3 * time.Second)
				return message.Outcome{Kind: message.NoAnswer}
			}
			s.Handle(t.Context(), id, 7, nil, r.nextSlot)
			time.Sleep(quiet)
		}, []string{"trust first", "second to hear of 1 7/2 under way", "trust second"}},
		"between the intent and its slot": {func(t *testing.T, r *restarting, s *send.Sender) {
			r.missFirst(func() { r.restart("second"); time.Sleep(6 * time.Second) })
			if a := s.Handle(t.Context(), id, 7, nil, r.nextSlot); a != (send.Retry{Due: true}) {
				t.Errorf("%+v", a)
			}
			if last := r.asked[len(r.asked)-1]; last != "finish 2 queued" {
				t.Errorf("the intent was not taken back: %q", r.asked)
			}
		}, []string{"trust first", "second to hear of 1 7/2 under way", "trust second"}},
		"just before a late slot": {func(t *testing.T, r *restarting, s *send.Sender) {
			r.missFirst(func() { r.restart("second") })
			if a := s.Handle(t.Context(), id, 7, nil, r.nextSlot); a != (send.Retry{}) { // as if it had not been late
				t.Errorf("%+v", a)
			}
			time.Sleep(2*time.Second + quiet)
		}, []string{"trust first", "second to hear of 1 7/2 submitted", "trust second"}},
		"set back by what is remembered": {func(t *testing.T, r *restarting, s *send.Sender) {
			time.Sleep(90 * time.Second)
			r.setBack(time.Minute)
			time.Sleep(2*time.Second + quiet)
		}, []string{"trust first", "rewound", "trust first set back"}},
		"set back by more": {func(t *testing.T, r *restarting, s *send.Sender) {
			time.Sleep(90 * time.Second)
			r.unheld = 2
			r.setBack(70 * time.Second)
			time.Sleep(2*time.Second + quiet)
		}, []string{"trust first", "shard 0 restored, lost 1m8s", "trust first set back"}},
		"set back to before the worker came": {func(t *testing.T, r *restarting, s *send.Sender) {
			r.setBack(time.Hour)
			time.Sleep(2*time.Second + quiet)
		}, []string{"trust first", "shard 0 restored, lost 0s", "trust first set back"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &restarting{script: newScript(), run: "first", start: time.Now()}
				s := watching(t, r)
				s.Handle(t.Context(), id, 0, nil, r.nextSlot) // meets the first run
				synctest.Wait()                               // and so did the watch, for all shards
				tt.play(t, r, s)
				synctest.Wait()
				r.mu.Lock()
				defer r.mu.Unlock()
				if !reflect.DeepEqual(r.told, tt.told) {
					t.Errorf("told %q\nwant %q", r.told, tt.told)
				}
				// What was fetched before a loss goes back to its queue.
				eras, losses := int64(0), int64(0)
				for _, shard := range message.DefaultShards.All() {
					eras += s.Era(shard)
				}
				for _, told := range r.told {
					if told == "rewound" || strings.Contains(told, "restored") {
						losses++
					}
				}
				if eras != losses {
					t.Errorf("%d eras began, and there were %d losses", eras, losses)
				}
			})
		})
	}
}

// setBack takes the first shard back by so much.
func (r *restarting) setBack(by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.back = by
}

// TestHeartbeats: every 2 s in every shard, sooner after one that failed; and the worker takes them back
// when it leaves.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &restarting{script: newScript(), run: "first", trusted: "first", start: time.Now(), quietEnd: time.Now()}
		r.failing = func(now time.Duration) error {
			if now >= 4*time.Second && now < 4400*time.Millisecond {
				return errAway
			}
			return nil
		}
		ctx, stop := context.WithTimeout(t.Context(), 9*time.Second)
		defer stop()
		watchingUntil(ctx, r)
		want := []time.Duration{0, 2 * time.Second, 4 * time.Second, 4250 * time.Millisecond, 4500 * time.Millisecond, 6 * time.Second, 8 * time.Second}
		if !reflect.DeepEqual(r.heartbeats, want) {
			t.Errorf("heartbeats at %v, want %v", r.heartbeats, want)
		}
		if !r.left {
			t.Error("it did not leave")
		}
	})
}

// TestShardView: after heartbeats that failed or came late, and after a jump of the server's clock, no worker counts
// as dead; after a jump no age counts.
func TestShardView(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		at := func(d time.Duration) time.Time { return start.Add(d) }
		r := &restarting{script: newScript(), run: "first", trusted: "first", start: start, quietEnd: start}
		var ahead time.Duration
		r.failing = func(now time.Duration) error {
			if now >= 20*time.Second && now < 30*time.Second {
				return errAway
			}
			return nil
		}
		s := watching(t, r)
		want := func(unbroken, steady time.Duration) {
			t.Helper()
			synctest.Wait()
			if got := s.View(3); !got.Unbroken.Equal(at(unbroken)) || !got.Steady.Equal(at(steady)) {
				t.Errorf("at %s: %s and %s, want %s and %s", time.Since(start), got.Unbroken.Sub(start), got.Steady.Sub(start), unbroken, steady)
			}
		}
		time.Sleep(11 * time.Second)
		want(0, 0)
		time.Sleep(10 * time.Second)
		if !s.View(3).Unbroken.IsZero() {
			t.Error("a view without heartbeats is good")
		}
		time.Sleep(10 * time.Second) // 31 s
		want(30*time.Second, 0)
		for _, jump := range []time.Duration{time.Minute, -time.Minute} {
			ahead += jump
			r.mu.Lock()
			r.ahead = ahead
			r.mu.Unlock()
			time.Sleep(2 * time.Second)
			want(time.Since(start).Truncate(2*time.Second), time.Since(start).Truncate(2*time.Second))
		}
	})
}

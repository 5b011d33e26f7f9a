package send_test

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
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
	mu       sync.Mutex
	run      string
	trusted  string
	quietEnd time.Time
	lost     message.Lost
	told     []string
}

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

func (r *restarting) Meet(_ context.Context, _ message.Shard, quiet time.Duration) (message.Run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.quietEnd.IsZero() {
		r.quietEnd = time.Now().Add(quiet)
	}
	return message.Run{ID: r.run, Met: r.run == r.trusted, Wait: time.Until(r.quietEnd)}, nil
}

func (r *restarting) Trust(_ context.Context, _ message.Shard, run string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trusted != run { // by the first of the shards
		r.told = append(r.told, "trust "+run)
	}
	r.trusted = run
	return nil
}

func (r *restarting) Assert(_ context.Context, _ message.Shard, all []message.Memory) (message.Lost, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(all) == 0 {
		return message.Lost{}, nil
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
	s := send.New(r, r.script, send.Options{
		Worker: "w", Shards: message.DefaultShards, Quiet: send.Quiet,
		Policy:  func(_ string, c message.Class) message.Policy { return message.DefaultPolicy(c) },
		Backoff: func(int) time.Duration { return time.Second }, Attempts: 5,
		Body: func(a message.Attempt) ([]byte, error) { return a.Payload, nil },
		Rewound: func(context.Context, message.Shard) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.told = append(r.told, "rewound")
		},
		Log: slog.New(slog.DiscardHandler), Registerer: r.reg,
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Watch(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return s
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
			r.lost = message.Lost{Intents: 1}
			r.restart("second")
			from := time.Now()
			if a := s.Handle(t.Context(), id, 8, nil, r.nextSlot); a != (send.Again{Due: true}) || time.Since(from) != send.Quiet {
				t.Errorf("%+v after %s", a, time.Since(from))
			}
			if a := s.Handle(t.Context(), id, 8, nil, r.nextSlot); a != (send.Again{}) {
				t.Errorf("%+v", a)
			}
		}, []string{"trust first", "second to hear of 1 7/2 submitted", "rewound", "trust second"}},
		"while idle": {func(t *testing.T, r *restarting, s *send.Sender) {
			s.Handle(t.Context(), id, 7, nil, r.nextSlot)
			r.restart("second")
			time.Sleep(2*time.Second + send.Quiet) // fake
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
			time.Sleep(send.Quiet)
		}, []string{"trust first", "second to hear of 1 7/2 under way", "trust second"}},
		"between the intent and its slot": {func(t *testing.T, r *restarting, s *send.Sender) {
			r.missFirst(func() { r.restart("second"); time.Sleep(6 * time.Second) })
			if a := s.Handle(t.Context(), id, 7, nil, r.nextSlot); a != (send.Again{Due: true}) {
				t.Errorf("%+v", a)
			}
			if last := r.asked[len(r.asked)-1]; last != "finish 2 queued" {
				t.Errorf("the intent was not taken back: %q", r.asked)
			}
		}, []string{"trust first", "second to hear of 1 7/2 under way", "trust second"}},
		"just before a late slot": {func(t *testing.T, r *restarting, s *send.Sender) {
			r.missFirst(func() { r.restart("second") })
			if a := s.Handle(t.Context(), id, 7, nil, r.nextSlot); a != (send.Again{}) { // as if it had not been late
				t.Errorf("%+v", a)
			}
			time.Sleep(2*time.Second + send.Quiet)
		}, []string{"trust first", "second to hear of 1 7/2 submitted", "trust second"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &restarting{script: newScript(), run: "first"}
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
			})
		})
	}
}

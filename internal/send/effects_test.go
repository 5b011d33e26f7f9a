package send_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/message"
	"sluice/internal/send"
)

// TestEffectsOnOtherMessages: each outcome has the right effects on the other messages, and no others.
func TestEffectsOnOtherMessages(t *testing.T) {
	t.Parallel()
	for _, k := range message.Kinds() {
		for _, l := range []message.Limit{"", message.LimitNumber, message.LimitPair} {
			s := newScript()
			s.post = func() message.Outcome { return message.Outcome{Kind: k, Limit: l, Hold: message.HoldNumber} }
			s.handle(t.Context(), slog.New(slog.DiscardHandler))
			want := k == message.Throttled && l == message.LimitNumber
			if got := slices.Contains(s.asked, "throttled "+number); got != want {
				t.Errorf("%s by the limit of %q: slowed down %v, want %v", k, l, got, want)
			}
			held := slices.ContainsFunc(s.asked, func(a string) bool { return strings.HasPrefix(a, "hold ") })
			if want := k == message.Held; held != want {
				t.Errorf("%s: held %v, want %v", k, held, want)
			}
		}
	}
}

// TestAnotherMessageGoesFirst: after a hold because of answers without a code, the message that had the last one does not
// leave first, because the answer may be about this message.
func TestAnotherMessageGoesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.post = func() message.Outcome {
			return message.Outcome{Kind: message.Held, Hold: message.HoldNumber, Unknown: true, Reason: "http 403"}
		}
		var counted []bool
		s.finish = func(m message.Move) (message.State, bool, error) {
			counted = append(counted, m.Counts)
			return m.To, false, nil
		}
		sender := s.sender(slog.New(slog.DiscardHandler))
		for i := range 6 {
			s.begin = func(token string) (message.Attempt, error) {
				a, err := going(token)
				a.ID = number + "-" + strings.Repeat(string('a'+rune(i)), 26)
				a.Message.ID = a.ID
				return a, err
			}
			if got := sender.Handle(t.Context(), id, 0, nil, s.nextSlot); got != (send.Retry{Due: true, In: 3 * time.Second}) {
				t.Errorf("message %d: %+v", i, got)
			}
		}
		if want := []bool{true, true, true, true, false, false}; !slices.Equal(counted, want) {
			t.Errorf("counts against the message: %v, want %v", counted, want)
		}
		if held := strings.Join(s.asked, ", "); strings.Count(held, `hold `+number+` "" 0 3s`) != 2 {
			t.Errorf("the fifth message and the next hold the number: %s", held)
		}
	})
}

// TestAnyWorkersSuccessEndsProbing: a number that another worker lets probe recovers when Meta accepts a message, and
// by nothing else.
func TestAnyWorkersSuccessEndsProbing(t *testing.T) {
	t.Parallel()
	for _, k := range message.Kinds() {
		for _, probing := range []bool{true, false} {
			s := newScript()
			next := s.next
			s.next = func(ctx context.Context) (send.Slot, error) {
				got, err := next(ctx)
				if probing {
					got = probingSlot{got.(slot)}
				}
				return got, err
			}
			s.post = func() message.Outcome { return message.Outcome{Kind: k} }
			s.handle(t.Context(), slog.New(slog.DiscardHandler))
			want := probing && k == message.Accepted
			if got := slices.Contains(s.asked, "recovered "+number); got != want {
				t.Errorf("%s, probing %t: recovered %t, want %t", k, probing, got, want)
			}
		}
	}
}

// TestAnUnsentAttemptHasNoEffect: a message that was not sent is no answer of Meta's, for which a
// probing number waits.
func TestAnUnsentAttemptHasNoEffect(t *testing.T) {
	t.Parallel()
	s := newScript()
	sender := send.New(s, s, send.Options{
		Worker: "w", Policy: func(string, message.Class) message.Policy { return message.Policy{} },
		Backoff: func(int) time.Duration { return 0 }, Attempts: 1,
		Request: func(a message.Attempt) (q message.Request, err error) {
			q.Number = a.Message.From
			q.Body, err = s.body(a.Payload)
			return q, err
		},
		Rates: rateNotes{s}, Shards: message.DefaultShards, Log: slog.New(slog.DiscardHandler), Registerer: s.reg,
	})
	after := func(kind message.Kind, bodyErr error) []string {
		s.asked = nil
		s.post = func() message.Outcome { return message.Outcome{Kind: kind} }
		s.body = func([]byte) ([]byte, error) { return nil, bodyErr }
		sender.Handle(t.Context(), id, 0, nil, s.nextSlot)
		return s.asked
	}
	for range 5 {
		after(message.NoAnswer, nil)
	}
	recovered := "recovered " + number
	if got := after(message.Accepted, message.ErrTampered); slices.Contains(got, recovered) {
		t.Errorf("tampered with: %q", got)
	}
	if got := after(message.Accepted, nil); !slices.Contains(got, recovered) {
		t.Errorf("accepted: %q", got)
	}
}

// TestPausesOfAnApp: each pause is longer than the last, the refused message waits for its end, and the first
// message that Meta takes afterwards ends the probing.
func TestPausesOfAnApp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		sender := send.New(s, s, send.Options{
			Worker: "w", Policy: func(string, message.Class) message.Policy { return message.Policy{} },
			Backoff: func(int) time.Duration { return 0 }, Attempts: 1,
			Request: func(a message.Attempt) (message.Request, error) {
				return message.Request{Number: a.Message.From, Body: a.Payload}, nil
			},
			Rates: rateNotes{s}, Siblings: func(_ context.Context, of string) []string { return []string{of} },
			Shards: message.DefaultShards, Log: slog.New(slog.DiscardHandler), Registerer: s.reg,
		})
		post := s.post
		s.post = func() message.Outcome {
			return message.Outcome{Kind: message.Throttled, Limit: message.LimitApp, RetryAfter: time.Minute}
		}
		for _, pause := range []time.Duration{time.Minute, 2 * time.Minute} {
			if again := sender.Handle(t.Context(), id, 0, nil, s.nextSlot); again != (send.Retry{Due: true, In: pause}) {
				t.Errorf("%+v, want a pause of %s", again, pause)
			}
			time.Sleep(pause)
		}
		s.post = post
		sender.Handle(t.Context(), id, 0, nil, s.nextSlot)
		if !slices.Contains(s.asked, "recovered "+number) {
			t.Errorf("%q", s.asked)
		}
	})
}

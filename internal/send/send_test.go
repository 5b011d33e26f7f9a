package send_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/send"
)

const (
	number = "106540352242922"
	id     = number + "-abcdefghijklmnopqrstuvwxyz"
)

func TestHandle(t *testing.T) {
	t.Parallel()
	verdict := func(a message.Attempt) func(string) (message.Attempt, error) {
		return func(string) (message.Attempt, error) { return a, nil }
	}
	outcome := func(k message.Kind) func() message.Outcome {
		return func() message.Outcome { return message.Outcome{Kind: k, Code: 1} }
	}
	throttled := func(l message.Limit) func() message.Outcome {
		return func() message.Outcome { return message.Outcome{Kind: message.Throttled, Limit: l} }
	}
	held := func(h message.HoldOn) func() message.Outcome {
		return func() message.Outcome { return message.Outcome{Kind: message.Held, Hold: h, Code: 190} }
	}
	const post = "post " + number + " {}"
	tests := map[string]struct {
		change func(s *script)
		again  send.Retry
		asked  []string
	}{
		"accepted": {func(s *script) {}, send.Retry{}, []string{"next", "begin", "use", post, "finish 2 submitted"}},
		"by the Marketing Messages API": {
			func(s *script) { s.marketing = true },
			send.Retry{},
			[]string{"next", "begin", "use", post, "finish 2 submitted marketing_messages"},
		},
		"done": {
			func(s *script) { s.begin = verdict(message.Attempt{Verdict: message.Done}) },
			send.Retry{},
			[]string{"next", "begin"},
		},
		"early": {func(s *script) {
			s.begin = verdict(message.Attempt{Verdict: message.Early, Wait: 7 * time.Minute})
		}, send.Retry{Due: true, In: 7 * time.Minute}, []string{"next", "begin"}},
		"busy": {
			func(s *script) { s.begin = verdict(message.Attempt{Verdict: message.Busy}) },
			send.Retry{Due: true, In: 5 * time.Second},
			[]string{"next", "begin"},
		},
		"intent unconfirmed": {
			func(s *script) {
				s.begin = verdict(message.Attempt{Verdict: message.Unconfirmed, ID: id, N: 2})
			},
			send.Retry{Due: true, In: 2 * time.Second},
			[]string{"next", "begin", "finish 2 queued"},
		},
		"transient": {
			func(s *script) { s.post = outcome(message.Transient) },
			send.Retry{Due: true, In: 3 * time.Second},
			[]string{"next", "begin", "use", post, "finish 2 queued"},
		},
		"throttled": {
			func(s *script) { s.post = outcome(message.Throttled) },
			send.Retry{Due: true, In: 3 * time.Second},
			[]string{"next", "begin", "use", post, "finish 2 queued"},
		},
		"throttled, the number was too fast": {
			func(s *script) { s.post = throttled(message.LimitNumber) },
			send.Retry{Due: true, In: 3 * time.Second},
			[]string{"next", "begin", "use", post, "throttled " + number, "finish 2 queued"},
		},
		"throttled, one recipient gets too much": {
			func(s *script) { s.post = throttled(message.LimitPair) },
			send.Retry{Due: true, In: 4 * time.Second, Recipient: true},
			[]string{"next", "begin", "use", post, "finish 2 queued"},
		},
		"held, the number": {
			func(s *script) { s.post = held(message.HoldNumber) },
			send.Retry{Due: true, On: message.HoldNumber},
			[]string{"next", "begin", "use", post, "probe 33s " + number, "hold " + number + ` "" 190 3s`, "finish 2 queued"},
		},
		"held, the template": {
			func(s *script) { s.post = held(message.HoldTemplate) },
			send.Retry{Due: true, On: message.HoldTemplate, Template: "sale/en"},
			[]string{"next", "begin", "use", post, "hold " + number + ` "sale/en" 190 3s`, "finish 2 queued"},
		},
		"held in vain": {
			func(s *script) { s.post, s.holds = held(message.HoldNumber), errAway },
			send.Retry{Due: true, In: 3 * time.Second},
			[]string{"next", "begin", "use", post, "probe 33s " + number, "hold " + number + ` "" 190 3s`, "finish 2 queued"},
		},
		"held, nothing that others have": {
			func(s *script) { s.post = held("") },
			send.Retry{Due: true, In: 3 * time.Second},
			[]string{"next", "begin", "use", post, "finish 2 queued"},
		},
		"refused with an unknown code": {
			func(s *script) {
				s.post = func() message.Outcome {
					return message.Outcome{Kind: message.Refused, Code: 987654, Unknown: true}
				}
			},
			send.Retry{},
			[]string{"next", "begin", "use", post, "finish 2 dead"},
		},
		"too many calls of the app": {
			func(s *script) {
				s.post = func() message.Outcome {
					return message.Outcome{Kind: message.Throttled, Limit: message.LimitApp, RetryAfter: time.Minute}
				}
			},
			send.Retry{Due: true, In: time.Minute},
			[]string{"next", "begin", "use", post, "pause 1m0s " + number, "probe 1m30s " + number, "pause 1m0s 2", "probe 1m30s 2", "finish 2 queued"},
		},
		"refused": {
			func(s *script) { s.post = outcome(message.Refused) },
			send.Retry{},
			[]string{"next", "begin", "use", post, "finish 2 rejected"},
		},
		"no answer": {
			func(s *script) { s.post = outcome(message.NoAnswer) },
			send.Retry{},
			[]string{"next", "begin", "use", post, "finish 2 in_doubt"},
		},
		"transient, but a status was quicker": {func(s *script) {
			s.post = outcome(message.Transient)
			s.finish = func(message.Move) (message.State, bool, error) { return message.Delivered, false, nil }
		}, send.Retry{}, []string{"next", "begin", "use", post, "finish 2 queued"}},
		"accepted, but requeued by another meanwhile": {func(s *script) {
			s.finish = func(message.Move) (message.State, bool, error) { return message.Queued, false, nil }
		}, send.Retry{}, []string{"next", "begin", "use", post, "finish 2 submitted"}},
		"tampered with": {func(s *script) {
			s.body = func([]byte) ([]byte, error) { return nil, fmt.Errorf("no seal: %w", message.ErrTampered) }
		}, send.Retry{}, []string{"next", "begin", "finish 2 dead"}},
		"opted out after the fetch": {func(s *script) {
			s.body = func([]byte) ([]byte, error) { return nil, message.ErrOptedOut }
		}, send.Retry{Due: true, In: time.Second}, []string{"next", "begin", "finish 2 queued"}},
		"the window closed after the fetch": {func(s *script) {
			s.body = func([]byte) ([]byte, error) { return nil, message.ErrOutsideWindow }
		}, send.Retry{Due: true, In: time.Second}, []string{"next", "begin", "finish 2 queued"}},
		"payload unreadable": {func(s *script) {
			s.body = func([]byte) ([]byte, error) { return nil, errors.New("no JSON") }
		}, send.Retry{}, []string{"next", "begin", "finish 2 rejected"}},
		"in maintenance": {
			func(s *script) {
				s.post = func() message.Outcome {
					return message.Outcome{Kind: message.Throttled, Limit: message.LimitRest, RetryAfter: time.Hour}
				}
			},
			send.Retry{Due: true, In: time.Hour},
			[]string{"next", "begin", "use", post, "pause 5m0s " + number, "finish 2 queued"},
		},
		"frozen after begin": {func(s *script) {
			s.missFirst(func() {})
			next, first := s.next, true
			s.next = func(ctx context.Context) (send.Slot, error) {
				if !first {
					return next(ctx)
				}
				first = false
				return slot(func() error { s.asked = append(s.asked, "frozen"); time.Sleep(6 * time.Second); return nil }), nil
			}
		}, send.Retry{}, []string{"begin", "frozen", "next", "begin", "missed", "next", "use", post, "finish 2 submitted"}},
		"slot missed, then not": {
			func(s *script) { s.missFirst(func() {}) },
			send.Retry{},
			[]string{"next", "begin", "missed", "next", "use", post, "finish 2 submitted"},
		},
		"the connection is slow to come": {func(s *script) {
			s.connect = func() { time.Sleep(time.Second); s.connect = nil }
			s.missFirst(func() {})
		}, send.Retry{}, []string{"next", "begin", "missed", "next after a connection", "use", post, "finish 2 submitted"}},
		"the connection comes too late": {func(s *script) {
			s.connect = func() { time.Sleep(6 * time.Second); s.connect = nil }
			s.missFirst(func() {})
		}, send.Retry{}, []string{"next", "begin", "missed", "next", "begin", "use", post, "finish 2 submitted"}},
		"no connection is free at first": {func(s *script) {
			s.reserve = func(context.Context) (time.Duration, error) { return time.Second, nil }
		}, send.Retry{}, []string{"next", "next after a connection", "begin", "use", post, "finish 2 submitted"}},
		"no connection is free for a moment": {func(s *script) {
			s.reserve = func(context.Context) (time.Duration, error) { return 20 * time.Millisecond, nil }
		}, send.Retry{}, []string{"next", "begin", "use", post, "finish 2 submitted"}},
		"no connection is free, and then no slot": {func(s *script) {
			s.reserve = func(context.Context) (time.Duration, error) { return time.Second, nil }
			next, n := s.next, 0
			s.next = func(ctx context.Context) (send.Slot, error) {
				if n++; n == 2 {
					s.asked = append(s.asked, "next")
					<-ctx.Done() // the connection goes to another
					s.reserve = nil
					return nil, ctx.Err()
				}
				return next(ctx)
			}
		}, send.Retry{}, []string{"next", "next after a connection", "next after a connection", "begin", "use", post, "finish 2 submitted"}},
		"deadline passes before its slot": {func(s *script) {
			s.begin = func(token string) (message.Attempt, error) {
				a, err := going(token)
				a.Left = time.Second
				return a, err
			}
			s.missFirst(func() { time.Sleep(time.Second) })
		}, send.Retry{Due: true}, []string{"next", "begin", "missed", "next", "use", "finish 2 queued"}},
		"slot missed by long, and no longer ours": {func(s *script) {
			s.missFirst(func() { time.Sleep(6 * time.Second); s.begin = verdict(message.Attempt{Verdict: message.Done}) })
		}, send.Retry{}, []string{"next", "begin", "missed", "next", "begin"}},
		"slot missed by long, and another at work": {func(s *script) {
			s.missFirst(func() { time.Sleep(6 * time.Second); s.begin = verdict(message.Attempt{Verdict: message.Busy}) })
		}, send.Retry{Due: true, In: 5 * time.Second}, []string{"next", "begin", "missed", "next", "begin"}},
		"no slot any more": {func(s *script) {
			s.next = func(context.Context) (send.Slot, error) {
				s.asked = append(s.asked, "next")
				return nil, errors.New("closed")
			}
		}, send.Retry{Due: true}, []string{"next"}},
		"no slot any more, after begin": {func(s *script) {
			closed := false
			s.next = func(context.Context) (send.Slot, error) {
				if s.asked = append(s.asked, "next"); closed {
					return nil, errors.New("closed")
				}
				closed = true
				return slot(func() error { s.asked = append(s.asked, "missed"); return errors.New("late") }), nil
			}
		}, send.Retry{Due: true}, []string{"next", "begin", "missed", "next", "finish 2 queued"}},
		"no slot for long, after begin": {func(s *script) {
			missed := false
			s.next = func(ctx context.Context) (send.Slot, error) {
				if s.asked = append(s.asked, "next"); missed {
					<-ctx.Done() // the number probes
					return nil, ctx.Err()
				}
				missed = true
				return slot(func() error { s.asked = append(s.asked, "missed"); return errors.New("late") }), nil
			}
		}, send.Retry{Due: true}, []string{"next", "begin", "missed", "next", "finish 2 queued"}},
		"the record cannot be read": {
			func(s *script) {
				s.begin = func(string) (message.Attempt, error) { return message.Attempt{}, fmt.Errorf("m: %w", record.ErrFormat) }
			},
			send.Retry{},
			[]string{"next", "begin"},
		},
		"begin unanswered twice": {func(s *script) {
			s.begin = failing(2, going)
		}, send.Retry{}, []string{"next", "begin", "begin", "begin", "use", post, "finish 2 submitted"}},
		"finish unanswered three times": {func(s *script) {
			f := s.finish
			s.finish = func(m message.Move) (message.State, bool, error) {
				if len(s.asked) < 8 {
					return "", false, errAway
				}
				return f(m)
			}
		}, send.Retry{}, []string{"next", "begin", "use", post, "finish 2 submitted", "finish 2 submitted", "finish 2 submitted", "finish 2 submitted"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				tt.change(s)
				if got := s.handle(t.Context(), slog.New(slog.DiscardHandler)); got != tt.again {
					t.Errorf("%+v, want %+v", got, tt.again)
				}
				if !reflect.DeepEqual(s.asked, tt.asked) {
					t.Errorf("asked  %q\nwant %q", s.asked, tt.asked)
				}
				if s.reserved != s.released {
					t.Errorf("%d connections reserved, %d released", s.reserved, s.released)
				}
				if len(s.tokens) > 1 {
					t.Errorf("one attempt went by several names: %v", s.tokens)
				}
			})
		})
	}
}

// TestStop ends the context at each step: nothing new is posted, what was begun is written
// down.
func TestStop(t *testing.T) {
	t.Parallel()
	const post = "post " + number + " {}"
	tests := map[string]struct {
		change func(s *script, stop func())
		again  send.Retry
		asked  []string
	}{
		"before": {func(s *script, stop func()) { stop() }, send.Retry{Due: true}, []string{"next"}},
		"in begin": {func(s *script, stop func()) {
			s.begin = func(token string) (message.Attempt, error) { stop(); return going(token) }
			s.next = func(ctx context.Context) (send.Slot, error) {
				s.asked = append(s.asked, "next")
				return slot(func() error { s.asked = append(s.asked, "missed"); return ctx.Err() }), ctx.Err()
			}
		}, send.Retry{Due: true}, []string{"next", "begin", "missed", "next", "finish 2 queued"}},
		"before begin": {func(s *script, stop func()) {
			next := s.next
			s.next = func(ctx context.Context) (send.Slot, error) { got, err := next(ctx); stop(); return got, err }
		}, send.Retry{}, []string{"next", "begin", "use", post, "finish 2 submitted"}}, // its slot was still good
		"in begin, the store away": {func(s *script, stop func()) {
			s.begin = func(string) (message.Attempt, error) { stop(); return message.Attempt{}, errAway }
		}, send.Retry{Due: true, In: time.Second}, []string{"next", "begin"}},
		"in the request": {func(s *script, stop func()) {
			p := s.post
			s.post = func() message.Outcome { stop(); return p() }
		}, send.Retry{}, []string{"next", "begin", "use", post, "finish 2 submitted"}},
		"in the request, throttled": {
			func(s *script, stop func()) {
				s.post = func() message.Outcome {
					stop()
					return message.Outcome{Kind: message.Throttled, Limit: message.LimitNumber}
				}
			},
			send.Retry{Due: true, In: 3 * time.Second},
			[]string{"next", "begin", "use", post, "throttled " + number, "finish 2 queued"},
		},
		"in the request, held": {
			func(s *script, stop func()) {
				s.post = func() message.Outcome { stop(); return message.Outcome{Kind: message.Held, Hold: message.HoldNumber} }
			},
			send.Retry{Due: true, On: message.HoldNumber},
			[]string{"next", "begin", "use", post, "probe 33s " + number, "hold " + number + ` "" 0 3s`, "finish 2 queued"},
		},
		"before the request": {func(s *script, stop func()) {
			b := s.body
			s.body = func(payload []byte) ([]byte, error) { stop(); return b(payload) }
		}, send.Retry{}, []string{"next", "begin", "use", post, "finish 2 submitted"}},
		"in finish, unanswered": {func(s *script, stop func()) {
			s.finish = func(m message.Move) (message.State, bool, error) {
				if stop(); len(s.asked) < 7 {
					return "", false, errAway
				}
				return m.To, false, nil
			}
		}, send.Retry{}, []string{"next", "begin", "use", post, "finish 2 submitted", "finish 2 submitted", "finish 2 submitted"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				s := newScript()
				tt.change(s, stop)
				if got := s.handle(ctx, slog.New(slog.DiscardHandler)); got != tt.again {
					t.Errorf("%+v, want %+v", got, tt.again)
				}
				if !reflect.DeepEqual(s.asked, tt.asked) {
					t.Errorf("asked  %q\nwant %q", s.asked, tt.asked)
				}
			})
		})
	}
}

// TestWroteIsCalledForRequests: of each that is about to be written, and of nothing else.
func TestWroteIsCalledForRequests(t *testing.T) {
	t.Parallel()
	const post = "post " + number + " {}"
	for name, tt := range map[string]struct {
		change func(s *script)
		asked  []string
	}{
		"written": {func(*script) {}, []string{"next", "begin", "use", "wrote " + number, post, "finish 2 submitted"}},
		"unreadable": {func(s *script) {
			s.body = func([]byte) ([]byte, error) { return nil, errors.New("no JSON") }
		}, []string{"next", "begin", "finish 2 rejected"}},
	} {
		s := newScript()
		s.wrote = func(of string, at time.Time) {
			s.asked = append(s.asked, "wrote "+of)
			if age := time.Since(at); age < 0 || age > time.Minute {
				t.Errorf("written at %s", at)
			}
		}
		tt.change(s)
		s.handle(t.Context(), slog.New(slog.DiscardHandler))
		if !reflect.DeepEqual(s.asked, tt.asked) {
			t.Errorf("%s: asked %q, want %q", name, s.asked, tt.asked)
		}
	}
}

// TestFinishGivesUp: after a minute another worker may take the attempt for abandoned. The task is retried until one
// has, so the message is not lost.
func TestFinishGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.finish = func(message.Move) (message.State, bool, error) { return "", false, errAway }
		start := time.Now()
		if got := s.handle(t.Context(), slog.New(slog.DiscardHandler)); got != (send.Retry{Due: true, In: 5 * time.Second}) {
			t.Errorf("%+v", got)
		}
		if took := time.Since(start); took < 55*time.Second || took > 65*time.Second {
			t.Errorf("it tried for %s", took)
		}
		if n := len(s.asked); n < 50 || n > 100 {
			t.Errorf("%d calls", n)
		}
	})
}

// TestEachHandleHasItsOwnToken: two tasks of one worker must not pass for each other.
func TestEachHandleHasItsOwnToken(t *testing.T) {
	t.Parallel()
	s := newScript()
	sender := send.New(s, s, send.Options{
		Worker: "w", Policy: func(string, message.Class) message.Policy { return message.Policy{} },
		Backoff: func(int) time.Duration { return 0 }, Attempts: 1,
		Request: func(a message.Attempt) (message.Request, error) {
			return message.Request{Number: a.Message.From, Body: a.Payload}, nil
		},
		Shards: message.DefaultShards, Log: slog.New(slog.DiscardHandler), Registerer: s.reg,
	})
	for range 3 {
		sender.Handle(t.Context(), id, 0, nil, s.nextSlot)
	}
	if len(s.tokens) != 3 {
		t.Errorf("%v", s.tokens)
	}
	for token := range s.tokens {
		if !strings.HasPrefix(token, "w/") {
			t.Errorf("token %q", token)
		}
	}
}

func TestMetricsAndLogOfAnAttempt(t *testing.T) {
	t.Parallel()
	s := newScript()
	s.finish = func(m message.Move) (message.State, bool, error) { return m.To, true, nil }
	var out strings.Builder
	s.handle(t.Context(), slog.New(slog.NewJSONHandler(&out, nil)))
	for _, key := range []string{`"message_id":"` + id, `"wamid":"wamid.1"`, `"attempt":2`, `"outcome":"accepted"`, `"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`} {
		if !strings.Contains(out.String(), key) {
			t.Errorf("the log line lacks %s: %s", key, out.String())
		}
	}
	if strings.Contains(out.String(), `"err"`) {
		t.Errorf("a line with err is left out when the failure repeats: %s", out.String())
	}
	if n, err := testutil.GatherAndCount(s.reg, "sluice_send_attempts_total"); err != nil || n != len(message.Kinds()) {
		t.Errorf("%d series of attempts, %v", n, err)
	}
	want := `
# HELP sluice_number_inflight_requests Requests to Meta that have no answer yet.
# TYPE sluice_number_inflight_requests gauge
sluice_number_inflight_requests{phone_number_id="` + number + `"} 0
# HELP sluice_send_duplicates_total Messages that Meta accepted more than once, as its answer proved. Duplicates that a status proved are in sluice_status_applied_total.
# TYPE sluice_send_duplicates_total counter
sluice_send_duplicates_total 1
`
	if err := testutil.GatherAndCompare(s.reg, strings.NewReader(want), "sluice_number_inflight_requests", "sluice_send_duplicates_total"); err != nil {
		t.Error(err)
	}
}

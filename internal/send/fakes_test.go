package send_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/send"
)

var errAway = errors.New("the store is away")

// script plays the ledger, the slots and Meta, and writes down what was asked of it.
type script struct {
	begin  func(token string) (message.Attempt, error)
	finish func(m message.Move) (message.State, bool, error)
	next   func(ctx context.Context) (send.Slot, error)
	post   func() message.Outcome
	body   func(payload []byte) ([]byte, error)
	wrote  func(number string, at time.Time)
	holds  error // what a hold comes to

	marketing bool // the message goes to the Marketing Messages API

	inForce func() ([]message.Hold, error)

	reserve  func(ctx context.Context) (time.Duration, error)
	reserved int
	released int
	connect  func() // until there is a connection

	asked  []string
	tokens map[string]bool
	reg    *prometheus.Registry
}

func (s *script) Begin(ctx context.Context, id string, k int, token string, known *record.Record) (message.Attempt, error) {
	s.asked = append(s.asked, "begin")
	s.tokens[token] = true
	if ctx.Err() != nil {
		return message.Attempt{}, ctx.Err()
	}
	return s.begin(token)
}

func (s *script) Finish(ctx context.Context, a message.Attempt, m message.Move) (message.State, bool, error) {
	s.asked = append(s.asked, strings.TrimSpace(fmt.Sprintf("finish %d %s %s", a.N, m.To, m.Route)))
	if ctx.Err() != nil {
		return "", false, ctx.Err()
	}
	return s.finish(m)
}

func (s *script) Reserve(ctx context.Context) (time.Duration, error) {
	s.reserved++
	if s.reserve == nil {
		return 0, nil
	}
	return s.reserve(ctx)
}

func (s *script) Release() { s.released++ }

func (s *script) Send(ctx context.Context, q message.Request, ready func() error) message.Outcome {
	if s.connect != nil {
		s.connect()
	}
	if err := ready(); err != nil {
		return message.Outcome{Kind: message.Transient, Err: err}
	}
	s.asked = append(s.asked, fmt.Sprintf("post %s %s", q.Number, q.Body))
	if ctx.Err() != nil {
		return message.Outcome{Kind: message.Transient, Err: ctx.Err()}
	}
	return s.post()
}

func (s *script) Heartbeat(_ context.Context, pulses []message.Heartbeat) []message.Epoch {
	s.asked = append(s.asked, "heartbeat")
	runs := make([]message.Epoch, len(pulses))
	for i := range runs {
		runs[i].Ready = true
	}
	return runs
}

func (s *script) Leave(context.Context, string) error { return nil }

func (s *script) BeginEpoch(context.Context, message.Shard, string) error { return nil }

func (s *script) Replay(context.Context, message.Shard, []message.RememberedAttempt) (message.LostWrites, error) {
	return message.LostWrites{}, nil
}

func (s *script) use() error { s.asked = append(s.asked, "use"); return nil }

// slot is a slot whose Use is the function.
type slot func() error

func (s slot) Use(context.Context) error { return s() }
func (s slot) Probing() bool             { return false }

// probingSlot is a slot of a number that another worker lets probe.
type probingSlot struct{ slot }

func (probingSlot) Probing() bool { return true }

func (s slot) Ready() {}

func going(token string) (message.Attempt, error) {
	return message.Attempt{
		Verdict: message.Go, Left: time.Hour, ID: id, N: 2, Token: token, Payload: []byte("{}"),
		Message: message.Context{ID: id, From: number, Class: message.Utility, Template: "sale/en", Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	}, nil
}

// newScript is a life in which all goes well.
func newScript() *script {
	s := &script{tokens: map[string]bool{}, reg: prometheus.NewRegistry(), begin: going}
	s.finish = func(m message.Move) (message.State, bool, error) { return m.To, false, nil }
	s.next = func(ctx context.Context) (send.Slot, error) {
		s.asked = append(s.asked, "next")
		return slot(s.use), ctx.Err()
	}
	s.post = func() message.Outcome { return message.Outcome{Kind: message.Accepted, WAMID: "wamid.1"} }
	s.body = func(payload []byte) ([]byte, error) { return payload, nil }
	return s
}

func (s *script) handle(ctx context.Context, log *slog.Logger) send.Retry {
	return s.sender(log).Handle(ctx, id, 0, nil, s.nextSlot)
}

func (s *script) sender(log *slog.Logger) *send.Sender {
	return send.New(s, s, send.Options{
		Worker: "w", Shards: message.DefaultShards,
		Policy:   func(_ string, c message.Class) message.Policy { return message.DefaultPolicy(c) },
		Backoff:  func(int) time.Duration { return 3 * time.Second },
		Attempts: 5,
		Request: func(a message.Attempt) (message.Request, error) {
			if a.Message.ID != a.ID || a.N != 2 {
				return message.Request{}, fmt.Errorf("body of %s, attempt %d", a.ID, a.N)
			}
			body, err := s.body(a.Payload)
			return message.Request{Number: a.Message.From, Marketing: s.marketing, Body: body}, err
		},
		Rates: rateNotes{s},
		Hold: func(ctx context.Context, of, template string, out message.Outcome, d time.Duration) error {
			s.asked = append(s.asked, fmt.Sprintf("hold %s %q %d %s", of, template, out.Code, d))
			if ctx.Err() != nil {
				s.asked = append(s.asked, "in vain")
			}
			return s.holds
		},
		TemplateAccepted: func(_ context.Context, of, template string) {
			s.asked = append(s.asked, "template accepted "+of+" "+template)
		},
		Siblings: func(_ context.Context, of string) []string { return []string{of, "2"} },
		Holds:    func(context.Context) ([]message.Hold, error) { return s.inForce() },
		Wrote:    s.wrote,
		Log:      log, Registerer: s.reg,
	})
}

func (s *script) nextSlot(ctx context.Context, connecting bool) (send.Slot, error) {
	slot, err := s.next(ctx)
	if last := len(s.asked) - 1; connecting && s.asked[last] == "next" {
		s.asked[last] = "next after a connection"
	}
	return slot, err
}

// rateNotes notes the calls that change the rate of a number.
type rateNotes struct{ s *script }

func (p rateNotes) note(ctx context.Context, what, of string) error {
	p.s.asked = append(p.s.asked, what+" "+of)
	if ctx.Err() != nil {
		p.s.asked = append(p.s.asked, "in vain")
	}
	return nil
}

func (p rateNotes) Throttled(ctx context.Context, of string) (bool, error) {
	return true, p.note(ctx, "throttled", of)
}

func (p rateNotes) Pause(ctx context.Context, of string, d time.Duration) error {
	return p.note(ctx, "pause "+d.String(), of)
}

func (p rateNotes) Probe(ctx context.Context, of string, d time.Duration) error {
	return p.note(ctx, "probe "+d.String(), of)
}

func (p rateNotes) Recovered(ctx context.Context, of string) error {
	return p.note(ctx, "recovered", of)
}

// missFirst lets the first slot be missed, and then something happen.
func (s *script) missFirst(then func()) {
	next := s.next
	first := true
	s.next = func(ctx context.Context) (send.Slot, error) {
		got, err := next(ctx)
		if !first {
			return got, err
		}
		first = false
		return slot(func() error { s.asked = append(s.asked, "missed"); then(); return errors.New("late") }), nil
	}
}

// failing fails n times before it does what f does.
func failing(n int, f func(string) (message.Attempt, error)) func(string) (message.Attempt, error) {
	return func(token string) (message.Attempt, error) {
		if n--; n >= 0 {
			return message.Attempt{}, errAway
		}
		return f(token)
	}
}

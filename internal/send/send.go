// Package send has the sending of messages by a worker: one attempt to send one message to Meta, recorded before and
// after, and the sweeper, which completes what other workers left unfinished.
package send

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/retry"
	"sluice/internal/tracing"
)

// attemptMax is how long an attempt may take from its record to its outcome. It is longer than the longest request,
// so the owner of an older attempt no longer works on it.
const attemptMax = 60 * time.Second

// unconfirmedWait is how long a message waits for a retry when too few replicas confirmed its intent.
const unconfirmedWait = 2 * time.Second

// fallbackWait is how long a message with a fallback template waits when Meta has refused its template: then that is held, and
// the fallback template takes its place.
const fallbackWait = time.Second

// refetchWait is how long a message waits whose recipient opted out after it was fetched, or whose window closed. The next fetch ends it, or gives
// it its fallback template.
const refetchWait = time.Second

// BusyWait is how long a task waits for a retry when its message is in another attempt.
const BusyWait = 5 * time.Second

// attempts stores attempts.
type attempts interface {
	Begin(ctx context.Context, id string, k int, token string, known *record.Record) (message.Attempt, error)
	Finish(ctx context.Context, a message.Attempt, m message.Move) (message.State, bool, error)
}

// heartbeats stores the heartbeats of workers.
type heartbeats interface {
	Heartbeat(ctx context.Context, pulses []message.Heartbeat) []message.Epoch
	Leave(ctx context.Context, worker string) error
}

// epochs stores the epochs in which attempts may begin.
type epochs interface {
	BeginEpoch(ctx context.Context, s message.Shard, epoch string) error
	Replay(ctx context.Context, s message.Shard, all []message.RememberedAttempt) (message.LostWrites, error)
}

// ledger has all three interfaces. Each part of a Sender uses one of them.
type ledger interface {
	attempts
	heartbeats
	epochs
}

// poster sends a message to Meta. It has its own deadline and returns no Go error: every result is an outcome.
type poster interface {
	// Reserve blocks until a connection is free for one more attempt, and returns how long it waited. Release returns
	// the connection.
	Reserve(ctx context.Context) (time.Duration, error)
	Release()
	// Send gets a connection, calls ready, and writes the request. If ready returns an error it writes nothing.
	Send(ctx context.Context, r message.Request, ready func() error) message.Outcome
}

// rates change the effective rate of a number, for all workers.
type rates interface {
	Throttled(ctx context.Context, number string) (cut bool, err error) // Meta refused messages of the number as too fast
	Pause(ctx context.Context, number string, d time.Duration) error    // nothing is sent for d
	Probe(ctx context.Context, number string, d time.Duration) error    // one message a second, for d or until Recovered is called
	Recovered(ctx context.Context, number string) error                 // Meta answers again
}

// Slot is a time at which a message may be sent.
type Slot interface {
	// Probing reports whether the number probed when the slot was assigned, whichever worker let it probe.
	Probing() bool
	// Ready says that the message is ready to be sent, except for a connection.
	Ready()
	// Use blocks until the request may be written, and uses the slot. Its error means that the slot was missed, or that
	// ctx ended.
	Use(ctx context.Context) error
}

// NextSlot blocks until the task's number has a slot for it. Its error means that the worker stops. Connecting says
// that the last slot was missed because no connection was free.
type NextSlot func(ctx context.Context, connecting bool) (Slot, error)

// Hold stops the sending for a number, or for one of its templates, for a time; after an endless outcome until an
// operator releases the hold.
type Hold func(ctx context.Context, number, template string, out message.Outcome, d time.Duration) error

// Options say how messages are treated. All fields are required, except TemplateSent and Wrote.
type Options struct {
	Worker           string // identifies this process among all workers
	Policy           func(number string, c message.Class) message.Policy
	Backoff          func(n int) time.Duration                      // the delay after the n-th attempt
	Attempts         int                                            // counted attempts before a message becomes a dead letter
	Request          func(message.Attempt) (message.Request, error) // what is POSTed; after an error nothing is, see message.ErrTampered, ErrNamedWaits, ErrNamedNotSent, ErrOtherApp, ErrOptedOut and ErrOutsideWindow
	Rates            rates
	Hold             Hold
	TemplateAccepted func(ctx context.Context, number, template string) // releases the automatic hold on a template that Meta accepts again
	TemplateSent     func(number, template string)                      // called after Meta accepted a message of a template; nil: not called
	// Siblings returns the numbers that share a number's token or account, including the number.
	Siblings func(ctx context.Context, number string) []string
	Holds    func(ctx context.Context) ([]message.Hold, error) // all that are in force
	// LostWrites is called for a shard whose server lost confirmed writes.
	LostWrites func(ctx context.Context, shard message.Shard)
	// Restored sets a hold without an end on everything in a shard: its server lost more than the workers remember, or
	// the depth is unknown (0). After an error it is called again, and no attempt begins before it succeeds.
	Restored   func(ctx context.Context, shard message.Shard, depth time.Duration) error
	Shards     message.Shards
	Parts      [][]message.Shard                 // the shards, grouped by server
	Wrote      func(number string, at time.Time) // called for each request just before it is written; nil: not called
	Tracer     *tracing.Tracer                   // nil: no traces
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Sender makes attempts. It is safe for concurrent use.
type Sender struct {
	o          Options
	attempts   attempts
	heartbeats heartbeats
	epochs     epochs
	poster     poster
	metrics    *metrics
	seq        atomic.Int64
	sends      minute
	health     health
	heldUntil  heldUntil

	memory     memory
	shardBeats allHeartbeats
	restarts   restarts
}

// New returns a sender that stores its attempts in l and sends with p.
func New(l ledger, p poster, o Options) *Sender {
	return &Sender{o: o, attempts: l, heartbeats: l, epochs: l, poster: p, metrics: newMetrics(o.Registerer)}
}

// Serve makes the metrics of numbers, before their first attempt.
func (s *Sender) Serve(numbers ...string) {
	for _, n := range numbers {
		s.metrics.inflight.WithLabelValues(n)
	}
}

// Sends returns how many requests this sender made in the last minute.
func (s *Sender) Sends() int { return s.sends.count() }

// Retry says when a task is tried again.
type Retry struct {
	Due       bool          // false: the task is finished
	In        time.Duration // 0: immediately, at the head of its queue
	Recipient bool          // Meta reported that the pair limit is reached
	// On: at the head of its queue, when the present hold on it ends; empty: the task does not wait for a hold.
	On       message.HoldOn
	Template string // with HoldTemplate
}

var (
	finished = Retry{}
	retryIn  = func(in time.Duration) Retry { return Retry{Due: true, In: in} }
)

// attempt sends the message if ready allows it, and decides what follows from the outcome. It returns what is now
// held, if the message waits for the end of that hold. Its error is that of ready, message.ErrOptedOut or
// message.ErrOutsideWindow: nothing was sent.
func (s *Sender) attempt(ctx context.Context, a message.Attempt, probing bool, ready func() error) (out message.Outcome, m message.Move, on message.HoldOn, err error) {
	start := time.Now()
	var refused error
	number := a.Message.From
	var e effect
	q, err := s.o.Request(a)
	switch {
	case errors.Is(err, message.ErrOptedOut), errors.Is(err, message.ErrOutsideWindow):
		return out, message.Move{}, "", err
	case errors.Is(err, message.ErrTampered):
		s.metrics.tampered.Inc()
		out = message.Outcome{Kind: message.Refused, Reason: message.ReasonTampered, Err: err}
	case errors.Is(err, message.ErrNamedWaits):
		out = message.Outcome{Kind: message.Transient, Reason: message.ReasonNamedWaits, Err: err}
	case errors.Is(err, message.ErrNamedNotSent):
		out = message.Outcome{Kind: message.Refused, Reason: message.ReasonNamedNotSent, Err: err}
	case errors.Is(err, message.ErrOtherApp):
		out = message.Outcome{Kind: message.Refused, Reason: message.ReasonOtherApp, Err: err}
	case err != nil:
		out = message.Outcome{Kind: message.Refused, Reason: "payload_unreadable", Err: err}
	default:
		s.metrics.inflight.WithLabelValues(number).Inc()
		out = s.poster.Send(context.WithoutCancel(ctx), q, func() error {
			if refused = ready(); refused != nil {
				return refused
			}
			start = time.Now()
			s.sends.add()
			if s.o.Wrote != nil {
				s.o.Wrote(number, start)
			}
			return nil
		})
		s.metrics.inflight.WithLabelValues(number).Dec()
		if refused != nil {
			return out, message.Move{}, "", refused
		}
		s.tracePost(ctx, start, q, out)
		e = s.applyEffect(context.WithoutCancel(ctx), a, out, probing)
		if out.Kind == message.Accepted && a.Message.Template != "" && s.o.TemplateSent != nil {
			s.o.TemplateSent(number, a.Message.Template)
		}
	}
	m = s.decide(a, out, e)
	if q.Marketing {
		m.Route = q.Route()
	}
	if e.on != "" {
		// Meta would refuse the other messages too. At the end of the hold one message is sent first: this one, if possible.
		template := ""
		if e.on == message.HoldTemplate {
			template = a.Message.Template
		}
		if err := s.o.Hold(context.WithoutCancel(ctx), number, template, out, e.hold); err != nil {
			s.o.Log.Error("cannot set hold", "phone_number_id", number, "code", out.Code, "err", err)
		} else if m.To == message.Queued && template != "" && a.Message.Fallback != "" {
			m.In = fallbackWait
		} else if m.To == message.Queued && !out.Unknown { // otherwise another message is sent first, because this one may be the cause
			m.In, on = 0, e.on
		}
	}
	s.metrics.attempt(number, a.Message.Class, out.Kind)
	s.traceAttempt(ctx, a, out, m, start)
	level := slog.LevelInfo
	if out.Kind != message.Accepted {
		level = slog.LevelWarn
	}
	if !s.o.Log.Enabled(ctx, level) {
		return out, m, on, nil // preparing the values of the line would cost as much as writing it
	}
	log := s.o.Log
	if a.Message.Trace != "" {
		log = log.With(tracing.ID(a.Message.Trace))
	}
	log.Log(ctx, level, "attempt", "message_id", a.ID, "phone_number_id", number, "class", a.Message.Class,
		"attempt", a.N, "route", q.Route(), "graph_version", q.Version, "outcome", out.Kind, "code", out.Code, "reason", out.Reason, "wamid", out.WAMID,
		"seconds", time.Since(start).Seconds(), "state", m.To, "next_in", m.In.Seconds(), "cause", out.Err)
	return out, m, on, nil
}

// decide returns the next state of a message after an outcome with an effect.
func (s *Sender) decide(a message.Attempt, out message.Outcome, e effect) message.Move {
	p := s.o.Policy(a.Message.From, a.Message.Class)
	m := message.Move{Code: out.Code, Reason: out.Reason, Detail: out.Detail}
	wait := max(s.o.Backoff(a.N), out.RetryAfter)
	if out.Limit == message.LimitPair {
		wait = max(wait, pairBackoff(a.N))
	}
	switch out.Kind {
	case message.Accepted:
		m.To, m.WAMID = message.Submitted, out.WAMID
	case message.Throttled:
		m.To, m.In = message.Queued, max(wait, e.pause)
	case message.Held:
		m.To, m.In = message.Queued, max(wait, e.hold)
		// An error that concerns no other message, for example a blocked flow or a proxy that refuses this body, sets no
		// hold. It counts as an error of the message, unless Meta says when it ends.
		m.Counts = e.on == "" && out.RetryAfter == 0
	case message.Transient:
		// Without a connection nothing was refused. Such attempts do not count, because an outage of the network would use
		// up the attempts of the backlog.
		m.To, m.In, m.Counts = message.Queued, wait, out.Code != 0
	case message.Refused:
		if out.Outside && a.Fallback {
			m.To, m.Reason, m.Fallback = message.Queued, message.ReasonFallback, true
			break
		}
		m.To, m.Keep = message.Rejected, true // an operator may correct the cause and send it again
		// An operator must examine these: the payload key may be wrong, or Meta may have a new error code.
		if out.Reason == message.ReasonTampered || out.Unknown {
			m.To = message.Dead
		}
	case message.ServerError:
		m.To, m.In, m.Reason, m.Counts = message.InDoubt, max(p.ErrorWindow, wait), message.ReasonServerError, e.counts
	default:
		m.To, m.In, m.Reason = message.InDoubt, p.InDoubtWindow, message.ReasonNoAnswer
	}
	if m.To == message.Queued && m.Counts && a.Failures+1 >= s.o.Attempts {
		return message.Move{To: message.Dead, Code: out.Code, Reason: message.ReasonAttempts, Detail: out.Detail, Keep: true}
	}
	return m
}

// pairBackoff is how long to wait for a recipient after the n-th attempt, as Meta demands after code 131056: 4^X
// seconds, X from 0. https://developers.facebook.com/docs/whatsapp/cloud-api/overview#pair-rate-limits
func pairBackoff(n int) time.Duration {
	const longest = 6 // 4^6 s is more than an hour
	return time.Duration(1<<(2*min(n-1, longest))) * time.Second
}

// begin retries until the store answers or ctx ends: a begin without an answer may be recorded, and only its owner
// knows that nothing was sent.
func (s *Sender) begin(ctx context.Context, id string, k int, token string, known *record.Record) (a message.Attempt, err error) {
	err = retryUntilDone(ctx, func() error {
		a, err = s.attempts.Begin(context.WithoutCancel(ctx), id, k, token, known) // a stop must not hide the answer
		known = nil
		return err
	})
	return a, err
}

// finish retries until the outcome is recorded, even after a stop signal, as long as no other worker may take the
// attempt for abandoned.
func (s *Sender) finish(ctx context.Context, a message.Attempt, m message.Move) (st message.State, duplicate bool, err error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), attemptMax, errors.New("no answer of Redis for too long"))
	defer cancel()
	err = retryUntilDone(ctx, func() error {
		st, duplicate, err = s.attempts.Finish(ctx, a, m)
		return err
	})
	return st, duplicate, err
}

// retryUntilDone calls f, with growing pauses, until it succeeds, a record cannot be read or ctx ends.
func retryUntilDone(ctx context.Context, f func() error) error {
	return retry.Pauses{First: 20 * time.Millisecond, Max: time.Second}.Do(ctx, func() error {
		err := f()
		if errors.Is(err, record.ErrFormat) {
			return retry.Permanent(err)
		}
		return err
	})
}

// Package send is the worker's use case: one attempt to hand one message to Meta, written
// down before and after, and the sweeper that takes up what was left undone.
package send

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/retry"
)

// attemptMax is how long an attempt may take from its record to its outcome. It is more than
// the longest request, so what is older has been given up by its owner.
const attemptMax = 60 * time.Second

// unconfirmedWait is when a message tries again whose intent too few replicas confirmed.
const unconfirmedWait = 2 * time.Second

// BusyWait is when a task comes up again whose message is in another attempt.
const BusyWait = 5 * time.Second

// attempts stores attempts.
type attempts interface {
	Begin(ctx context.Context, id string, k int, token string, known *record.Record) (message.Attempt, error)
	Finish(ctx context.Context, a message.Attempt, m message.Move) (message.State, bool, error)
}

// heartbeats stores which workers live.
type heartbeats interface {
	Heartbeat(ctx context.Context, pulses []message.Heartbeat) []message.Epoch
	Leave(ctx context.Context, worker string) error
}

// epochs stores in which epochs of its servers attempts may begin.
type epochs interface {
	BeginEpoch(ctx context.Context, s message.Shard, run string) error
	Replay(ctx context.Context, s message.Shard, all []message.RememberedAttempt) (message.LostWrites, error)
}

// ledger is all three. Each part of a Sender uses one of them.
type ledger interface {
	attempts
	heartbeats
	epochs
}

// poster hands a message to Meta. It keeps its own deadline and returns no Go error: what
// came of it is the outcome.
type poster interface {
	// Reserve blocks until one more attempt may begin, and returns for how long. Release
	// ends that.
	Reserve(ctx context.Context) (time.Duration, error)
	Release()
	// Send gets a connection, calls ready, and writes the request. When ready returns an error it writes
	// nothing.
	Send(ctx context.Context, number string, body []byte, ready func() error) message.Outcome
}

// paces change how fast a number goes, for all workers at once.
type paces interface {
	Throttled(ctx context.Context, number string) (cut bool, err error) // Meta called the number too fast
	Pause(ctx context.Context, number string, d time.Duration) error    // nothing is sent for d
	Probe(ctx context.Context, number string, d time.Duration) error    // one message a second, for d or until Recovered
	Recovered(ctx context.Context, number string) error                 // Meta answers again
}

// Slot is a moment at which a message may leave.
type Slot interface {
	// Ready notes that the message is ready to leave, but for a connection.
	Ready()
	// Use blocks until the request may be written and spends the slot. Its error means that
	// the slot was missed, or that ctx ended.
	Use(ctx context.Context) error
}

// NextSlot blocks until the task's number has a slot for it. Its error means that the worker
// stops. Connecting says that the last slot passed while there was no connection.
type NextSlot func(ctx context.Context, connecting bool) (Slot, error)

// Hold keeps everything of a number, or of one of its templates, back for a time; with an endless
// outcome until somebody ends it.
type Hold func(ctx context.Context, number, template string, out message.Outcome, d time.Duration) error

// Options say how messages are treated. All fields are required.
type Options struct {
	Worker           string // names this process among all others
	Policy           func(number string, c message.Class) message.Policy
	Backoff          func(n int) time.Duration             // the delay after the n-th attempt
	Attempts         int                                   // counted attempts before a message is dead
	Body             func(message.Attempt) ([]byte, error) // what is POSTed; message.ErrTampered: nothing
	Paces            paces
	Hold             Hold
	TemplateAccepted func(ctx context.Context, number, template string) // ends the automatic hold on a template that Meta takes again
	// Siblings returns the numbers that share a number's token or account, and the number itself.
	Siblings func(ctx context.Context, number string) []string
	// LostWrites hears of a shard whose server lost what had been written to it.
	LostWrites func(ctx context.Context, shard message.Shard)
	// Restored holds everything of a shard without an end: its server lost more than workers remember, or
	// nobody knows how much (depth 0). An error: it is called again, and nothing begins before.
	Restored   func(ctx context.Context, shard message.Shard, depth time.Duration) error
	Shards     message.Shards
	Parts      [][]message.Shard                 // the shards, those together that are on one server
	Wrote      func(number string, at time.Time) // hears of each request just before it is written; nil: nobody does
	Numbers    []string                          // whose series exist from the start
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

	memory   memory
	hearts   hearts
	restarts restarts
}

// New returns a sender that stores its attempts in l and sends by p.
func New(l ledger, p poster, o Options) *Sender {
	return &Sender{o: o, attempts: l, heartbeats: l, epochs: l, poster: p, metrics: newMetrics(o.Registerer, o.Numbers)}
}

// Sends is how many requests this sender made in the last minute.
func (s *Sender) Sends() int { return s.sends.count() }

// Again is when a task is to come back.
type Again struct {
	Due       bool          // false: the task is done with
	In        time.Duration // 0: at once, at the head of its queue
	Recipient bool          // Meta says that the recipient has had enough for now
	// On: when what is held now is held no more, at the head of its queue; empty: it does not wait for that.
	On       message.HoldOn
	Template string // with HoldTemplate
}

var (
	done  = Again{}
	again = func(in time.Duration) Again { return Again{Due: true, In: in} }
)

// Handle makes one attempt for the k-th task of message id, whose record was known when the task was
// fetched (nil: it is read). It blocks until the attempt is written down; what it began it finishes
// even when ctx ends meanwhile.
func (s *Sender) Handle(ctx context.Context, id string, k int, known *record.Record, next NextSlot) Again {
	token := s.o.Worker + "/" + strconv.FormatInt(s.seq.Add(1), 36)
	number, _ := message.Number(id)
	shard := s.o.Shards.Of(number)
	var a message.Attempt
	var mem *message.RememberedAttempt
	var begun time.Time
	fetched := time.Now()
	var out message.Outcome
	var m message.Move
	var on message.HoldOn
	reserved, connecting := false, false
	defer func() {
		if reserved {
			s.poster.Release()
		}
	}()
	for {
		slot, err := nextWithin(ctx, next, a, reserved, connecting)
		if err != nil && reserved && a.N == 0 && ctx.Err() == nil { // others can use its connection
			s.poster.Release()
			reserved = false
			continue
		}
		if err != nil {
			return s.takeBack(ctx, a, mem, 0)
		}
		if !reserved {
			waited, err := s.poster.Reserve(ctx)
			if err != nil {
				return s.takeBack(ctx, a, mem, 0)
			}
			if reserved, connecting = true, waited > connectMost; connecting { // the slot has passed
				continue
			}
		}
		connecting = false
		// Who stood still for long asks once more, with the same token, whether the attempt is
		// still its own. Who only missed a slot need not.
		if a.N == 0 || frozen(begun, time.Now()) {
			if frozen(fetched, time.Now()) {
				known = nil
			}
			begun = time.Now()
			latest, err := s.begin(ctx, id, k, token, known)
			known = nil
			if errors.Is(err, record.ErrFormat) { // its task would come again for ever
				s.o.Log.Error("cannot read the record of a message, the message is not sent", "message_id", id, "err", err)
				return done
			}
			if err != nil {
				s.o.Log.Error("cannot record attempt", "message_id", id, "err", err)
				return again(time.Second)
			}
			switch latest.Verdict {
			case message.Done:
				if latest.Expired != "" {
					s.metrics.expired.WithLabelValues(stages[latest.Expired]).Inc()
				}
				return done
			case message.Early:
				return again(latest.Wait)
			case message.Busy:
				return again(BusyWait)
			case message.Unconfirmed:
				return s.takeBack(ctx, latest, mem, unconfirmedWait)
			case message.Restarted:
				if err := s.restarted(ctx, shard); err != nil {
					s.o.Log.Error("cannot replay attempts after a restart of Redis", "message_id", id, "err", err)
				}
				if latest.N > 0 { // it may have been recorded all the same
					a = latest
				}
				return s.takeBack(ctx, a, mem, 0)
			}
			if a = latest; mem == nil {
				mem = s.memory.add(shard, a, k)
			}
			if a.Age > intentMax { // the store was away for long between the intent and its answer
				return s.takeBack(ctx, a, mem, 0)
			}
		}
		slot.Ready()
		ready := time.Now()
		if out, m, on, err = s.attempt(ctx, a, func() error { return leave(ctx, next, slot, begun, ready, a.Left) }); err == nil {
			break
		}
		if !errors.Is(err, errFrozen) {
			return s.takeBack(ctx, a, mem, 0)
		}
	}
	s.poster.Release() // the outcome needs no connection
	reserved = false
	s.memory.ended(mem, m)
	st, duplicate, err := s.finish(ctx, a, m)
	if err != nil {
		s.o.Log.Error("cannot record attempt outcome", "message_id", id, "attempt", a.N, "err", err)
		return again(BusyWait) // it stays in sight until the sweeper has made it a doubt
	}
	if duplicate {
		s.metrics.duplicates.Inc()
	}
	if st == message.Queued && m.To == message.Queued {
		after := again(m.In)
		after.Recipient = out.Limit == message.LimitPair
		if after.On = on; on == message.HoldTemplate {
			after.Template = a.Message.Template
		}
		return after
	}
	return done
}

// secondSlotMax is how long an intent waits for another slot when the first was missed. A
// number that rests or probes has none for long, and what waited for a minute would be taken
// for abandoned: a doubt about a request that never left.
const secondSlotMax = 2 * time.Second

// reservedMax is how long one of the connections is kept from others by a message that waits for its slot.
const reservedMax = 250 * time.Millisecond

// connectMost is how long a connection may take to come while its slot can still be used.
const connectMost = 50 * time.Millisecond

// nextWithin waits for a slot: not for long with an intent recorded or a connection reserved.
func nextWithin(ctx context.Context, next NextSlot, a message.Attempt, reserved, connecting bool) (Slot, error) {
	most := reservedMax
	if a.N > 0 {
		most = secondSlotMax
	}
	if a.N > 0 || reserved {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, most)
		defer cancel()
	}
	return next(ctx, connecting)
}

var (
	errFrozen  = errors.New("the intent is too old for its request")
	errOverdue = errors.New("the deadline has passed")
)

// leave blocks until a request that has its connection may be written. When the connection was slow to
// come the slot has passed, and another one is waited for. Its error means that the request must not
// be written.
func leave(ctx context.Context, next NextSlot, slot Slot, begun, ready time.Time, left time.Duration) error {
	connecting := time.Since(ready) > connectMost
	again, cancel := context.WithTimeout(ctx, secondSlotMax)
	defer cancel()
	for slot.Use(ctx) != nil {
		if frozen(begun, time.Now()) {
			return errFrozen
		}
		var err error
		if slot, err = next(again, connecting); err != nil {
			return err
		}
		connecting = false
	}
	if frozen(begun, time.Now()) {
		return errFrozen
	}
	if time.Since(begun) >= left {
		return errOverdue
	}
	return nil
}

// freezeMax is how old an intent may be when its request leaves. A process that stood still for
// longer, or a machine that slept, must learn first whether the attempt is still its own: it
// may have been taken for dead.
const freezeMax = 5 * time.Second

// intentMax is how old a recorded intent may be when its request leaves: after attemptMax it is taken
// for abandoned, and the request itself takes its time.
const intentMax = attemptMax / 2

// frozen compares both clocks: the monotonic one stops while a machine sleeps, and the wall
// clock may be set back.
func frozen(begun, now time.Time) bool {
	return now.Sub(begun) > freezeMax || now.Round(0).Sub(begun.Round(0)) > freezeMax
}

// takeBack takes back the intent, if one was recorded, of an attempt whose request never left.
func (s *Sender) takeBack(ctx context.Context, a message.Attempt, mem *message.RememberedAttempt, wait time.Duration) Again {
	if a.N > 0 {
		m := message.Move{To: message.Queued, In: wait}
		if mem != nil {
			s.memory.ended(mem, m)
		}
		if _, _, err := s.finish(ctx, a, m); err != nil {
			s.o.Log.Error("cannot withdraw attempt that was not sent", "message_id", a.ID, "attempt", a.N, "err", err)
		}
	}
	return again(wait)
}

// attempt sends when ready allows it, and decides what follows from the outcome. It returns what was
// held, so that the message waits for the end of that. Its error is ready's: nothing was sent.
func (s *Sender) attempt(ctx context.Context, a message.Attempt, ready func() error) (out message.Outcome, m message.Move, on message.HoldOn, err error) {
	start := time.Now()
	var refused error
	number := a.Message.From
	var e effect
	body, err := s.o.Body(a)
	switch {
	case errors.Is(err, message.ErrTampered):
		s.metrics.tampered.Inc()
		out = message.Outcome{Kind: message.Refused, Reason: message.ReasonTampered, Err: err}
	case err != nil:
		out = message.Outcome{Kind: message.Refused, Reason: "payload_unreadable", Err: err}
	default:
		s.metrics.inflight.WithLabelValues(number).Inc()
		out = s.poster.Send(context.WithoutCancel(ctx), number, body, func() error {
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
		e = s.pace(context.WithoutCancel(ctx), a, out)
	}
	m = s.decide(a, out, e)
	if e.on != "" {
		// The rest of the backlog would be refused just the same. When the time is over some
		// message tries again: this one first, where it can.
		template := ""
		if e.on == message.HoldTemplate {
			template = a.Message.Template
		}
		if err := s.o.Hold(context.WithoutCancel(ctx), number, template, out, e.hold); err != nil {
			s.o.Log.Error("cannot set hold", "phone_number_id", number, "code", out.Code, "err", err)
		} else if m.To == message.Queued {
			m.In, on = 0, e.on
		}
	}
	s.metrics.attempts.WithLabelValues(number, string(a.Message.Class), string(out.Kind)).Inc()
	level := slog.LevelInfo
	if out.Kind != message.Accepted {
		level = slog.LevelWarn
	}
	if !s.o.Log.Enabled(ctx, level) {
		return out, m, on, nil // the values of the line would cost as much as the line
	}
	s.o.Log.Log(ctx, level, "attempt", "message_id", a.ID, "phone_number_id", number, "class", a.Message.Class,
		"attempt", a.N, "outcome", out.Kind, "code", out.Code, "reason", out.Reason, "wamid", out.WAMID,
		"seconds", time.Since(start).Seconds(), "state", m.To, "next_in", m.In.Seconds(), "err", out.Err)
	return out, m, on, nil
}

// decide says where a message goes after an outcome with an effect.
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
		// What concerns no other message, a flow that is blocked for example, holds nothing: it is the
		// message's own, and not for ever unless Meta says when it passes.
		m.Counts = e.on == "" && out.RetryAfter == 0
	case message.Transient:
		// Where no connection was had nobody refused anything: such attempts are not counted, or
		// an outage of the network would burn the backlog.
		m.To, m.In, m.Counts = message.Queued, wait, out.Code != 0
	case message.Refused:
		m.To, m.Keep = message.Rejected, true // what it was refused for may be mended: an operator can have it sent again
		// A person looks into these: it may be the key that is wrong, or something at Meta that nobody
		// knows yet.
		if out.Reason == message.ReasonTampered || out.Unknown {
			m.To = message.Dead
		}
	case message.ServerError:
		m.To, m.In, m.Reason, m.Counts = message.InDoubt, max(p.ErrorWindow, wait), message.ReasonServerError, e.counts
	default:
		m.To, m.In, m.Reason = message.InDoubt, p.DoubtWindow, message.ReasonNoAnswer
	}
	if m.To == message.Queued && m.Counts && a.Failures+1 >= s.o.Attempts {
		return message.Move{To: message.Dead, Code: out.Code, Reason: message.ReasonAttempts, Detail: out.Detail, Keep: true}
	}
	return m
}

// pairBackoff is how long to let a recipient rest after the n-th attempt, as Meta asks after
// code 131056: 4^X seconds, X from 0. https://developers.facebook.com/docs/whatsapp/cloud-api/overview#pair-rate-limits
func pairBackoff(n int) time.Duration {
	const longest = 6 // 4^6 s is more than an hour
	return time.Duration(1<<(2*min(n-1, longest))) * time.Second
}

// begin repeats until the ledger answers or ctx ends: an unanswered begin may have been
// recorded, and only its owner can tell that nothing was sent.
func (s *Sender) begin(ctx context.Context, id string, k int, token string, known *record.Record) (a message.Attempt, err error) {
	err = persist(ctx, func() error {
		a, err = s.attempts.Begin(context.WithoutCancel(ctx), id, k, token, known) // a stop must not hide the answer
		known = nil
		return err
	})
	return a, err
}

// finish repeats until the outcome is recorded, past a stop signal, for as long as nobody
// else may take the attempt for abandoned.
func (s *Sender) finish(ctx context.Context, a message.Attempt, m message.Move) (st message.State, duplicate bool, err error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), attemptMax, errors.New("the store was away too long"))
	defer cancel()
	err = persist(ctx, func() error {
		st, duplicate, err = s.attempts.Finish(ctx, a, m)
		return err
	})
	return st, duplicate, err
}

// persist calls f, with growing pauses, until it succeeds, a record cannot be read or ctx ends.
func persist(ctx context.Context, f func() error) error {
	return retry.Pauses{First: 20 * time.Millisecond, Max: time.Second}.Do(ctx, func() error {
		err := f()
		if errors.Is(err, record.ErrFormat) {
			return retry.Permanent(err)
		}
		return err
	})
}

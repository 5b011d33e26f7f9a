package send

import (
	"context"
	"errors"
	"strconv"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/tracing"
)

// Handle makes one attempt for the k-th task of message id. Known is the record that was read when the task was
// fetched; nil: Handle reads it. It blocks until the outcome is recorded. It completes an attempt that it began even if
// ctx ends.
func (s *Sender) Handle(ctx context.Context, id string, k int, known *record.Record, next NextSlot) Retry {
	number, _ := message.Number(id)
	token := s.o.Worker + "/" + strconv.FormatInt(s.seq.Add(1), 36)
	t := turn{s: s, id: id, k: k, shard: s.o.Shards.Of(number), token: token, known: known, fetched: time.Now(), next: next}
	defer t.release()
	var out message.Outcome
	var m message.Move
	var on message.HoldOn
	var span tracing.Span
	for {
		slot, err := t.slot(ctx)
		if err != nil {
			return t.withdraw(ctx, 0)
		}
		if again, ok := t.begin(ctx); !ok {
			return again
		}
		slot.Ready()
		ready, begun, left := time.Now(), t.begun, t.attempt.Left
		var traced context.Context
		traced, span = s.o.Tracer.Continue(ctx, t.attempt.Message.Trace, "attempt", tracing.Consumer, t.fetched)
		out, m, on, err = s.attempt(traced, t.attempt, slot.Probing(), func() error { return leave(ctx, next, slot, begun, ready, left) })
		if err == nil {
			break
		}
		if errors.Is(err, message.ErrOptedOut) || errors.Is(err, message.ErrOutsideWindow) {
			return t.withdraw(ctx, refetchWait)
		}
		if !errors.Is(err, errFrozen) {
			return t.withdraw(ctx, 0)
		}
	}
	if out.Kind == message.Accepted {
		t.accepted()
	}
	t.release() // the outcome needs no connection
	s.memory.ended(t.mem, m)
	defer span.End()
	return t.finish(ctx, out, m, on)
}

// turn is what Handle knows of the one task that it handles.
type turn struct {
	s       *Sender
	id      string
	k       int
	shard   message.Shard
	token   string
	known   *record.Record
	fetched time.Time
	next    NextSlot

	reserved   bool // it has a connection
	connecting bool // the last slot was missed because no connection was free

	attempt message.Attempt // N is 0 before the intent is recorded
	mem     *message.RememberedAttempt
	begun   time.Time // when Begin was last called
}

// release returns the connection, if the turn has one.
func (t *turn) release() {
	if t.reserved {
		t.s.poster.Release()
		t.reserved = false
	}
}

// slot blocks until the task has a slot and a connection. Its error means that the worker stops, or that a recorded
// intent got no slot in time.
func (t *turn) slot(ctx context.Context) (Slot, error) {
	for {
		slot, err := nextWithin(ctx, t.next, t.attempt, t.reserved, t.connecting)
		if err != nil && t.reserved && t.attempt.N == 0 && ctx.Err() == nil { // other messages can use its connection
			t.release()
			continue
		}
		if err != nil {
			return nil, err
		}
		if !t.reserved {
			waited, err := t.s.poster.Reserve(ctx)
			if err != nil {
				return nil, err
			}
			if t.reserved, t.connecting = true, waited > connectMost; t.connecting { // the slot has passed
				continue
			}
		}
		t.connecting = false
		return slot, nil
	}
}

// begin records the intent, and returns true if the request may be sent. Otherwise it returns what becomes of the task.
// After a long pause of the process it checks with the same token whether the attempt still belongs to this worker.
// After a missed slot this is not necessary.
func (t *turn) begin(ctx context.Context) (again Retry, ok bool) {
	if t.attempt.N > 0 && !frozen(t.begun, time.Now()) {
		return Retry{}, true
	}
	if frozen(t.fetched, time.Now()) {
		t.known = nil
	}
	t.begun = time.Now()
	latest, err := t.s.begin(ctx, t.id, t.k, t.token, t.known)
	t.known = nil
	if errors.Is(err, record.ErrFormat) { // its task would be retried without end
		t.s.o.Log.Error("cannot read the record of a message, the message is not sent", "message_id", t.id, "err", err)
		return finished, false
	}
	if err != nil {
		t.s.o.Log.Error("cannot record attempt", "message_id", t.id, "err", err)
		return retryIn(time.Second), false
	}
	switch latest.Verdict {
	case message.Done:
		if latest.Expired != "" {
			t.s.metrics.expired.WithLabelValues(stages[latest.Expired], string(latest.Message.Class)).Inc()
		}
		return finished, false
	case message.Early:
		return retryIn(latest.Wait), false
	case message.Busy:
		return retryIn(BusyWait), false
	case message.Unconfirmed:
		t.attempt = latest
		return t.withdraw(ctx, unconfirmedWait), false
	case message.Restarted:
		if err := t.s.restarted(ctx, t.shard); err != nil {
			t.s.o.Log.Error("cannot replay attempts after a restart of Redis", "message_id", t.id, "err", err)
		}
		if latest.N > 0 { // it may be recorded nevertheless
			t.attempt = latest
		}
		return t.withdraw(ctx, 0), false
	}
	if t.attempt = latest; t.mem == nil {
		t.mem = t.s.memory.add(t.shard, latest, t.k)
	}
	if latest.Age > intentMax { // Redis did not answer for long between the intent and its answer
		return t.withdraw(ctx, 0), false
	}
	return Retry{}, true
}

// finish records the outcome of the attempt, and returns what becomes of the task.
func (t *turn) finish(ctx context.Context, out message.Outcome, m message.Move, on message.HoldOn) Retry {
	st, duplicate, err := t.s.finish(ctx, t.attempt, m)
	if err != nil {
		t.s.o.Log.Error("cannot record attempt outcome", "message_id", t.id, tracing.ID(t.attempt.Message.Trace), "attempt", t.attempt.N, "err", err)
		return retryIn(BusyWait) // the task is retried until the sweeper has marked the message as in doubt
	}
	if duplicate {
		t.s.metrics.duplicates.Inc()
	}
	if st != message.Queued || m.To != message.Queued {
		return finished
	}
	after := retryIn(m.In)
	after.Recipient = out.Limit == message.LimitPair
	if after.On = on; on == message.HoldTemplate {
		after.Template = t.attempt.Message.Template
	}
	return after
}

// secondSlotMax is how long an intent waits for another slot when the first was missed. A paused or probing number
// has none for long. After a minute the attempt would be taken for abandoned: an in-doubt message whose request was
// never sent.
const secondSlotMax = 2 * time.Second

// reservedMax is how long a message that waits for its slot may keep a connection from others.
const reservedMax = 250 * time.Millisecond

// connectMost is how long a connection may take if its slot must still be usable.
const connectMost = 50 * time.Millisecond

// nextWithin waits for a slot: only for a short time if an intent is recorded or a connection reserved.
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

// leave blocks until a request that has its connection may be written. If the connection took long, the slot has
// passed, and leave waits for another one. Its error means that the request must not be written.
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

// freezeMax is how old an intent may be when its request is written. After a longer pause of the process or the
// machine, the worker must first check whether the attempt still belongs to it: another worker may have taken it for dead.
const freezeMax = 5 * time.Second

// intentMax is how old a recorded intent may be when its request is written: after attemptMax it is taken for
// abandoned, and the request itself takes time too.
const intentMax = attemptMax / 2

// frozen compares both clocks: the monotonic clock stops while a machine is suspended, and the wall clock may be set
// back.
func frozen(begun, now time.Time) bool {
	return now.Sub(begun) > freezeMax || now.Round(0).Sub(begun.Round(0)) > freezeMax
}

// withdraw withdraws the intent, if one was recorded, of an attempt whose request was never sent.
func (t *turn) withdraw(ctx context.Context, wait time.Duration) Retry {
	if a := t.attempt; a.N > 0 {
		m := message.Move{To: message.Queued, In: wait}
		if t.mem != nil {
			t.s.memory.ended(t.mem, m)
		}
		if _, _, err := t.s.finish(ctx, a, m); err != nil {
			t.s.o.Log.Error("cannot withdraw attempt that was not sent", "message_id", a.ID, tracing.ID(a.Message.Trace), "attempt", a.N, "err", err)
		}
	}
	return retryIn(wait)
}

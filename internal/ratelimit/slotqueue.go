package ratelimit

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Book books n further slots of a number and returns those it got, which may be fewer.
type Book func(ctx context.Context, n int) ([]time.Time, error)

// SlotQueue hands the booked slots of one number to the messages that wait for one, the most urgent first. A
// slot for which no message waits is kept until it is too late to use it, and then lost. No slot is used
// twice.
type SlotQueue struct {
	book    Book
	offered chan []time.Time
	arrived chan *waiter
	done    chan struct{} // closed when Run has ended

	mu      sync.Mutex
	sent    []time.Time // the last rate sends, a circle
	i       int
	prep    time.Duration // from getting a slot to being ready for it, as learned
	probing bool          // see Slot
}

// NewSlotQueue returns the queue of a number that may send rate messages a second. It hands out
// nothing until Run is called.
func NewSlotQueue(rate int, book Book) *SlotQueue {
	return &SlotQueue{
		book: book, sent: make([]time.Time, rate), done: make(chan struct{}),
		offered: make(chan []time.Time), arrived: make(chan *waiter),
	}
}

// Prep returns how long messages take from getting their slot to being ready to leave. Most of it is a
// round trip to Redis, in which the attempt is written down.
func (q *SlotQueue) Prep() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.prep
}

// Expect sets how long that may take, before the first message.
func (q *SlotQueue) Expect(prep time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.prep = min(prep, maxPrep)
}

// prepared learns from one message: at once that it takes longer, slowly that it takes less.
func (q *SlotQueue) prepared(took time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	share := 16
	if took > q.prep {
		share = 4
	}
	q.prep += (min(took, maxPrep) - q.prep) / time.Duration(share)
}

// SetRate changes the rate. What was sent before is remembered.
func (q *SlotQueue) SetRate(rate int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if rate == len(q.sent) {
		return
	}
	last := append(slices.Clone(q.sent[q.i:]), q.sent[:q.i]...) // the oldest first
	q.sent, q.i = make([]time.Time, rate), 0
	copy(q.sent[max(0, rate-len(last)):], last[max(0, len(last)-rate):])
}

// spaced notes the time between the slots of the last booking.
func (q *SlotQueue) spaced(spacing time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.probing = spacing >= time.Second && len(q.sent) > 1
}

// ErrClosed is the error of Wait when the queue has ended.
var ErrClosed = errors.New("ratelimit: slot queue closed")

// ErrLate means that a slot can no longer be used. Wait for another one.
var ErrLate = errors.New("ratelimit: slot missed")

// Offer gives the queue slots that were booked, in order.
func (q *SlotQueue) Offer(slots []time.Time) {
	select {
	case q.offered <- slots:
	case <-q.done:
	}
}

// Slot is a moment at which one message may leave.
type Slot struct {
	At       time.Time
	queue    *SlotQueue
	assigned time.Time
	probing  bool
}

type waiter struct {
	due  time.Time // a message goes before those with a later one: the time it came, and ClassLead for each more urgent class
	seq  int
	slot chan time.Time // buffered; closed when the queue has ended
	gone <-chan struct{}
}

// Wait blocks until a slot is about to come for a message of the given order (0 is the most
// urgent).
func (q *SlotQueue) Wait(ctx context.Context, order int) (Slot, error) {
	return q.WaitSince(ctx, order, time.Now())
}

// WaitSince is Wait for a message that came at a certain time, and goes before those that came later.
func (q *SlotQueue) WaitSince(ctx context.Context, order int, came time.Time) (Slot, error) {
	w := &waiter{
		due: came.Add(time.Duration(order) * ClassLead), slot: make(chan time.Time, 1), gone: ctx.Done(),
	}
	select {
	case q.arrived <- w:
	case <-q.done:
		return Slot{}, ErrClosed
	case <-ctx.Done():
		return Slot{}, context.Cause(ctx)
	}
	select {
	case at, ok := <-w.slot:
		if !ok {
			return Slot{}, ErrClosed
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		return Slot{at, q, time.Now(), q.probing}, nil
	case <-ctx.Done():
		return Slot{}, context.Cause(ctx)
	}
}

// Probing reports whether the number sent one message a second when the slot was assigned, although it may
// send more: its rate controller probes whether Meta answers.
func (s Slot) Probing() bool { return s.probing }

// Ready notes that its message is ready to leave, but for a connection: slots are assigned early enough
// for that.
func (s Slot) Ready() { s.queue.prepared(time.Since(s.assigned)) }

// Use blocks until the slot has come and its request may be written, by what was really sent
// before, and notes it as sent now. It is ErrLate when the slot is missed by more than Cap, or would be.
func (s Slot) Use(ctx context.Context) error {
	for {
		wait, err := s.queue.use(s.At)
		if err != nil || wait <= 0 {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (q *SlotQueue) use(at time.Time) (time.Duration, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	wait := max(0, at.Sub(now), q.sent[q.i].Add(time.Second+guard).Sub(now))
	if now.Add(wait).Sub(at) > Cap {
		return 0, ErrLate
	}
	if wait > 0 {
		return wait, nil
	}
	q.sent[q.i] = now
	q.i = (q.i + 1) % len(q.sent)
	return 0, nil
}

// Run hands out slots until ctx ends.
func (q *SlotQueue) Run(ctx context.Context) {
	var (
		slots   []time.Time
		waiting waiters
		seq     int
		timer   = time.NewTimer(time.Hour)
	)
	defer timer.Stop()
	defer func() {
		close(q.done)
		for _, w := range waiting {
			close(w.slot)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-q.offered:
			// Slots that were booked earlier may be offered later.
			slots = append(slots, s...)
			slices.SortFunc(slots, time.Time.Compare)
		case w := <-q.arrived:
			seq++
			w.seq = seq
			heap.Push(&waiting, w)
		case <-timer.C:
		}
		early := max(Early, q.Prep())
		slots = assign(time.Now(), early, slots, &waiting)
		if len(slots) == 0 && len(waiting) > 0 {
			// Their slots passed: the messages came late, or other messages took the slots.
			again, err := q.book(ctx, len(waiting))
			if err != nil || len(again) == 0 {
				timer.Reset(Horizon / 4)
				continue
			}
			slots = again
		}
		if len(slots) > 0 && len(waiting) > 0 {
			timer.Reset(time.Until(slots[0]) - early)
		}
	}
}

// assign gives the slots that are about to come to the waiting messages and returns the slots left over.
func assign(now time.Time, early time.Duration, slots []time.Time, waiting *waiters) []time.Time {
	for len(slots) > 0 {
		switch {
		case now.Sub(slots[0]) > Cap:
			slots = slots[1:]
			continue
		case slots[0].Sub(now) > early || waiting.Len() == 0:
			return slots
		}
		w := heap.Pop(waiting).(*waiter)
		select {
		case <-w.gone:
		default:
			w.slot <- slots[0]
			slots = slots[1:]
		}
	}
	return nil
}

// waiters is a heap, by due.
type waiters []*waiter

func (w waiters) Len() int { return len(w) }
func (w waiters) Less(i, j int) bool {
	return w[i].due.Before(w[j].due) || w[i].due.Equal(w[j].due) && w[i].seq < w[j].seq
}
func (w waiters) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
func (w *waiters) Push(x any)   { *w = append(*w, x.(*waiter)) }
func (w *waiters) Pop() any {
	old := *w
	last := old[len(old)-1]
	*w = old[:len(old)-1]
	return last
}

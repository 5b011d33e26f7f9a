package pacing

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

// Line hands one number's booked slots to those who wait for one, the most urgent first. A
// slot for which nobody waits is kept until it is too late to use, then lost; it is never
// used twice.
type Line struct {
	book    Book
	offered chan []time.Time
	arrived chan *waiter
	done    chan struct{} // closed when Run has ended

	mu   sync.Mutex
	sent []time.Time // the last rate sends, a circle
	i    int
	prep time.Duration // from being told of a slot to being ready for it, as learned
}

// Prep is how long messages take from being told of their slot to being ready to leave: above
// all a round trip to Redis, in which the attempt is written down.
func (l *Line) Prep() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.prep
}

// Expect says how long that may take, before the first message.
func (l *Line) Expect(prep time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prep = min(prep, mostPrep)
}

// prepared learns from one message: at once that it takes longer, slowly that it takes less.
func (l *Line) prepared(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	share := 16
	if took > l.prep {
		share = 4
	}
	l.prep += (min(took, mostPrep) - l.prep) / time.Duration(share)
}

// SetRate changes the rate. What was sent before is remembered.
func (l *Line) SetRate(rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if rate == len(l.sent) {
		return
	}
	last := append(slices.Clone(l.sent[l.i:]), l.sent[:l.i]...) // the oldest first
	l.sent, l.i = make([]time.Time, rate), 0
	copy(l.sent[max(0, rate-len(last)):], last[max(0, len(last)-rate):])
}

// NewLine returns the line of a number that may send rate messages a second. It hands out
// nothing until Run is called.
func NewLine(rate int, book Book) *Line {
	return &Line{
		book: book, sent: make([]time.Time, rate), done: make(chan struct{}),
		offered: make(chan []time.Time), arrived: make(chan *waiter),
	}
}

// ErrClosed is what waiters get when the line has ended.
var ErrClosed = errors.New("pacing: line closed")

// ErrLate means that a slot can no longer be used; wait for another.
var ErrLate = errors.New("pacing: slot missed")

// Offer gives the line slots that were booked, in order.
func (l *Line) Offer(slots []time.Time) {
	select {
	case l.offered <- slots:
	case <-l.done:
	}
}

// Slot is a moment at which one message may leave.
type Slot struct {
	At   time.Time
	line *Line
	told time.Time
}

type waiter struct {
	due  time.Time // before whom it goes: the time it came, and Patience for each class above
	seq  int
	slot chan time.Time // buffered; closed when the line ended
	gone <-chan struct{}
}

// Wait blocks until a slot is about to come for a message of the given order (0 is the most
// urgent).
func (l *Line) Wait(ctx context.Context, order int) (Slot, error) {
	return l.WaitSince(ctx, order, time.Now())
}

// WaitSince is Wait for a message that came at a certain time, and goes before those that came later.
func (l *Line) WaitSince(ctx context.Context, order int, came time.Time) (Slot, error) {
	w := &waiter{
		due: came.Add(time.Duration(order) * Patience), slot: make(chan time.Time, 1), gone: ctx.Done(),
	}
	select {
	case l.arrived <- w:
	case <-l.done:
		return Slot{}, ErrClosed
	case <-ctx.Done():
		return Slot{}, context.Cause(ctx)
	}
	select {
	case at, ok := <-w.slot:
		if !ok {
			return Slot{}, ErrClosed
		}
		return Slot{at, l, time.Now()}, nil
	case <-ctx.Done():
		return Slot{}, context.Cause(ctx)
	}
}

// Ready notes that its message is ready to leave, but for a connection: slots are told early enough
// for that.
func (s Slot) Ready() { s.line.prepared(time.Since(s.told)) }

// Use blocks until the slot has come and its request may be written, by what was really sent
// before, and notes it as sent now. It is ErrLate when the slot is missed by more than Cap, or would be.
func (s Slot) Use(ctx context.Context) error {
	for {
		wait, err := s.line.use(s.At)
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

func (l *Line) use(at time.Time) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	wait := max(0, at.Sub(now), l.sent[l.i].Add(time.Second+guard).Sub(now))
	if now.Add(wait).Sub(at) > Cap {
		return 0, ErrLate
	}
	if wait > 0 {
		return wait, nil
	}
	l.sent[l.i] = now
	l.i = (l.i + 1) % len(l.sent)
	return 0, nil
}

// Run hands out slots until ctx ends.
func (l *Line) Run(ctx context.Context) {
	var (
		slots   []time.Time
		waiting waiters
		seq     int
		timer   = time.NewTimer(time.Hour)
	)
	defer timer.Stop()
	defer func() {
		close(l.done)
		for _, w := range waiting {
			close(w.slot)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-l.offered:
			// Slots that were booked earlier may be told later.
			slots = append(slots, s...)
			slices.SortFunc(slots, time.Time.Compare)
		case w := <-l.arrived:
			seq++
			w.seq = seq
			heap.Push(&waiting, w)
		case <-timer.C:
		}
		early := max(Early, l.Prep())
		slots = hand(time.Now(), early, slots, &waiting)
		if len(slots) == 0 && len(waiting) > 0 {
			// Theirs lapsed: they were slow to come, or another message took it.
			again, err := l.book(ctx, len(waiting))
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

// hand gives the slots that are about to come to those who wait and returns the slots left over.
func hand(now time.Time, early time.Duration, slots []time.Time, waiting *waiters) []time.Time {
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

package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sluice/internal/ratelimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

// noBook is for lines that must not book.
func noBook(t *testing.T) ratelimit.Book {
	return func(_ context.Context, n int) ([]time.Time, error) {
		t.Errorf("booked %d slots, want none", n)
		return nil, nil
	}
}

// timeline is a Book as the script in Redis is one.
type timeline struct {
	mu   sync.Mutex
	T    time.Duration
	next time.Time
}

func (l *timeline) book(_ context.Context, n int) ([]time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if first := now.Add(ratelimit.Lead); l.next.Before(first) {
		l.next = first
	}
	var slots []time.Time
	for len(slots) < n && !l.next.After(now.Add(ratelimit.Horizon)) {
		slots = append(slots, l.next)
		l.next = l.next.Add(l.T)
	}
	return slots, nil
}

// run starts a queue and returns what ends it.
func run(t *testing.T, l *ratelimit.SlotQueue) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}

func TestSlotsGoToTheMostUrgentThenTheFirstToCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewSlotQueue(80, noBook(t))
		defer run(t, l)()
		start := time.Now()
		var slots []time.Time
		for i := range 5 {
			slots = append(slots, start.Add(ratelimit.Early+time.Duration(i+1)*10*ms))
		}
		l.Offer(slots)

		got := make(chan string, 5)
		for i, order := range []int{3, 1, 3, 0, 1} {
			go func() {
				s, err := l.Wait(t.Context(), order)
				if err != nil {
					t.Error(err)
				}
				got <- fmt.Sprintf("waiter %d of order %d at %v, slot of %v", i, order, time.Since(start), s.At.Sub(start))
			}()
			synctest.Wait() // it stands in the queue
		}
		for _, want := range []string{
			"waiter 3 of order 0 at 10ms, slot of 20ms",
			"waiter 1 of order 1 at 20ms, slot of 30ms",
			"waiter 4 of order 1 at 30ms, slot of 40ms",
			"waiter 0 of order 3 at 40ms, slot of 50ms",
			"waiter 2 of order 3 at 50ms, slot of 60ms",
		} {
			if g := <-got; g != want {
				t.Errorf("got %s, want %s", g, want)
			}
		}
	})
}

// An urgent message overtakes what is in hand, but none is overtaken for ever.
func TestUrgentMessagesOvertakeForALimitedTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		late  time.Duration // of the urgent one
		first int           // who gets the slot
	}{{0, 0}, {3*ratelimit.ClassLead - 1, 0}, {3*ratelimit.ClassLead + 1, 3}} {
		synctest.Test(t, func(t *testing.T) {
			l := ratelimit.NewSlotQueue(80, noBook(t))
			defer run(t, l)()
			at := time.Now().Add(time.Second)
			l.Offer([]time.Time{at, at.Add(10 * ms)})
			got := make(chan int, 2)
			wait := func(order int) {
				if _, err := l.Wait(t.Context(), order); err != nil {
					t.Error(err)
				}
				got <- order
			}
			go wait(3)
			time.Sleep(c.late)
			go wait(0)
			if first := <-got; first != c.first {
				t.Errorf("marketing waits, authentication comes %v later: order %d goes first", c.late, first)
			}
			<-got
		})
	}
}

// Urgent messages for every slot, twice over: those of the other classes leave all the same.
func TestAFloodInHandStarvesNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rate = 80
		tl := &timeline{T: spacing(rate)}
		l := ratelimit.NewSlotQueue(rate, tl.book)
		end := run(t, l)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var left [4]int
		var mu sync.Mutex
		var wg sync.WaitGroup
		worker := func(order int) {
			for {
				s, err := l.Wait(ctx, order)
				if err != nil {
					return
				}
				if s.Use(ctx) == nil {
					mu.Lock()
					left[order]++
					mu.Unlock()
				}
			}
		}
		for range 2 * rate {
			wg.Go(func() { worker(0) })
		}
		for order := 1; order < 4; order++ {
			for range 4 {
				wg.Go(func() { worker(order) })
			}
		}
		wg.Wait()
		end()
		for order, n := range left {
			if n == 0 || order > 0 && n > left[0] {
				t.Errorf("by order %v messages left", left)
			}
		}
	})
}

// What was sent before a change of the rate counts after it.
func TestSetRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := ratelimit.NewSlotQueue(3, noBook(t))
		defer run(t, l)()
		use := func(at time.Duration) (time.Duration, error) {
			l.Offer([]time.Time{start.Add(at)})
			s, err := l.Wait(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Use(t.Context())
			return time.Since(start), err
		}
		for _, c := range []struct {
			rate     int // set before
			at, want time.Duration
			err      error
		}{
			{3, 0, 0, nil},
			{3, 300 * ms, 300 * ms, nil},
			{3, 600 * ms, 600 * ms, nil},
			{2, 950 * ms, 950 * ms, ratelimit.ErrLate}, // 300 and 600 ms are still in this second
			{2, 1250 * ms, 1300*ms + ratelimit.Guard, nil},
			{4, 1310 * ms, 1310 * ms, nil},
			{4, 1320 * ms, 1320 * ms, nil},
			{4, 1550 * ms, 1600*ms + ratelimit.Guard, nil},   // by the one of 600 ms
			{1, 2600 * ms, 2600*ms + 2*ratelimit.Guard, nil}, // by the one before
		} {
			l.SetRate(c.rate)
			got, err := use(c.at)
			if c.err != nil {
				// It came when it was told, before its slot.
				if err != c.err {
					t.Errorf("rate %d, slot of %v: %v, want %v", c.rate, c.at, err, c.err)
				}
				continue
			}
			if err != nil || got != c.want {
				t.Errorf("rate %d, slot of %v: used at %v (%v), want %v", c.rate, c.at, got, err, c.want)
			}
		}
	})
}

func TestALateWaiterGetsAKeptSlotUntilItLapses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		late      time.Duration
		wantLapse bool
	}{{0, false}, {ratelimit.Cap, false}, {ratelimit.Cap + 1, true}} {
		t.Run(c.late.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				booked := 0
				fresh := time.Now().Add(c.late + ratelimit.Early + 7*ms)
				l := ratelimit.NewSlotQueue(80, func(_ context.Context, n int) ([]time.Time, error) {
					booked += n
					return []time.Time{fresh}, nil
				})
				end := run(t, l)
				at := time.Now()
				l.Offer([]time.Time{at})
				time.Sleep(c.late)
				s, err := l.Wait(t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				end()
				switch {
				case !c.wantLapse && (!s.At.Equal(at) || booked != 0):
					t.Errorf("slot of %v, %d booked; want the kept one", s.At.Sub(at), booked)
				case c.wantLapse && (!s.At.Equal(fresh) || booked != 1 || time.Until(fresh) != ratelimit.Early):
					t.Errorf("slot of %v at %v, %d booked; want one booked again", s.At.Sub(at), time.Since(at), booked)
				}
			})
		})
	}
}

func TestSlotsOfferedOutOfOrderAreHandedOutInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewSlotQueue(80, noBook(t))
		defer run(t, l)()
		start := time.Now()
		l.Offer([]time.Time{start.Add(60 * ms), start.Add(70 * ms)})
		l.Offer([]time.Time{start.Add(10 * ms)}) // booked before, told later
		for _, want := range []time.Duration{10*ms - ratelimit.Early, 60*ms - ratelimit.Early, 70*ms - ratelimit.Early} {
			if _, err := l.Wait(t.Context(), 0); err != nil || time.Since(start) != want {
				t.Errorf("a slot after %v (%v), want %v", time.Since(start), err, want)
			}
		}
	})
}

func TestBookingThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, calls := time.Now(), 0
		l := ratelimit.NewSlotQueue(80, func(context.Context, int) ([]time.Time, error) {
			switch calls++; calls {
			case 1:
				return nil, errors.New("no Redis")
			case 2:
				return nil, nil // the horizon is full
			}
			return []time.Time{time.Now().Add(ratelimit.Lead)}, nil
		})
		defer run(t, l)()
		if _, err := l.Wait(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if got, want := time.Since(start), 2*ratelimit.Horizon/4; got != want || calls != 3 {
			t.Errorf("a slot after %v and %d bookings, want %v and 3", got, calls, want)
		}
	})
}

func TestWaitersWhoLeftTakeNoSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewSlotQueue(80, noBook(t))
		defer run(t, l)()
		start := time.Now()
		l.Offer([]time.Time{start.Add(50 * ms)})
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("no longer needed")
		left := make(chan error)
		go func() {
			_, err := l.Wait(ctx, 0)
			left <- err
		}()
		synctest.Wait()
		cancel(why)
		if err := <-left; err != why {
			t.Errorf("the wait ended by %v, want the context's cause", err)
		}
		if s, err := l.Wait(t.Context(), 3); err != nil || s.At.Sub(start) != 50*ms {
			t.Errorf("slot of %v (%v), want the one of 50ms", s.At.Sub(start), err)
		}
	})
}

func TestTheEndOfTheQueueFreesAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewSlotQueue(80, noBook(t))
		end := run(t, l)
		l.Offer([]time.Time{time.Now().Add(time.Hour)})
		got := make(chan error, 3)
		for i := range 3 {
			go func() {
				_, err := l.Wait(t.Context(), i)
				got <- err
			}()
		}
		synctest.Wait()
		end()
		for range 3 {
			if err := <-got; err != ratelimit.ErrClosed {
				t.Errorf("a waiter got %v, want ErrClosed", err)
			}
		}
		if _, err := l.Wait(t.Context(), 0); err != ratelimit.ErrClosed {
			t.Errorf("a late comer got %v, want ErrClosed", err)
		}
		l.Offer([]time.Time{time.Now()}) // does not block
	})
}

func TestUseWaitsForTheSecondToPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := ratelimit.NewSlotQueue(2, noBook(t))
		defer run(t, l)()
		l.Offer([]time.Time{start, start.Add(500 * ms), start.Add(950 * ms), start.Add(960 * ms)})
		use := func(ctx context.Context) error {
			s, err := l.Wait(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			return s.Use(ctx)
		}
		for _, want := range []time.Duration{0, 500 * ms, time.Second + ratelimit.Guard} {
			if err := use(t.Context()); err != nil || time.Since(start) != want {
				t.Errorf("used after %v (%v), want %v", time.Since(start), err, want)
			}
		}
		// The fourth would have to wait until a second and a half: longer than its slot allows.
		if err := use(t.Context()); err != ratelimit.ErrLate || time.Since(start) != time.Second+ratelimit.Guard {
			t.Errorf("Use: %v after %v, want ErrLate at once", err, time.Since(start))
		}
		l.Offer([]time.Time{start.Add(1420 * ms)})
		why := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(450*ms, func() { cancel(why) })
		if err := use(ctx); err != why || time.Since(start) != 1450*ms+ratelimit.Guard {
			t.Errorf("Use: %v after %v, want the context's cause", err, time.Since(start))
		}
	})
}

func TestASlotMissedIsNotUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewSlotQueue(1, noBook(t))
		defer run(t, l)()
		l.Offer([]time.Time{time.Now()})
		s, err := l.Wait(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(ratelimit.Cap + 1)
		if err := s.Use(t.Context()); err != ratelimit.ErrLate {
			t.Fatalf("Use: %v, want ErrLate", err)
		}
		l.Offer([]time.Time{time.Now()})
		if s, err = l.Wait(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if err := s.Use(t.Context()); err != nil {
			t.Errorf("Use: %v; a slot that was missed must not count as sent", err)
		}
	})
}

// However late messages are, and however slots are booked and offered, no second holds more
// than the rate, no slot is handed out twice, and the messages do leave.
func TestNoSecondHoldsMoreThanTheRate(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { anySecond(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func anySecond(t *testing.T, r *rand.Rand) {
	rate := []int{1, 2, 5, 20, 80, 200}[r.IntN(6)]
	tl := &timeline{T: spacing(rate)}
	failing := r.IntN(4) == 0
	mostLate := []time.Duration{0, 10 * ms, ratelimit.Cap, 2 * ratelimit.Cap}[r.IntN(4)]
	// Only the queue's goroutine and the feeder draw numbers from r's children.
	bookings := rand.New(rand.NewPCG(r.Uint64(), 2))
	l := ratelimit.NewSlotQueue(rate, func(ctx context.Context, n int) ([]time.Time, error) {
		if failing && bookings.IntN(3) == 0 {
			return nil, errors.New("no Redis")
		}
		return tl.book(ctx, n)
	})
	end := run(t, l)

	const length = 5 * time.Second
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var (
		mu    sync.Mutex
		used  []time.Time
		given = map[time.Time]int{}
		wg    sync.WaitGroup
	)
	for range 1 + r.IntN(rate+5) {
		own := rand.New(rand.NewPCG(r.Uint64(), 3))
		wg.Go(func() {
			for {
				s, err := l.Wait(ctx, own.IntN(4))
				if err != nil {
					return
				}
				mu.Lock()
				given[s.At]++
				mu.Unlock()
				if mostLate > 0 {
					time.Sleep(time.Duration(own.Int64N(int64(mostLate))))
				}
				err = s.Use(ctx)
				switch late := time.Since(s.At); {
				case err == nil && (late < 0 || late > ratelimit.Cap):
					t.Errorf("a slot was used %v late", late)
				case err == nil:
					mu.Lock()
					used = append(used, time.Now())
					mu.Unlock()
				}
			}
		})
	}
	feeder := rand.New(rand.NewPCG(r.Uint64(), 4))
	wg.Go(func() { // the fetching of further messages
		for ctx.Err() == nil {
			slots, _ := tl.book(ctx, feeder.IntN(rate+1))
			time.Sleep(time.Duration(feeder.Int64N(int64(20 * ms)))) // the answer is on its way
			l.Offer(slots)
			time.Sleep(time.Duration(feeder.Int64N(int64(100 * ms))))
		}
	})
	wg.Wait()
	end()

	for i := rate; i < len(used); i++ {
		if d := used[i].Sub(used[i-rate]); d < time.Second {
			t.Fatalf("rate %d: %d messages within %v, from %v on", rate, rate+1, d, used[i-rate].Sub(start))
		}
	}
	if !slices.IsSortedFunc(used, time.Time.Compare) {
		t.Error("sends are not in order")
	}
	for at, n := range given {
		if n > 1 {
			t.Errorf("the slot of %v was handed out %d times", at.Sub(start), n)
		}
	}
	if len(used) == 0 {
		t.Errorf("rate %d, late by up to %v: nothing left in %v", rate, mostLate, length)
	}
}

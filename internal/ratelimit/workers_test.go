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

	"sluice/internal/ratelimit"
)

// server is a number's schedule as slots.lua keeps it, with a clock that may be set.
type server struct {
	mu      sync.Mutex
	T       time.Duration
	ahead   time.Duration // of the true time
	away    time.Time     // until then it does not answer
	tat     int64         // microseconds
	own     string
	changed time.Time // when the owner changed last
	alone   time.Time // until then only the owner is heard, see set
}

func (s *server) now() int64 { return time.Now().Add(s.ahead).UnixMicro() }

func (s *server) book(owner string, floor int64, n int) (now, first int64, booked int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.away) || owner != s.own && time.Now().Before(s.alone) {
		return 0, 0, 0, errors.New("no answer")
	}
	now = s.now()
	tat := s.tat
	if owner != s.own {
		tat += ratelimit.Cap.Microseconds()
	}
	tat = max(tat, floor, now+ratelimit.Lead.Microseconds())
	T, reach := s.T.Microseconds(), now+ratelimit.Horizon.Microseconds()-tat
	if reach < 0 {
		return now, tat, 0, nil
	}
	if n = min(n, int(reach/T)+1); n > 0 {
		if owner != s.own {
			s.own, s.changed = owner, time.Now()
		}
		s.tat = tat + int64(n)*T
	}
	return now, tat, n, nil
}

// set sets the clock. Set forward, it hides from the schedule what was booked before; then only
// the owner's own memory keeps the limit, so that one second before and after there must be
// no other. Set back, the schedule just waits.
func (s *server) set(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	const rule = 1200 * ms
	if by > 0 {
		if time.Since(s.changed) < rule {
			return
		}
		s.alone = time.Now().Add(rule)
	}
	s.ahead += by
}

// failOver lets another server take over, which has lost the last bookings. It takes so long that each slot
// that was lost has been used, or can be no more, a full slot's time before the first new one: a time far
// shorter than that of any real failover, in which a server must first be missed.
func (s *server) failOver(lost, ahead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tat -= lost.Microseconds()
	s.ahead += ahead
	s.away = time.Now().Add(ratelimit.Horizon + ratelimit.Cap + s.T)
}

// worker is one worker's part in the number, as the gate plays it.
type worker struct {
	name   string
	server *server
	clock  ratelimit.Clock
	r      *rand.Rand
	mu     sync.Mutex
	asleep bool // books nothing
	booked int64
}

// book asks the server; the question and the answer are some time on their way.
func (w *worker) book(_ context.Context, n int) ([]time.Time, error) {
	// No lock is held while time passes: synctest's clock would stand still.
	w.mu.Lock()
	asleep, floor := w.asleep, w.booked
	out, back := w.way(), w.way()
	if w.r.IntN(10) == 0 {
		back += time.Duration(w.r.Int64N(int64(40 * ms))) // a slow answer
	}
	w.mu.Unlock()
	if asleep {
		return nil, errors.New("asleep")
	}
	sent := time.Now()
	time.Sleep(out)
	now, first, n, err := w.server.book(w.name, floor, n)
	time.Sleep(back)
	if err != nil {
		return nil, err
	}
	at := w.clock.Local(sent, time.Since(sent), now, first)
	var slots []time.Time
	for i := range n {
		slots = append(slots, at.Add(time.Duration(i)*w.server.T))
	}
	w.mu.Lock()
	w.booked = max(w.booked, first+int64(n)*w.server.T.Microseconds())
	w.mu.Unlock()
	return slots, nil
}

// way is how long a question or an answer takes.
func (w *worker) way() time.Duration {
	return 100*time.Microsecond + time.Duration(w.r.Int64N(int64(2*ms)))
}

func (w *worker) sleep(asleep bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asleep = asleep
}

// Whichever workers book, take over and die, however late they use their slots, and whatever
// the server's clock does, no second holds more than the rate.
func TestNoSecondOfSeveralWorkersHoldsMoreThanTheRate(t *testing.T) {
	t.Parallel()
	seeds := []uint64{260, 304, 333, 351, 369} // which failed while a failover was quicker than it may be
	for i := range uint64(60) {
		seeds = append(seeds, i, stepSeeds+i/3)
	}
	slices.Sort(seeds)
	for _, seed := range slices.Compact(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { severalWorkers(t, seed) })
		})
	}
}

// stepSeeds are the seeds from which on the clock is set again and again; from 60 on Redis fails over.
const stepSeeds = 1000

func severalWorkers(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 11))
	rate := []int{1, 3, 20, 80, 80, 250}[r.IntN(6)]
	s := &server{T: spacing(rate)}
	length := 12 * time.Second
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	mostLate := []time.Duration{0, 20 * ms, ratelimit.Cap}[r.IntN(3)]
	kinds := []int{0, 1, 2, 3, 4, 5, 6, 7}
	switch { // the worst, again and again
	case seed >= stepSeeds:
		mostLate, kinds = ratelimit.Cap, []int{0, 1, 2, 3, 5, 5, 5, 6}
	case seed >= 60:
		mostLate, kinds = ratelimit.Cap, []int{0, 1, 2, 3, 6, 6, 6, 6}
	}
	var (
		mu      sync.Mutex
		used    []time.Time
		by      = map[string]int{}
		workers []*worker
		wg      sync.WaitGroup
		ends    []func()
	)
	for i := range 2 + r.IntN(3) {
		w := &worker{name: fmt.Sprint("w", i), server: s, r: rand.New(rand.NewPCG(r.Uint64(), 12)), asleep: i > 0}
		workers = append(workers, w)
		l := ratelimit.NewSlotQueue(rate, w.book)
		ends = append(ends, run(t, l))
		for range 1 + rate/2 + r.IntN(rate) {
			own := rand.New(rand.NewPCG(r.Uint64(), 13))
			wg.Go(func() {
				for {
					slot, err := l.Wait(ctx, own.IntN(4))
					if err != nil {
						return
					}
					if mostLate > 0 && own.IntN(3) > 0 {
						time.Sleep(time.Until(slot.At) + time.Duration(own.Int64N(int64(mostLate))))
					}
					if slot.Use(ctx) == nil {
						mu.Lock()
						used = append(used, time.Now())
						by[w.name]++
						mu.Unlock()
					}
				}
			})
		}
	}
	wg.Go(func() { // what happens to them
		for ctx.Err() == nil {
			time.Sleep(time.Duration(r.Int64N(int64(400 * ms))))
			switch w := workers[r.IntN(len(workers))]; kinds[r.IntN(8)] {
			case 0, 1, 2:
				w.sleep(false)
			case 3, 4:
				w.sleep(true)
			case 5:
				s.set(time.Duration(r.Int64N(int64(2*time.Second))) - time.Second)
			case 6:
				s.failOver(time.Duration(r.Int64N(int64(ratelimit.Horizon))), time.Duration(r.Int64N(int64(100*ms)))-100*ms)
			case 7:
				time.Sleep(time.Duration(r.Int64N(int64(3 * time.Second)))) // peace, or idleness
			}
		}
	})
	wg.Wait()
	for _, end := range ends {
		end()
	}
	slices.SortFunc(used, time.Time.Compare)
	for i := rate; i < len(used); i++ {
		if d := used[i].Sub(used[i-rate]); d < time.Second {
			t.Fatalf("rate %d, late by up to %v: %d messages within %v, from %v on; sent by %v", rate, mostLate, rate+1, d, used[i-rate].Sub(start), by)
		}
	}
	if len(used) < rate/2 {
		t.Errorf("rate %d: only %d messages left in %v", rate, len(used), length)
	}
}

// With peace and enough to send, hardly a slot is lost.
func TestTheRateIsUsed(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{20, 80, 1000} {
		synctest.Test(t, func(t *testing.T) {
			w := &worker{name: "w", server: &server{T: spacing(rate)}, r: rand.New(rand.NewPCG(1, uint64(rate)))}
			l := ratelimit.NewSlotQueue(rate, w.book)
			end := run(t, l)
			const length = 10 * time.Second
			ctx, cancel := context.WithTimeout(t.Context(), length)
			defer cancel()
			var mu sync.Mutex
			var wg sync.WaitGroup
			n := 0
			for range 20 + rate/2 {
				wg.Go(func() {
					for {
						slot, err := l.Wait(ctx, 0)
						if err != nil {
							return
						}
						if slot.Use(ctx) == nil {
							mu.Lock()
							n++
							mu.Unlock()
						}
					}
				})
			}
			wg.Go(func() {
				for ctx.Err() == nil {
					if slots, err := w.book(ctx, rate); err == nil {
						l.Offer(slots)
					}
					time.Sleep(ratelimit.Horizon / 4)
				}
			})
			wg.Wait()
			end()
			if full := rate * int(length/time.Second); n < full*98/100 || n > full {
				t.Errorf("%d messages left in %v, the rate allows %d", n, length, full)
			}
		})
	}
}

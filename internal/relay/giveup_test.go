package relay

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/events"
)

// lags are how late events reach a target.
type lags struct {
	tail  *fakeTail
	mu    sync.Mutex
	worst time.Duration
	count int
}

func (l *lags) note(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.worst = max(l.worst, time.Since(l.tail.start)-time.Duration(n)*time.Second/time.Duration(l.tail.rate))
	l.count++
}

// TestARefusedKindStopsNoOther: a target that refuses each tenth event for as long as it lives gets all others in time, also
// when far more are refused than can be set aside.
func TestARefusedKindStopsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tail := newFakeTail(t.Context(), events.MetaKey(0), 60, 5*time.Minute)
		states, late := newFakeStates(), lags{tail: tail}
		c := testCourier(t, testTarget(), tail, states, func(_ context.Context, r request) answer {
			n := number(r)
			if n%10 == 0 {
				return refused("status_400")
			}
			late.note(n)
			return answer{}
		})
		time.Sleep(5*time.Minute + 10*time.Second)
		synctest.Wait()
		if want := tail.written() * 9 / 10; late.count != want || late.worst > 5*time.Second {
			t.Errorf("%d events arrived, want %d, up to %v late", late.count, want, late.worst)
		}
		state := make(chan bool)
		c.do(func() { state <- c.health.fails < tripped })
		if !<-state {
			t.Error("a target that takes nine of ten events counts as one that takes nothing")
		}
		states.mu.Lock()
		defer states.mu.Unlock()
		if all := tail.written() / 10; len(states.aside) > asideEvents || len(states.aside)+len(states.dead) != all {
			t.Errorf("%d set aside, %d dead letters, want %d in all", len(states.aside), len(states.dead), all)
		}
	})
}

// TestASlowRequestDelaysNoOther: at 500 events a second, a request that hangs for 10 s does not keep the events of other
// messages.
func TestASlowRequestDelaysNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tail := newFakeTail(t.Context(), events.MetaKey(0), 500, 30*time.Second)
		states, late := newFakeStates(), lags{tail: tail}
		testCourier(t, testTarget(), tail, states, func(_ context.Context, r request) answer {
			n := number(r)
			if n%4800 == 0 {
				time.Sleep(10 * time.Second)
				return answer{}
			}
			late.note(n)
			return answer{}
		})
		time.Sleep(45 * time.Second)
		synctest.Wait()
		if late.count != tail.written()-3 || late.worst > 2*time.Second || len(states.aside) > 0 {
			t.Errorf("%d of %d events arrived, up to %v late, %d set aside", late.count, tail.written(), late.worst, len(states.aside))
		}
	})
}

// TestUnluckyEvents: an answer that says nothing about its event does not make the event a dead letter, however often it
// comes.
func TestUnluckyEvents(t *testing.T) {
	t.Parallel()
	for name, unlucky := range map[string]answer{
		"429":           {failure: "status_429", reached: true, crowded: true},
		"not connected": {failure: "not_connected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tail := newFakeTail(t.Context(), events.MetaKey(0), 1, 30*time.Minute)
				start, took, states := time.Now(), newTaken(), newFakeStates()
				testCourier(t, testTarget(), tail, states, func(_ context.Context, r request) answer {
					if number(r) == 7 && time.Since(start) < 3*time.Hour {
						return unlucky
					}
					took.take(r.body)
					return answer{}
				})
				time.Sleep(5 * time.Hour)
				synctest.Wait()
				took.check(t, tail.written())
				if len(states.dead) > 0 || len(states.aside) > 0 {
					t.Errorf("%d dead letters, %d set aside", len(states.dead), len(states.aside))
				}
			})
		})
	}
}

// TestOldIsNotFailing: what counts is how long an event has failed, not how old it is, and the time of a hold does not count.
func TestOldIsNotFailing(t *testing.T) {
	t.Parallel()
	for name, held := range map[string]time.Duration{"held before the first failure": 0, "held after it": 2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tail := newFakeTail(t.Context(), events.MetaKey(0), 1, time.Minute)
				took, states := newTaken(), newFakeStates()
				var mu sync.Mutex
				start, tries := time.Now(), map[int]int{}
				target := testTarget()
				target.GiveUpAfter = time.Hour
				c := testCourier(t, target, tail, states, func(_ context.Context, r request) answer {
					mu.Lock()
					defer mu.Unlock()
					n := number(r)
					if tries[n]++; tries[n] == 1 || time.Since(start) < 2*time.Hour+time.Minute {
						return refused("status_502")
					}
					took.take(r.body)
					return answer{}
				})
				hold := func(since time.Time) {
					next := target
					if next.HeldSince = since; since.IsZero() && held > 0 {
						next.Released = time.Now().UnixMilli()
					}
					c.do(func() { c.update(next) })
				}
				time.Sleep(held)
				hold(time.Now())
				time.Sleep(2 * time.Hour)
				hold(time.Time{})
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				took.check(t, 60)
				if len(states.dead) > 0 {
					t.Errorf("%d dead letters", len(states.dead))
				}
			})
		})
	}
}

// TestTheTimeToGiveUp: a new worker continues to count it, and an order to replay begins it anew.
func TestTheTimeToGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tail := newFakeTail(t.Context(), events.MetaKey(0), 1, time.Minute)
		states, target := newFakeStates(), testTarget()
		target.GiveUpAfter = time.Hour
		c := testCourier(t, target, tail, states, func(context.Context, request) answer { return refused("status_502") })
		dead := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			states.mu.Lock()
			defer states.mu.Unlock()
			if len(states.dead) != want {
				t.Errorf("%d dead letters, want %d", len(states.dead), want)
			}
		}
		dead(40*time.Minute, 0)
		c.do(func() {
			c.drop(0)
			c.health = health{}
			c.add(0, newLease(time.Now().Add(1000*time.Hour)))
		})
		dead(19*time.Minute, 0)
		dead(3*time.Minute, 60)
		target.Requeued = time.Now().UnixMilli()
		c.do(func() { c.update(target) })
		dead(time.Second, 0)
		dead(59*time.Minute, 0)
		dead(3*time.Minute, 60)
	})
}

// TestNothingIsGivenUpBeforeItsTime: a target that takes nothing loses nothing before give_up_after, and the events that are
// older then are dead letters.
func TestNothingIsGivenUpBeforeItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		states := newFakeStates()
		tail := newFakeTail(t.Context(), events.MetaKey(0), 1, 10*time.Minute)
		target := testTarget()
		target.GiveUpAfter = 2 * time.Hour
		testCourier(t, target, tail, states, func(context.Context, request) answer { return refused("not_connected") })
		time.Sleep(2*time.Hour - time.Second)
		synctest.Wait()
		if n := states.given(); n > 0 {
			t.Errorf("%d events were given up too early", n)
		}
		time.Sleep(12 * time.Minute)
		synctest.Wait()
		if n := states.given(); n != 600 {
			t.Errorf("%d events were given up, want 600", n)
		}
	})
}

// TestAStopIsNoFailure: a target that recovers while no worker runs gets all events, however old they are then.
func TestAStopIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tail := newFakeTail(t.Context(), events.MetaKey(0), 1, time.Minute)
		took, states, target := newTaken(), newFakeStates(), testTarget()
		target.GiveUpAfter = time.Hour
		var works atomic.Bool
		c := testCourier(t, target, tail, states, func(_ context.Context, r request) answer {
			if !works.Load() {
				return refused("status_502")
			}
			took.take(r.body)
			return answer{}
		})
		time.Sleep(20 * time.Minute)
		stopped := make(chan bool)
		c.do(func() {
			c.drop(0)
			c.health = health{}
			close(stopped)
		})
		<-stopped
		time.Sleep(2 * time.Hour)
		works.Store(true)
		c.do(func() { c.add(0, newLease(time.Now().Add(1000*time.Hour))) })
		time.Sleep(time.Hour)
		synctest.Wait()
		took.check(t, 60)
		if len(states.dead) > 0 {
			t.Errorf("%d dead letters", len(states.dead))
		}
	})
}

package relay

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
)

// TestReplayKeepsWhatWaits: a replay from a later time than the position relays the events in between, too.
func TestReplayKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at         int // the event at which the target stands; 0: no worker has relayed to it, and it was added after event 300
		from, want int // the event from which is replayed; how many arrive
	}{
		"later":       {300, 450, 600},
		"earlier":     {600, 300, 600},
		"not yet run": {0, 450, 600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tail := newFakeTail(t.Context(), events.MetaKey(0), 100, 9*time.Second)
				at := func(n int) int64 { return tail.start.UnixMilli() + int64(n)*10 }
				states, target, took := newFakeStates(), testTarget(), newTaken()
				target.Born, target.From, target.Generation = at(300), at(c.from), at(900)
				if c.at > 0 {
					states.stored.progress = progress{Born: target.Born, Generation: target.Born, Meta: tail.line(c.at).Place.String()}
				}
				time.Sleep(10 * time.Second)
				testCourier(t, target, tail, states, func(_ context.Context, r request) answer {
					took.take(r.body)
					return answer{}
				})
				time.Sleep(time.Minute)
				synctest.Wait()
				took.check(t, c.want)
			})
		})
	}
}

// TestAChangedDefinition: what was read, set aside or given up under the old definition of a target obeys the new one.
func TestAChangedDefinition(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*message.RelayTarget){
		"other numbers": func(t *message.RelayTarget) { t.Numbers = []string{"1"} },
		"other types":   func(t *message.RelayTarget) { t.Types = []string{message.EventInbound} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tail := newFakeTail(t.Context(), events.MetaKey(0), 100, 5*time.Second)
				states, target := newFakeStates(), testTarget()
				for _, n := range []int{3, 4} {
					l := tail.line(n)
					one := aside{Key: l.Key, Place: l.Place.String(), Text: l.Text}
					states.aside[one.field()], states.dead = one, append(states.dead, one)
				}
				target.HeldSince = time.Now()
				sent := 0
				c := testCourier(t, target, tail, states, func(context.Context, request) answer {
					sent++
					return answer{}
				})
				time.Sleep(10 * time.Second)
				change(&target)
				target.HeldSince, target.Requeued = time.Time{}, 1
				c.do(func() { c.update(target) })
				time.Sleep(time.Minute)
				synctest.Wait()
				if low, _ := events.ParsePlace(states.stored.progress.Meta); sent > 0 || len(states.aside)+len(states.dead) > 0 || low != tail.line(500).Place {
					t.Errorf("%d events sent, %d set aside, %d dead letters, position %v", sent, len(states.aside), len(states.dead), low)
				}
			})
		})
	}
}

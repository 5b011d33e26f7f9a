package ratelimit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/ratelimit"
)

// Where Redis is far it takes longer to write an attempt down than a slot may be late. Messages
// are then told of their slots earlier, and slots are booked further ahead, so that they are
// used and not missed one after the other for ever.
func TestFarRedisMissesNoSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const prep, trip = 200 * ms, 100 * ms
		l := ratelimit.NewSlotQueue(80, noBook(t))
		defer run(t, l)()
		missed := 0
		for range 40 {
			further := ratelimit.Further(trip, l.Prep())
			l.Offer([]time.Time{time.Now().Add(ratelimit.Lead + further - trip/2)}) // the answer took half of the trip
			slot, err := l.Wait(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(prep)
			slot.Ready()
			if slot.Use(t.Context()) != nil {
				missed++
			}
		}
		if missed > 5 {
			t.Errorf("%d of 40 slots missed, want those alone by which it learns", missed)
		}
		if got := l.Prep(); got < prep*9/10 || got > prep {
			t.Errorf("learned %s, want %s", got, prep)
		}
	})
}

// Near Redis nothing is booked further ahead than ever, whatever the disk does now and then.
func TestNearRedisBooksNoFurther(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ trip, prep, want time.Duration }{
		{1 * ms, 3 * ms, 0}, {20 * ms, 40 * ms, 0}, {50 * ms, 60 * ms, 35 * ms}, {100 * ms, 200 * ms, 200 * ms},
	} {
		if got := ratelimit.Further(tt.trip, tt.prep); got != tt.want {
			t.Errorf("a trip of %s and %s to get ready: %s further, want %s", tt.trip, tt.prep, got, tt.want)
		}
	}
}

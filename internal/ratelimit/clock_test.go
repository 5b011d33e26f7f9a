package ratelimit_test

import (
	"testing"
	"time"

	"sluice/internal/ratelimit"
)

func TestClockFollowsTheQuickestTrip(t *testing.T) {
	t.Parallel()
	var c ratelimit.Clock
	const ahead = 5 * time.Minute // of the server's clock
	base := time.Now()
	// ask tells a moment one second from now; the way there took out, the way back the rest.
	ask := func(i int, out, back time.Duration) (err time.Duration) {
		sent := base.Add(time.Duration(i) * time.Second)
		now := sent.Add(out + ahead)
		local := c.Local(sent, out+back, now.UnixMicro(), now.Add(time.Second).UnixMicro())
		return local.Sub(sent.Add(out + time.Second)).Abs()
	}
	const exact = 2 * time.Microsecond
	if e := ask(0, ms, ms); e > exact {
		t.Errorf("an even trip: off by %v", e)
	}
	if e := ask(1, 80*ms, 0); e > exact {
		t.Errorf("an uneven, slow trip after a quick one: off by %v", e)
	}
	for i := 2; i <= 64; i++ {
		ask(i, 80*ms, 0)
	}
	if e := ask(65, 80*ms, 0); e < 30*ms {
		t.Errorf("off by %v: the quick trip is still believed after 64 others", e)
	}
	if e := ask(66, 100*time.Microsecond, 300*time.Microsecond); e > 101*time.Microsecond {
		t.Errorf("off by %v, want half a quick trip at most", e)
	}
}

// A server whose clock is set, or another one after a failover, is believed at once.
func TestClockNoticesAStep(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{time.Hour, 50 * ms, -50 * ms, -time.Hour} {
		var c ratelimit.Clock
		sent := time.Now()
		var local, want time.Time
		for i := range 10 {
			sent = sent.Add(20 * ms)
			now := sent.Add(ms)
			if i >= 5 {
				now = now.Add(step)
			}
			local = c.Local(sent, 2*ms, now.UnixMicro(), now.Add(30*ms).UnixMicro())
			want = sent.Add(31 * ms)
			if off := local.Sub(want).Abs(); off > 2*time.Microsecond {
				t.Errorf("a step by %v: trip %d is off by %v", step, i, off)
			}
		}
	}
}

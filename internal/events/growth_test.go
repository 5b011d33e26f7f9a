package events

import (
	"testing"
	"time"
)

// TestGrowth plays passes of 5 s over days with quiet and busy hours. While all fits, everything of the last 24 h is
// known; when it does not, a cut leaves what fits and no less.
func TestGrowth(t *testing.T) {
	t.Parallel()
	const pass, day, budget = int64(5000), int64(24 * 3600 * 1000), int64(5e8)
	rate := func(at int64) int64 { // bytes in a pass: 100 times more in 8 hours of the day
		if at%day > day/3 {
			return 1000
		}
		return 100_000
	}
	var g growth
	var written []int64 // by pass
	since, cuts := int64(0), 0
	for at := int64(0); at < 3*day; at += pass {
		written = append(written, rate(at))
		from := max(since, at-day, 0)
		bytes := int64(0)
		for i := int(from/pass) + 1; i < len(written); i++ {
			bytes += written[i]
		}
		if at%(10*60*1000) != 0 { // sums are slow
			continue
		}
		g = g.note(from, at, bytes)
		if have := g.since(from); have != bytes {
			t.Fatalf("after %s it has %d bytes, want %d", time.Duration(at)*time.Millisecond, have, bytes)
		}
		if len(g) > 400 {
			t.Fatalf("%d points", len(g))
		}
		if bytes <= budget {
			continue
		}
		since = g.last(budget / 2)
		left := int64(0)
		for i := int(since/pass) + 1; i < len(written); i++ {
			left += written[i]
		}
		if cuts++; left > budget*103/100 || left < budget*85/100 {
			t.Errorf("after %s a cut left %d bytes, want %d", time.Duration(at)*time.Millisecond, left, budget)
		}
	}
	if cuts == 0 {
		t.Error("nothing was cut")
	}
}

// TestGrowthBegins: without a history, and after the clock was set back, the rate counts as constant.
func TestGrowthBegins(t *testing.T) {
	t.Parallel()
	g := growth(nil).note(1000, 2000, 500)
	if at := g.last(100); at != 1800 || g.since(1500) != 250 {
		t.Errorf("100 of 500 bytes since %d, %d since 1500", at, g.since(1500))
	}
	if g = g.note(100, 200, 50); g.last(10) != 180 {
		t.Errorf("after the clock was set back: %v", g)
	}
	if g = g.note(300, 300, 0); g.last(0) != 300 || g.since(0) != 0 {
		t.Errorf("empty: %v", g)
	}
}

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
	written := []int64{0}          // up to each pass
	kept := func(at int64) int64 { // bytes that were written after a time
		return written[len(written)-1] - written[at/pass]
	}
	since, cuts := int64(0), 0
	for at := pass; at < 3*day; at += pass {
		written = append(written, written[len(written)-1]+rate(at))
		from := max(since, at-day, 0)
		g = g.note(from, at, kept(from))
		if have, want := g.since(from), kept(from); have < want || have > want+want/50 {
			t.Fatalf("after %s it has %d bytes, want %d", time.Duration(at)*time.Millisecond, have, want)
		}
		if len(g) > 400 {
			t.Fatalf("%d points", len(g))
		}
		if kept(from) <= budget {
			continue
		}
		since = g.last(budget * 98 / 100)
		if cuts++; kept(since) > budget || kept(since) < budget*85/100 {
			t.Errorf("after %s a cut left %d bytes, want %d", time.Duration(at)*time.Millisecond, kept(since), budget)
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

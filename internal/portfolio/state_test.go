package portfolio

import (
	"testing"
	"time"
)

// TestWait: messages that do not fit wait until as many people have left: of those that count, then of those that come, and so on.
func TestWait(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	empty := State{Limit: 10_000, window: 24 * time.Hour, now: now}
	full := State{Limit: 10_000, Used: 9800, window: 24 * time.Hour, now: now, counted: []time.Time{ago(20 * time.Hour), ago(19 * time.Hour), ago(18 * time.Hour)}}
	half := State{Limit: 10_000, Used: 4900, window: 24 * time.Hour, now: now, counted: []time.Time{ago(12 * time.Hour), ago(12 * time.Hour)}}
	capped := State{Limit: 10_000, Cap: 5000, Used: 4800, window: 24 * time.Hour, now: now, counted: []time.Time{ago(12 * time.Hour), ago(12 * time.Hour)}}
	for name, c := range map[string]struct {
		s      State
		n      int
		urgent bool
		want   time.Duration
	}{
		"fits":                            {empty, 9800, false, 0},
		"reserved":                        {empty, 9801, true, 0},
		"behind those that are sent now":  {empty, 12_000, false, 24*time.Hour + 22*time.Second},
		"two days later":                  {empty, 9800 + 9800 + 100, false, 48*time.Hour + time.Second},
		"the first to leave":              {full, 1, false, 4 * time.Hour},
		"half of them leave":              {full, 4901, false, 5 * time.Hour},
		"all of them leave":               {full, 9800, false, 6 * time.Hour},
		"and the first of those after":    {full, 9801, false, 28 * time.Hour},
		"those that count, then the rest": {half, 4900 + 4900 + 1000, false, 24*time.Hour + 10*time.Second},
		"Meta counts more":                {capped, 1, false, 12 * time.Hour},
		"unknown":                         {State{}, 5, false, 0},
	} {
		if got := c.s.Wait(c.n, 100, c.urgent); (got - c.want).Abs() > time.Minute/50 {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

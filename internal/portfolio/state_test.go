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

// TestWaitPredictsTheEnd: the end of a campaign that Wait predicts is within 1 % of when its last message is sent, in a ledger of which each
// second is computed. People leave it one window after they were counted.
func TestWaitPredictsTheEnd(t *testing.T) {
	t.Parallel()
	const window, perSecond = 24 * time.Hour, 20
	begin := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		limit, before, people int // before: people who count when the campaign begins, one each 3 s
	}{
		"12,000 on 10,000":       {10_000, 0, 12_000},
		"after others":           {10_000, 6000, 9000},
		"on a full limit":        {2000, 1960, 1000},
		"three days":             {2000, 500, 6000},
		"a limit that has space": {10_000, 100, 5000},
	} {
		var counted []time.Time
		for i := range c.before {
			counted = append(counted, begin.Add(-time.Duration(c.before-i)*3*time.Second))
		}
		s := State{Limit: c.limit, Used: c.before, window: window, now: begin}
		for i := range min(steps, c.before) {
			s.counted = append(s.counted, counted[(c.before-1)*i/max(min(steps, c.before)-1, 1)])
		}
		predicted := max(s.Wait(c.people, perSecond, false), time.Duration(c.people)*time.Second/perSecond)
		end := begin
		for sent := 0; sent < c.people; end = end.Add(time.Second) {
			for len(counted) > 0 && end.Sub(counted[0]) >= window {
				counted = counted[1:]
			}
			if free := s.usable() - len(counted); free <= 0 {
				end = counted[0].Add(window - time.Second) // nothing happens before
			} else {
				for range min(free, perSecond, c.people-sent) {
					counted, sent = append(counted, end), sent+1
				}
			}
		}
		if real := end.Sub(begin); (predicted - real).Abs() > real/100 {
			t.Errorf("%s: predicted %s, ended after %s", name, predicted, real)
		}
	}
}

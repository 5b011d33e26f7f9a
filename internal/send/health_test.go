package send

import (
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/message"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	doubt, other := message.Outcome{Kind: message.ServerError}, message.Outcome{Kind: message.NoAnswer}
	well := message.Outcome{Kind: message.Accepted}
	refused, gone := message.Outcome{Kind: message.Refused}, message.Outcome{Kind: message.Transient}
	held := message.Outcome{Kind: message.Held, Hold: message.HoldNumber}
	strange := message.Outcome{Kind: message.ServerError, Hold: message.HoldNumber} // a 200 of a proxy's, say
	backoff := func(n int) time.Duration { return time.Duration(n) * 3 * time.Second }
	type seen struct {
		out         message.Outcome
		probe, well bool
		hold        time.Duration
	}
	for name, row := range map[string][]seen{
		"five in a row": {
			{doubt, false, false, 0},
			{other, false, false, 0},
			{doubt, false, false, 0},
			{gone, false, false, 0}, // nobody answered
			{doubt, false, false, 0},
			{doubt, true, false, 0},
			{doubt, true, false, 0}, // a second later: it is said again
			{well, false, true, 0},
			{well, false, false, 0},
			{doubt, false, false, 0},
		},
		"an answer between them": {
			{doubt, false, false, 0},
			{doubt, false, false, 0},
			{doubt, false, false, 0},
			{doubt, false, false, 0},
			{refused, false, false, 0},
			{doubt, false, false, 0},
		},
		"answered by another five times in a row": {
			{doubt, false, false, 0},
			{strange, false, false, 0},
			{other, false, false, 0},
			{strange, false, false, 0},
			{strange, true, false, 3 * time.Second},
			{strange, true, false, 2 * time.Second},
			{doubt, true, false, 0},
			{strange, true, false, 6 * time.Second}, // after the hold
			{well, false, true, 0},
			{strange, false, false, 0},
		},
		"held": {
			{held, true, false, 3 * time.Second},
			{held, true, false, 2 * time.Second}, // it was under way
			{held, true, false, time.Second},
			{held, true, false, 6 * time.Second},                                              // after the hold
			{message.Outcome{Kind: message.Held, Hold: message.HoldTemplate}, false, true, 0}, // the number itself is well
			{held, true, false, 3 * time.Second},
			{well, false, true, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var h health
				for i, want := range row {
					time.Sleep(time.Second)
					probe, well, hold := h.note("1", want.out, backoff)
					if probe != want.probe || well != want.well || hold != want.hold {
						t.Errorf("%d: probe %t, well %t, hold %s; want %+v", i, probe, well, hold, want)
					}
					h.note("2", doubt, backoff) // another number is another matter
				}
			})
		})
	}
	var h health
	said := 0
	for range 100 { // all that was under way when Meta went down
		if probe, _, _ := h.note("1", doubt, backoff); probe {
			said++
		}
	}
	if said != 1 {
		t.Errorf("said %d times in a moment that the number is to probe", said)
	}
}

func TestFrozen(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	wall := func(d time.Duration) time.Time { return begun.Round(0).Add(d) }
	for name, tt := range map[string]struct {
		begun, now time.Time
		want       bool
	}{
		"in time":                     {begun, begun.Add(freezeMax), false},
		"late by both clocks":         {begun, begun.Add(freezeMax + 1), true},
		"the machine slept":           {begun, wall(time.Minute), true}, // no monotonic reading went on
		"the wall clock was set back": {begun, begun.Add(time.Minute), true},
	} {
		if got := frozen(tt.begun, tt.now); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

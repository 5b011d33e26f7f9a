package send

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"sluice/internal/message"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	inDoubt, other := message.Outcome{Kind: message.ServerError}, message.Outcome{Kind: message.NoAnswer}
	well := message.Outcome{Kind: message.Accepted}
	refused, gone := message.Outcome{Kind: message.Refused}, message.Outcome{Kind: message.Transient}
	held := message.Outcome{Kind: message.Held, Hold: message.HoldNumber}
	template := message.Outcome{Kind: message.Held, Hold: message.HoldTemplate}
	own := message.Outcome{Kind: message.Held} // a flow that is blocked, in a message that has no template
	asked := message.Outcome{Kind: message.Held, Hold: message.HoldNumber, RetryAfter: time.Hour}
	unknown := message.Outcome{Kind: message.Refused, Unknown: true, Code: 987654}
	strange := message.Outcome{Kind: message.ServerError, Hold: message.HoldNumber}
	crowded := message.Outcome{Kind: message.Throttled, Limit: message.LimitApp, RetryAfter: 10 * time.Second}
	number := func(d time.Duration) effect {
		return effect{probe: true, on: message.HoldNumber, hold: d * time.Second}
	}
	of := func(d time.Duration) effect { return effect{on: message.HoldTemplate, hold: d * time.Second} }
	none, probe, isWell := effect{}, effect{probe: true}, effect{recovered: true}
	backoff := func(n int) time.Duration { return time.Duration(n) * 3 * time.Second }
	type seen struct {
		out      message.Outcome
		template string
		want     effect
	}
	for name, row := range map[string][]seen{
		"five in a row": {
			{inDoubt, "", none},
			{other, "", none},
			{inDoubt, "", none},
			{gone, "", none}, // no connection
			{inDoubt, "", none},
			{inDoubt, "", probe},
			{inDoubt, "", probe}, // a second later: it is said again
			{well, "", isWell},
			{well, "", none},
			{inDoubt, "", none},
		},
		"an answer between them": {
			{inDoubt, "", none},
			{inDoubt, "", none},
			{inDoubt, "", none},
			{inDoubt, "", none},
			{refused, "", none},
			{inDoubt, "", none},
		},
		"somebody else answers": {
			{inDoubt, "", none},
			{strange, "", none},
			{other, "", none},
			{strange, "", none},
			{strange, "", number(3)},
			{strange, "", number(2)},
			{well, "", isWell},
			{strange, "", none},
		},
		"held": {
			{held, "", number(3)},
			{held, "", number(2)}, // it was under way
			{held, "", number(1)},
			{held, "", number(6)}, // after the hold
			{template, "a/en", effect{on: message.HoldTemplate, hold: 3 * time.Second, recovered: true}}, // the number itself is well
			{held, "", number(3)},
			{well, "", isWell},
			{asked, "", number(3600)},
		},
		"a template is held, longer each time": {
			{template, "a/en", of(3)},
			{template, "b/en", of(3)},
			{template, "a/en", of(1)},
			{well, "a/en", effect{templateAccepted: true}},
			{template, "a/en", of(3)},
			{well, "a/en", none}, // it was under way
			{well, "c/en", none},
			{template, "a/en", of(6)},
			{template, "b/en", of(6)},
		},
		"nothing is held for a code that is about nothing that the message has": {
			{own, "", none},
			{template, "", none},
			{own, "a/en", none},
			{own, "", none},
			{own, "", none},
			{own, "", none},
		},
		"unknown codes of one template": {
			{unknown, "a/en", none},
			{unknown, "a/en", none},
			{well, "b/en", none},
			{refused, "a/en", none},
			{unknown, "a/en", none},
			{unknown, "a/en", none},
			{unknown, "a/en", of(3)},
			{unknown, "a/en", of(2)},
			{unknown, "b/en", none},
			{unknown, "a/en", of(6)},
		},
		"unknown codes of a number": {
			{unknown, "a/en", none},
			{unknown, "b/en", none},
			{unknown, "", none},
			{unknown, "a/en", none},
			{unknown, "b/en", number(3)},
			{well, "", isWell},
			{unknown, "", none},
		},
		"too many calls of the app": {
			{crowded, "", effect{pause: 10 * time.Second}},
			{crowded, "", none}, // it was under way
			{well, "", none},
			{crowded, "", none}, // so was this
			{well, "", none},
			{well, "", none},
			{well, "", none},
			{well, "", none},
			{well, "", none},
			{well, "", none},
			{well, "", none},
			{well, "", none},
			{crowded, "", effect{pause: 10 * time.Second}},
			{gone, "", none},
			{gone, "", none},
			{gone, "", none},
			{gone, "", none},
			{gone, "", none},
			{gone, "", none},
			{gone, "", none},
			{gone, "", none},
			{gone, "", none},
			{crowded, "", effect{pause: 20 * time.Second}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var h health
				for i, s := range row {
					time.Sleep(time.Second)
					if got := h.note("m", message.Context{From: "1", Template: s.template}, s.out, backoff); got != s.want {
						t.Errorf("%d: %+v, want %+v", i, got, s.want)
					}
					h.note("n", message.Context{From: "2"}, inDoubt, backoff) // another number is another matter
				}
			})
		})
	}
	var h health
	said := 0
	for range 100 { // all that was under way when Meta went down
		if h.note("m", message.Context{From: "1"}, inDoubt, backoff).probe {
			said++
		}
	}
	if said != 1 {
		t.Errorf("said %d times in a moment that the number is to probe", said)
	}
}

// TestServerErrorsOfOneMessage: those of a message while the number is well, and none in an outage.
func TestServerErrorsOfOneMessage(t *testing.T) {
	t.Parallel()
	backoff := func(int) time.Duration { return time.Second }
	// A letter is a server error of that message, a capital letter one because its account is in maintenance, a dot an
	// acceptance.
	for sequence, want := range map[string]string{
		"aaaaaaaa":             "",
		"...aaaaaaa":           "aaaaaaa",
		"..a..a..a":            "aa", // four acceptances since any other message's error
		"...a.b.a.b.a.b":       "a",
		"...a...b...a...b":     "abab",
		"..........abcdefghij": "a",
		"...AAAAAAA":           "",
		"...AAAa":              "a",
	} {
		var h health
		counted := ""
		for _, c := range sequence {
			out := message.Outcome{Kind: message.ServerError, Code: 131000}
			switch {
			case c == '.':
				out = message.Outcome{Kind: message.Accepted}
			case unicode.IsUpper(c):
				out.Code, out.Limit = 131057, message.LimitRest
			}
			if h.note(strings.ToLower(string(c)), message.Context{From: "1"}, out, backoff).counts {
				counted += string(c)
			}
		}
		if counted != want {
			t.Errorf("%s: %q count, want %q", sequence, counted, want)
		}
	}
}

// TestAnswersWithoutACode: a proxy that refuses one message holds nothing, and one that refuses every message holds the
// number.
func TestAnswersWithoutACode(t *testing.T) {
	t.Parallel()
	for sequence, want := range map[string]string{ // a letter is such an answer to that message, a dot an acceptance
		"aaaaaaaaaaaaaaaaaaaaaaaa": "",
		"a.a.a.a.a.a.a.a.a.a.a.a":  "",
		"ab.cd.ef.gh.ij.kl.mn.op.": "",
		"abcdefg":                  "efg",
		"ababab":                   "ab",
		"abcde.fghij":              "ej",
		"aaabbbcccddde.e":          "e",
	} {
		var h health
		held := ""
		for _, c := range sequence {
			out := message.Outcome{Kind: message.Held, Hold: message.HoldNumber, Unknown: true, Reason: "http 403"}
			if c == '.' {
				out = message.Outcome{Kind: message.Accepted}
			}
			if e := h.note(string(c), message.Context{From: "1"}, out, func(int) time.Duration { return time.Second }); e.on != "" {
				held += string(c)
			}
		}
		if held != want {
			t.Errorf("%s: %q hold the number, want %q", sequence, held, want)
		}
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

package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/message"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// step is one entry of a timeline.
type step struct {
	to  message.State
	why string
}

func record(wamid string, steps ...step) client.Record {
	r := client.Record{WAMID: wamid}
	for i, s := range steps {
		r.Timeline = append(r.Timeline, client.Step{At: noon.Add(time.Duration(i) * time.Second), State: client.State(s.to), Reason: s.why})
		r.State, r.Reason = client.State(s.to), s.why
	}
	return r
}

// received is a request to the far side that began at a second and took half a second.
func received(wamid string, second float64) graphsim.Accepted {
	start := noon.Add(time.Duration(second * float64(time.Second)))
	return graphsim.Accepted{WAMID: wamid, Start: start, End: start.Add(time.Second / 2)}
}

// sound is a run without a breach: m1 delivered, m2 parked, m3 sent again by policy.
func sound() findings {
	queued, attempting, doubt := step{message.Queued, ""}, step{message.Attempting, ""}, step{message.InDoubt, message.ReasonNoAnswer}
	return findings{
		orders: []order{{ID: "m1", Taken: noon}, {ID: "m2", Taken: noon}, {ID: "m3", Taken: noon.Add(3 * time.Second)}},
		tried:  map[string]bool{"m1": true, "m2": true, "m3": true},
		records: map[string]client.Record{
			"m1": record("w1", queued, attempting, step{message.Submitted, ""}, step{message.Delivered, ""}),
			"m2": record("", queued, attempting, doubt, step{message.Parked, message.ReasonNoAnswer}),
			"m3": record("w3b", queued, attempting, doubt, step{message.Queued, message.ReasonPolicy}, attempting, step{message.Delivered, ""}),
		},
		taken:   map[string][]graphsim.Accepted{"m1": {received("w1", 0)}, "m3": {received("w3", 1), received("w3b", 2)}},
		until:   noon.Add(3 * time.Second),
		windows: map[string]int{"1": 100}, rate: 100,
		left: map[string]int64{tasks: 0, open: 0}, grown: map[string]string{},
		relay: relayFindings{
			streams: map[string][]written{"s": {{"a", "m1"}, {"b", "m2"}, {"c", "m1"}}},
			taken:   []delivery{{text: "b", at: noon}, {text: "a", at: noon}, {text: "c", at: noon}},
		},
	}
}

func TestASoundRunBreaksNothing(t *testing.T) {
	t.Parallel()
	e := sound()
	if broken := e.check(); len(broken) > 0 {
		t.Errorf("%v", broken)
	}
	var r Result
	r.count(e, nil)
	if r.Messages != 3 || r.Lost != 0 || r.Doubled != 0 || r.WereInDoubt != 2 || r.SettledByPolicy != 2 || r.SettledByStatus != 0 || r.Resent != 1 || r.InDoubt != 0 || r.Stopped != time.Second || !r.OK() {
		t.Errorf("%+v", r)
	}
}

// Each invariant is broken once: the harness must report it, and nothing else.
func TestBreachesAreFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*findings)
		want  []string
	}{
		"lost: no record": {func(e *findings) { delete(e.records, "m2") }, []string{"I1: m2", "I7: 3 messages were accepted, and the records add up to 2"}},
		"lost: still open": {func(e *findings) {
			e.records["m2"] = record("", step{message.Queued, ""}, step{message.Attempting, ""}, step{message.InDoubt, ""})
		}, []string{"I1: m2 is still in_doubt"}},
		"twice": {func(e *findings) {
			e.taken["m1"] = append(e.taken["m1"], received("w1", 1))
		}, []string{"I2: m1 was received 2 times, and policy allowed 1"}},
		"twice although resent": {func(e *findings) {
			e.taken["m3"] = append(e.taken["m3"], received("w3c", 3))
		}, []string{"I2: m3 was received 3 times, and policy allowed 2"}},
		"a key of two messages, received three times": {func(e *findings) {
			e.orders[0].Made = 2
			e.taken["m1"] = []graphsim.Accepted{received("w1", 1), received("w1b", 2), received("w1c", 3)}
		}, []string{"I2: m1 was received 3 times, and policy allowed 2"}},
		"a key of two messages, received once":   {func(e *findings) { e.orders[0].Made = 2 }, []string{"I1: m1 was accepted 2 times as a new message and received 1 times"}},
		"overlapping":                            {func(e *findings) { e.taken["m3"][1] = received("w3b", 1.4) }, []string{"I3: m3"}},
		"overlapping a request that never ended": {func(e *findings) { e.taken["m3"][0].End = time.Time{} }, []string{"I3: m3"}},
		"again after its report": {func(e *findings) {
			e.taken["m3"][0].Reported, e.taken["m3"][1] = noon.Add(time.Second), received("w3b", 5)
			e.records["m3"].Timeline[3].At = noon.Add(4100 * time.Millisecond)
		}, []string{"I10: m3 was sent again 3.1 s after Meta sent a report of it"}},
		"again before its report": {func(e *findings) {
			e.taken["m3"][0].Reported = noon.Add(time.Second)
		}, nil},
		"sank": {func(e *findings) {
			e.records["m1"] = record("w1", step{message.Queued, ""}, step{message.Delivered, ""}, step{message.Sent, ""}, step{message.Delivered, ""})
		}, []string{"I4: m1 went from delivered to sent"}},
		"written again after the end of the attempt before it was lost": {func(e *findings) {
			e.records["m1"] = record("w1", step{message.Queued, ""}, step{message.Attempting, ""}, step{message.Attempting, "remembered"}, step{message.Delivered, ""})
		}, nil},
		"attempted twice": {func(e *findings) {
			e.records["m1"] = record("w1", step{message.Queued, ""}, step{message.Attempting, ""}, step{message.Attempting, ""}, step{message.Delivered, ""})
		}, []string{"I4: m1 went from attempting to attempting"}},
		"back to the queue from an end": {func(e *findings) {
			e.records["m2"] = record("", step{message.Queued, ""}, step{message.Expired, ""}, step{message.Queued, ""}, step{message.Expired, ""})
		}, []string{"I4: m2 went from expired to queued"}},
		"said and never received":            {func(e *findings) { delete(e.taken, "m1") }, []string{"I5: m1 is delivered, and the far side never"}},
		"parked and received":                {func(e *findings) { e.taken["m2"] = []graphsim.Accepted{received("w2", 0)} }, []string{"I5: m2 is parked no_answer, and the far side has it"}},
		"another's wamid":                    {func(e *findings) { e.taken["m1"] = []graphsim.Accepted{received("w9", 0)} }, []string{"I5: m1 has the wamid"}},
		"relay: an event is missing":         {func(e *findings) { e.relay.taken = e.relay.taken[:2] }, []string{"I11: m1 has an event that the relay target did not get: c"}},
		"relay: a repeated event is missing": {func(e *findings) { e.relay.streams["s"] = append(e.relay.streams["s"], written{"c", "m1"}) }, []string{"I11: m1"}},
		"relay: the wrong order":             {func(e *findings) { slices.Reverse(e.relay.taken) }, []string{"I12: m1 has an event that the relay target got too early: c"}},
		"relay: twice without a failure":     {func(e *findings) { e.relay.taken = append(e.relay.taken, delivery{text: "a", at: noon}) }, []string{"I12: the relay target got an event 2 times"}},
		"relay: twice before a kill": {func(e *findings) {
			e.relay.taken, e.relay.kills = append(e.relay.taken, delivery{text: "a", at: noon}), []time.Time{noon.Add(time.Second)}
		}, []string{"I12: the relay target got an event 2 times"}},
		"relay: twice after a kill": {func(e *findings) {
			e.relay.taken, e.relay.kills = append(e.relay.taken, delivery{text: "a", at: noon.Add(2 * time.Second)}), []time.Time{noon.Add(time.Second)}
		}, nil},
		"relay: twice after a lost answer": {func(e *findings) {
			e.relay.taken[1].lost = true
			e.relay.taken = append(e.relay.taken, delivery{text: "a", at: noon})
		}, nil},
		"never ordered":  {func(e *findings) { e.taken["m4"] = []graphsim.Accepted{received("w4", 0)} }, []string{"I5: m4 was received and never ordered"}},
		"no marker":      {func(e *findings) { e.strange = []graphsim.Accepted{received("w5", 0)} }, []string{"I5: received w5"}},
		"too fast":       {func(e *findings) { e.windows["1"] = 126 }, []string{"I6: 126 requests"}},
		"left open":      {func(e *findings) { e.left[open] = 2 }, []string{"I7: 2 open in the ledger"}},
		"tasks left":     {func(e *findings) { e.left[tasks] = 3 }, []string{"I8: 3 tasks"}},
		"a secret found": {func(e *findings) { e.leaks = map[string]string{"a log": "token"} }, []string{"I9: something secret or private was found in a log: token"}},
		"leaking":        {func(e *findings) { e.grown["worker 7"] = "leaks" }, []string{"I8: worker 7 leaks"}},
	} {
		e := sound()
		c.spoil(&e)
		var found []string
		for _, b := range e.check() {
			found = append(found, b.String())
		}
		if len(found) == 0 && len(c.want) == 0 {
			continue
		}
		if len(found) != len(c.want) || !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, c.want[0]) }) || !strings.HasPrefix(found[len(found)-1], c.want[len(c.want)-1]) {
			t.Errorf("%s: found %q, want %q", name, found, c.want)
		}
	}
}

// The figures and the last line count what was lost or doubled.
func TestBreachesAreCounted(t *testing.T) {
	t.Parallel()
	e := sound()
	delete(e.records, "m2")
	e.taken["m1"] = append(e.taken["m1"], received("w1", 1))
	r := Result{ID: "C1"}
	r.count(e, e.check())
	const want = "chaos: faults=1 messages=3 lost=1 duplicated=1 resent_by_policy=1 in_doubt_left=0 seed=7"
	if got := Line([]Result{r}, 7); got != want || r.OK() {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestARelaxedRunMayEndAtSent(t *testing.T) {
	t.Parallel()
	if over(message.Sent, false) || !over(message.Sent, true) || over(message.InDoubt, true) || over(message.Queued, true) {
		t.Error("what is over?")
	}
}

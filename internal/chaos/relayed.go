package chaos

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/internal/events"
)

// written is an event of a stream.
type written struct {
	text    string
	message string // our id or Meta's; empty: it is not about a message
}

// delivery is an event that a relay target took.
type delivery struct {
	text string
	at   time.Time
	lost bool // the answer did not arrive
}

// relayFindings is what a relay target should get, and what it took.
type relayFindings struct {
	streams map[string][]written // in their order
	taken   []delivery           // in the order in which the target took them
	kills   []time.Time          // when workers were killed
}

// missing returns the events that the target has not taken.
func (f relayFindings) missing() (all []written) {
	left := map[string]int{}
	for _, d := range f.taken {
		left[d.text]++
	}
	for _, stream := range slices.Sorted(maps.Keys(f.streams)) {
		for _, e := range f.streams[stream] {
			if left[e.text]--; left[e.text] < 0 {
				all = append(all, e)
			}
		}
	}
	return all
}

// check checks I11: the target took every event. And I12: it took the events of a message in the order of their stream, and
// an event again only after a worker was killed or an answer was lost.
func (f relayFindings) check() (all []breach) {
	for _, e := range f.missing() {
		all = append(all, breach{"I11", e.message, "has an event that the relay target did not get: " + e.text})
	}
	first, times := map[string]int{}, map[string][]delivery{}
	for i, d := range f.taken {
		if times[d.text] == nil {
			first[d.text] = i
		}
		times[d.text] = append(times[d.text], d)
	}
	due := map[string]int{}
	for _, stream := range slices.Sorted(maps.Keys(f.streams)) {
		last := map[string]int{} // by message
		for _, e := range f.streams[stream] {
			due[e.text]++
			at, came := first[e.text]
			if e.message == "" || !came {
				continue
			}
			if at < last[e.message] {
				all = append(all, breach{"I12", e.message, "has an event that the relay target got too early: " + e.text})
			}
			last[e.message] = max(at, last[e.message])
		}
	}
	for _, text := range slices.Sorted(maps.Keys(times)) {
		if came := times[text]; len(came) > due[text] && !f.excuses(came) {
			all = append(all, breach{"I12", "", fmt.Sprintf("the relay target got an event %d times without a failure, at %s and %s, and it was written %d times: %s", len(came), clock(came[0].at), clock(came[len(came)-1].at), due[text], text)})
		}
	}
	return all
}

func clock(at time.Time) string { return at.Format("15:04:05.000") }

// excuses reports whether an event may have come several times.
func (f relayFindings) excuses(came []delivery) bool {
	const inFlight = time.Second // from the answer of the target to its record
	return slices.ContainsFunc(came, func(d delivery) bool { return d.lost }) || slices.ContainsFunc(f.kills, func(kill time.Time) bool {
		return kill.After(came[0].at.Add(-inFlight)) && kill.Before(came[len(came)-1].at)
	})
}

// published returns all events of the streams, as a relay target gets them.
func (r *run) published() map[string][]written {
	all := map[string][]written{}
	for _, s := range shards.All() {
		for _, key := range []string{events.MessageKey(s), events.MetaKey(s)} {
			entries, err := r.db.XRange(r.ctx, key, "-", "+").Result()
			r.must(err, "read the events")
			for _, x := range entries {
				text, _ := x.Values[events.Field].(string)
				all[key] = append(all[key], lines(text)...)
			}
		}
	}
	return all
}

// Package quiethours decides when messages are not sent because it is night, or a day of rest, where the recipient is.
package quiethours

import (
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // images and machines without a time zone database

	"sluice/internal/config"
	"sluice/internal/message"
)

// Rules decide by the quiet hours of numbers and clients. They are safe for concurrent use.
type Rules struct {
	of    func(client, number string) [2][]config.QuietHours
	zones zones

	mu     sync.Mutex
	minute time.Time            // of the answers
	ends   map[string]time.Time // answers for this minute
}

// New returns Rules. of returns the quiet hours of a number, and those of a client: both apply. display returns the phone number of a
// number, in E.164 with its plus; empty: it is unknown. overrides are time zones by the begin of phone numbers, with the plus, and by country.
func New(of func(client, number string) [2][]config.QuietHours, display func(number string) string, overrides map[string]string) *Rules {
	return &Rules{of: of, zones: zones{display: display, overrides: overrides}}
}

// Message is what quiet hours depend on.
type Message struct {
	Client, Number, Campaign string
	Class                    message.Class
	Recipient                string // a phone number in E.164, with its plus or without, or a business-scoped user id
}

// Concern reports whether quiet hours apply to messages of a client, number, class and campaign at some time.
func (r *Rules) Concern(m Message) bool {
	for _, list := range r.of(m.Client, m.Number) {
		if slices.ContainsFunc(list, func(q config.QuietHours) bool { return applies(q, m) }) {
			return true
		}
	}
	return false
}

// ahead is how long before quiet hours the last message is fetched: its request comes after it has waited for its send slot.
const ahead = 2 * time.Second

// horizon is how far Until looks: quiet hours repeat every week, and a clock may change in it.
const horizon = 8 * 24 * time.Hour

// Until returns when the quiet hours end in which a message would be sent at a time; zero: it may be sent. If it is not known in which of
// several time zones the recipient is, it is quiet as long as it is in one of them. If that is always, the zone of the number counts.
func (r *Rules) Until(m Message, now time.Time) time.Time {
	var windows []config.QuietHours
	for _, list := range r.of(m.Client, m.Number) {
		for _, q := range list {
			if applies(q, m) {
				windows = append(windows, q)
			}
		}
	}
	if len(windows) == 0 {
		return time.Time{}
	}
	places := r.zones.of(m.Number, m.Recipient)
	if !quiet(windows, places, now) && !quiet(windows, places, now.Add(ahead)) {
		return time.Time{}
	}
	return r.end(windows, places, m.Number, now)
}

// End returns when a window with a time zone ends in which a time is; zero: the time is in no such window.
func End(w config.QuietHours, at time.Time) time.Time {
	if !quiet([]config.QuietHours{w}, nil, at) {
		return time.Time{}
	}
	if end := next([]config.QuietHours{w}, nil, at.Truncate(time.Minute)); !end.IsZero() {
		return end
	}
	return at.Add(horizon)
}

// end returns the next full minute that is not quiet. It remembers its answers for a minute: a campaign asks for each of its messages.
func (r *Rules) end(windows []config.QuietHours, places []*time.Location, number string, from time.Time) time.Time {
	minute := from.Truncate(time.Minute)
	var key strings.Builder
	for _, p := range places {
		key.WriteString(p.String() + " ")
	}
	for _, w := range windows {
		key.WriteString(strings.Join([]string{"", w.From, w.To, w.Zone, strings.Join(w.Days, ",")}, "|"))
	}
	key.WriteString("|" + number)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.minute.Equal(minute) {
		r.minute, r.ends = minute, map[string]time.Time{}
	}
	end, known := r.ends[key.String()]
	if !known {
		if end = next(windows, places, minute); end.IsZero() {
			end = next(windows, r.zones.ofNumber(number), minute)
		}
		if end.IsZero() { // it is quiet all week: look again later
			end = minute.Add(horizon)
		}
		r.ends[key.String()] = end
	}
	return end
}

// next returns the first minute after a time that is not quiet; zero: there is none before the horizon.
func next(windows []config.QuietHours, places []*time.Location, after time.Time) time.Time {
	for t := after; t.Sub(after) < horizon; {
		if t = t.Add(time.Minute); !quiet(windows, places, t) {
			return t
		}
	}
	return time.Time{}
}

// quiet reports whether it is quiet in one of the places. It asks the clocks there, so it is right on the days on which they change.
func quiet(windows []config.QuietHours, places []*time.Location, t time.Time) bool {
	for _, w := range windows {
		from, _ := config.ClockTime(w.From)
		to, _ := config.ClockTime(w.To)
		in := places
		if w.Zone != "" {
			in = []*time.Location{location(w.Zone)}
		}
		for _, place := range in {
			local := t.In(place)
			minute, day := 60*local.Hour()+local.Minute(), local.Weekday()
			if from < to && from <= minute && minute < to && on(w, day) ||
				from >= to && (minute >= from && on(w, day) || minute < to && on(w, (day+6)%7)) {
				return true
			}
		}
	}
	return false
}

func on(w config.QuietHours, day time.Weekday) bool {
	return len(w.Days) == 0 || slices.Contains(w.Days, config.Days[day])
}

func applies(q config.QuietHours, m Message) bool {
	classes := q.Classes
	if len(classes) == 0 {
		classes = config.MarketingOnly
	}
	return slices.Contains(classes, string(m.Class)) && (len(q.Campaigns) == 0 || slices.Contains(q.Campaigns, m.Campaign))
}

package schedules

import (
	"cmp"
	"slices"
	"strconv"
	"time"
	_ "time/tzdata" // images and machines without a time zone database

	"sluice/internal/httpapi"
)

// Timing is when a schedule sends.
type Timing struct {
	At       []string `json:"at" doc:"The times of a day, 1 to 24, like 09:00."`
	Days     []string `json:"days,omitempty" doc:"The days of the week: mon, tue, wed, thu, fri, sat, sun. Without days and dates it sends every day."`
	Dates    []int    `json:"dates,omitempty" doc:"The days of the month, in place of days: 1 to 31 from its first day, -1 to -31 from its last one. A month without such a day is left out; -1 is the last day of every month."`
	TimeZone string   `json:"time_zone,omitempty" doc:"The time zone of the times and days, a name of the IANA database like Europe/Berlin. Default: UTC."`
	FirstDay string   `json:"first_day,omitempty" doc:"The first day, like 2026-01-31. Default: at once."`
	LastDay  string   `json:"last_day,omitempty" doc:"The last day. Default: without end."`
}

const (
	maxTimes  = 24
	clockForm = "15:04"
	// mostDays is more than the days between two days of a Timing: of dates like 31, at most 62.
	mostDays = 70
)

// weekdays are the names of the days of the week, by time.Weekday.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// rule is a Timing that was checked.
type rule struct {
	at          []time.Duration // after midnight, in ascending order
	days        []string
	dates       []int
	zone        *time.Location
	first, last time.Time // days, as midnight in UTC; zero: without limit
}

// rule checks a Timing.
func (t Timing) rule() (r rule, refused httpapi.Refusal) {
	refuse := func(path, code string) { refused = append(refused, httpapi.Problem(path, code)) }
	if len(t.At) == 0 || len(t.At) > maxTimes {
		refuse("at", "schedule_time_invalid")
	}
	for i, text := range t.At {
		at, err := time.Parse(clockForm, text)
		if err != nil || len(text) != len(clockForm) {
			refuse("at["+strconv.Itoa(i)+"]", "schedule_time_invalid")
		}
		r.at = append(r.at, time.Duration(at.Hour())*time.Hour+time.Duration(at.Minute())*time.Minute)
	}
	slices.Sort(r.at)
	for i, day := range t.Days {
		if !slices.Contains(weekdays, day) {
			refuse("days["+strconv.Itoa(i)+"]", "schedule_day_invalid")
		}
	}
	for i, date := range t.Dates {
		if date == 0 || date < -31 || date > 31 {
			refuse("dates["+strconv.Itoa(i)+"]", "schedule_day_invalid")
		}
	}
	if len(t.Days) > 0 && len(t.Dates) > 0 {
		refuse("dates", "schedule_day_invalid")
	}
	r.days, r.dates = t.Days, t.Dates
	var err error
	if r.zone, err = time.LoadLocation(cmp.Or(t.TimeZone, "UTC")); err != nil || t.TimeZone == "Local" {
		refuse("time_zone", "time_zone_unknown")
	}
	for path, day := range map[string]*time.Time{"first_day": &r.first, "last_day": &r.last} {
		text := map[string]string{"first_day": t.FirstDay, "last_day": t.LastDay}[path]
		if *day, err = time.Parse(time.DateOnly, text); text != "" && err != nil {
			refuse(path, "schedule_day_invalid")
		}
	}
	return r, refused
}

// next returns the first tick after a time; zero: there is none.
func (r rule) next(after time.Time) time.Time {
	local := wall(after.In(r.zone))
	day := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.UTC) // before a moment the clock shows less than what it is the moment of
	if day.Before(r.first) {
		day = r.first
	}
	for range mostDays {
		if !r.last.IsZero() && day.After(r.last) {
			return time.Time{}
		}
		if r.has(day) {
			for _, at := range r.at {
				if tick := moment(day.Add(at), r.zone); tick.After(after) {
					return tick
				}
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}
}

// has reports whether the schedule sends on a day.
func (r rule) has(day time.Time) bool {
	if len(r.days) > 0 {
		return slices.Contains(r.days, weekdays[day.Weekday()])
	}
	toEnd := day.Day() - time.Date(day.Year(), day.Month()+1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, -1).Day() - 1
	return len(r.dates) == 0 || slices.Contains(r.dates, day.Day()) || slices.Contains(r.dates, toEnd)
}

// moment returns the first moment at which the clocks of a time zone show a time, given as a time in UTC. If the clocks jump over it, it
// is the moment of the jump. time.Date promises neither.
func moment(shown time.Time, zone *time.Location) time.Time {
	t := time.Date(shown.Year(), shown.Month(), shown.Day(), shown.Hour(), shown.Minute(), 0, 0, zone)
	start, end := t.ZoneBounds()
	switch wall(t).Compare(shown) {
	case 1: // with the offset of before the jump
		return start.UTC()
	case -1: // with the offset of after the jump
		return end.UTC()
	}
	if !start.IsZero() {
		_, offset := start.Add(-1).Zone()
		if earlier := shown.Add(-time.Duration(offset) * time.Second); earlier.Before(start) {
			return earlier
		}
	}
	return t.UTC()
}

// wall returns what the clocks of the time zone of t show, as a time in UTC.
func wall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

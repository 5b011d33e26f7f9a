package pages

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// schedule is a schedule, as the console API lists it.
type schedule struct {
	Name     string
	Client   string // empty: of no client
	At       []string
	Days     []string
	Dates    []int
	TimeZone string `json:"time_zone"`
	FirstDay string `json:"first_day"`
	LastDay  string `json:"last_day"`
	Paused   bool
	Number   string `json:"phone_number_id"`
	To       string
	Key      string `json:"api_key"`
	Next     []time.Time
	Last     *scheduleTick
	Skipped  int
}

// scheduleTick is the last tick of a schedule.
type scheduleTick struct {
	At           time.Time
	Result       string
	Message      string `json:"message_id"`
	Code, Detail string
}

// When says at which times a schedule sends.
func (s schedule) When() string {
	days := "every day"
	switch {
	case len(s.Days) > 0:
		days = strings.Join(s.Days, ", ")
	case len(s.Dates) > 0:
		days = "on " + strings.Trim(strings.ReplaceAll(fmt.Sprint(s.Dates), " ", ", "), "[]") + " of the month"
	}
	text := days + " at " + strings.Join(s.At, ", ") + " " + s.TimeZone
	if s.FirstDay != "" {
		text += ", from " + s.FirstDay
	}
	if s.LastDay != "" {
		text += ", until " + s.LastDay
	}
	return text
}

func schedulesPage() page {
	return page{
		name: "schedules", path: "schedules", title: "Schedules", nav: true, live: true,
		read: func(v *view) (any, *problem) {
			var list struct{ Schedules []schedule }
			failed := v.console("GET", "/v1/schedules", nil, &list)
			return list.Schedules, failed
		},
		acts: map[string]func(*view) (done, *problem){"remove": func(v *view) (done, *problem) {
			name := v.field("name")
			var result struct{}
			failed := v.console("POST", "/v1/schedules/"+url.PathEscape(name)+"/remove", v.order(map[string]any{"client": v.field("client")}), &result)
			return done{text: "Removed: schedule " + name + ". Messages that were accepted stay."}, failed
		}},
	}
}

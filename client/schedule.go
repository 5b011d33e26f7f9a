package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// ScheduleTiming is when a schedule sends, by the clock of its time zone. A time that the clock jumps over is sent at the moment of the
// jump, and a time that comes twice is sent the first time.
type ScheduleTiming struct {
	At       []string `json:"at"`                  // times of a day, 1 to 24, like 09:00
	Days     []string `json:"days,omitempty"`      // mon, tue, wed, thu, fri, sat, sun; without days and dates every day
	Dates    []int    `json:"dates,omitempty"`     // days of the month: 1 to 31, or -1 to -31 from its end
	TimeZone string   `json:"time_zone,omitempty"` // of the IANA database; empty: UTC
	FirstDay string   `json:"first_day,omitempty"` // the first day, like 2026-01-31; empty: at once
	LastDay  string   `json:"last_day,omitempty"`  // the last day; empty: without end
}

// ScheduleOrder is a schedule to store.
type ScheduleOrder struct {
	ScheduleTiming
	Paused  bool `json:"paused,omitempty"` // it sends nothing, also not later
	Request any  `json:"request"`          // a Message without Key, SendAt, ExpiresAt and After
}

// Schedule is a stored schedule.
type Schedule struct {
	Name string `json:"name"`
	ScheduleTiming
	Paused        bool            `json:"paused"`
	Request       json.RawMessage `json:"request,omitempty"` // the JSON of a Message; nil in the answer of Schedules
	PhoneNumberID string          `json:"phone_number_id"`   // that sends
	To            string          `json:"to"`                // the masked recipient
	APIKey        string          `json:"api_key"`           // the name of the API key that stored it, with whose rights it sends
	ChangedAt     time.Time       `json:"changed_at"`
	Next          []time.Time     `json:"next"`               // the next 5 ticks
	Last          *ScheduleTick   `json:"last,omitempty"`     // nil: there was none
	Skipped       int             `json:"skipped"`            // ticks that were an hour old before a message could be accepted
	Warnings      []Mistake       `json:"warnings,omitempty"` // possible mistakes, in the answer of SetSchedule
}

// ScheduleTick is what became of a tick of a schedule.
type ScheduleTick struct {
	At        time.Time `json:"at"`
	Result    string    `json:"result"`               // accepted, refused, waiting (it is tried again) or skipped
	MessageID string    `json:"message_id,omitempty"` // of the accepted message
	Code      string    `json:"code,omitempty"`       // why it was not accepted, as in Problem
	Detail    string    `json:"detail,omitempty"`
}

// Schedules lists the schedules of the client of the API key, or of none, by name.
func (c *Client) Schedules(ctx context.Context) ([]Schedule, error) {
	var answer struct {
		Schedules []Schedule `json:"schedules"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/schedules"}, &answer)
	return answer.Schedules, err
}

// Schedule returns a schedule. If there is none, the error is a *Problem with the code schedule_not_found.
func (c *Client) Schedule(ctx context.Context, name string) (s Schedule, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: schedulePath(name)}, &s)
	return s, err
}

// SetSchedule stores a schedule, in place of the one with the name. It can be repeated.
func (c *Client) SetSchedule(ctx context.Context, name string, o ScheduleOrder) (s Schedule, err error) {
	body, err := json.Marshal(o)
	if err != nil {
		return s, err
	}
	err = c.do(ctx, request{method: http.MethodPut, path: schedulePath(name), body: body}, &s)
	return s, err
}

// DeleteSchedule deletes a schedule. Messages that were accepted stay.
func (c *Client) DeleteSchedule(ctx context.Context, name string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: schedulePath(name)}, nil)
}

func schedulePath(name string) string { return "/v1/schedules/" + url.PathEscape(name) }

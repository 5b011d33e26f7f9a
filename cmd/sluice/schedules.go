package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"sluice/client"
)

type schedulesCmd struct {
	List   schedulesListCmd   `cmd:"" help:"List the schedules, with their next and last ticks."`
	Show   schedulesShowCmd   `cmd:"" help:"Show a schedule: its times, its next ticks, and what became of the last one. With --json also its message."`
	Set    schedulesSetCmd    `cmd:"" help:"Store a schedule, in place of the one with the name."`
	Remove schedulesRemoveCmd `cmd:"" help:"Delete a schedule. Messages that were accepted stay."`
}

type schedulesListCmd struct{ apiFlags }

// Run lists the schedules.
func (c schedulesListCmd) Run(ctx context.Context) error {
	return c.ask(ctx, "GET", "/v1/schedules", nil, read(func(t table, a struct{ Schedules []client.Schedule }) {
		t.row("NAME", "NUMBER", "TO", "TIMES", "NEXT", "LAST", "RESULT", "SKIPPED")
		for _, s := range a.Schedules {
			last, result := "-", "-"
			if s.Last != nil {
				last, result = s.Last.At.Format(time.RFC3339), cmp.Or(s.Last.Code, s.Last.Result)
			}
			t.row(s.Name, s.PhoneNumberID, s.To, timesOf(s.ScheduleTiming), nextOf(s), last, result, s.Skipped)
		}
	}))
}

// timesOf describes when a schedule sends.
func timesOf(s client.ScheduleTiming) string {
	days := strings.Join(s.Days, ",")
	for i, date := range s.Dates {
		if i > 0 {
			days += ","
		}
		days += strconv.Itoa(date)
	}
	return cmp.Or(days, "daily") + " " + strings.Join(s.At, ",") + " " + s.TimeZone
}

// nextOf describes the next tick of a schedule.
func nextOf(s client.Schedule) string {
	switch {
	case s.Paused:
		return "paused"
	case len(s.Next) == 0:
		return "over"
	}
	return s.Next[0].Format(time.RFC3339)
}

// scheduleFlags name a schedule.
type scheduleFlags struct {
	Name string `arg:"" help:"The name of the schedule."`
	apiFlags
}

func (f scheduleFlags) path() string { return "/v1/schedules/" + url.PathEscape(f.Name) }

type schedulesShowCmd struct{ scheduleFlags }

// Run shows a schedule.
func (c schedulesShowCmd) Run(ctx context.Context) error {
	return c.ask(ctx, "GET", c.path(), nil, read(showSchedule))
}

// showSchedule prints a schedule without its message.
func showSchedule(t table, s client.Schedule) {
	t.row("name", s.Name)
	t.row("number", s.PhoneNumberID)
	t.row("to", s.To)
	t.row("API key", s.APIKey)
	t.row("times", timesOf(s.ScheduleTiming))
	if s.FirstDay != "" || s.LastDay != "" {
		t.row("first day", cmp.Or(s.FirstDay, "-"))
		t.row("last day", cmp.Or(s.LastDay, "-"))
	}
	t.row("changed", s.ChangedAt.Format(time.RFC3339))
	t.row("next", nextOf(s))
	for _, next := range s.Next[min(1, len(s.Next)):] {
		t.row("", next.Format(time.RFC3339))
	}
	if s.Last != nil {
		t.row("last", s.Last.At.Format(time.RFC3339))
		t.row("result", strings.TrimSpace(strings.Join([]string{s.Last.Result, s.Last.MessageID, s.Last.Code, s.Last.Detail}, " ")))
	}
	t.row("skipped", s.Skipped)
	for _, w := range s.Warnings {
		t.row("warning", w.Path+": "+w.Detail)
	}
}

type schedulesSetCmd struct {
	scheduleFlags
	File     string   `arg:"" help:"File with the message: the body of a request to send (from, message and so on), without key, send_at, expires_at and after. - reads it from the standard input." placeholder:"FILE"`
	At       []string `required:"" help:"Time of a day, like 09:00; several times: several a day." placeholder:"TIME"`
	Day      []string `help:"Day of the week: mon, tue, wed, thu, fri, sat, sun; several times: several days. Without --day and --date it sends every day." placeholder:"DAY"`
	Date     []int    `help:"Day of the month: 1 to 31, or from the end of the month, as --date=-1 (the last day) to --date=-31; several times: several days." placeholder:"N"`
	TimeZone string   `help:"Time zone of the times and days, like Europe/Berlin. Default: UTC." placeholder:"ZONE"`
	FirstDay string   `help:"First day, like 2026-01-31." placeholder:"DAY"`
	LastDay  string   `help:"Last day." placeholder:"DAY"`
	Paused   bool     `help:"Store it, and send nothing."`
}

// Run stores a schedule.
func (c schedulesSetCmd) Run(ctx context.Context) error {
	order, err := c.order(os.Stdin)
	if err != nil {
		return err
	}
	return c.ask(ctx, "PUT", c.path(), order, read(showSchedule))
}

// order returns the schedule of the flags.
func (c schedulesSetCmd) order(in io.Reader) (o client.ScheduleOrder, err error) {
	var message []byte
	if c.File == "-" {
		message, err = io.ReadAll(in)
	} else {
		message, err = os.ReadFile(c.File)
	}
	if err != nil {
		return o, fmt.Errorf("read the message: %w", err)
	}
	if !json.Valid(message) {
		return o, fmt.Errorf("%s has no valid JSON. It needs the body of POST /v1/messages", c.File)
	}
	return client.ScheduleOrder{
		ScheduleTiming: client.ScheduleTiming{At: c.At, Days: c.Day, Dates: c.Date, TimeZone: c.TimeZone, FirstDay: c.FirstDay, LastDay: c.LastDay},
		Paused:         c.Paused, Request: json.RawMessage(message),
	}, nil
}

type schedulesRemoveCmd struct{ scheduleFlags }

// Run deletes a schedule.
func (c schedulesRemoveCmd) Run(ctx context.Context) error {
	return c.ask(ctx, "DELETE", c.path(), nil, read(func(t table, s client.Schedule) {
		t.row("The schedule " + s.Name + " is deleted. Messages that were accepted stay.")
	}))
}

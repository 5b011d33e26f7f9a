package main

import (
	"context"
	"errors"
	"strings"
	"time"
)

type resendCmd struct {
	Number   string    `arg:"" help:"Phone number id of the sender."`
	State    *string   `help:"How they ended: failed, rejected, expired or dead, or several with commas; without it all of these." placeholder:"STATES"`
	Code     *int      `help:"With this last error code of Meta's; 0: with none." placeholder:"CODE"`
	Template *string   `help:"Of this template, as name/language." placeholder:"NAME/LANG"`
	Tag      *string   `help:"Accepted with this tag." placeholder:"TAG"`
	Since    time.Time `help:"They ended then or later, 2026-01-31T15:04:05Z for example." placeholder:"TIME"`
	Until    time.Time `help:"They ended then or before." placeholder:"TIME"`
	Go       bool      `help:"Do it; without this they are counted only."`
	Limit    *int      `help:"How many at most; 10000 without it." placeholder:"N"`
	Rate     int       `default:"10" help:"How many a second become due."`
	Extend   *string   `help:"Give each a new deadline, so long from when it becomes due: 2h for example. Without it those whose deadline has passed stay as they are." placeholder:"TIME"`
	Reason   string    `help:"Why, for those who wonder later; needed with --go."`
	Actor    string    `help:"Who orders it; your user name without." placeholder:"NAME"`
	consoleFlags
}

// Validate is called when the command line was read.
func (r resendCmd) Validate() error {
	switch {
	case r.Go && strings.TrimSpace(r.Reason) == "":
		return errors.New("--reason says why, for those who wonder later")
	case r.Rate < 1 || r.Rate > 500:
		return errors.New("--rate is 1 to 500 a second")
	}
	return nil
}

// Run counts messages that ended undelivered, and with --go sends those again that can be.
func (r resendCmd) Run(ctx context.Context) error {
	if !r.Go {
		return r.ask(ctx, "GET", query("/v1/undelivered", "phone_number_id", &r.Number, "state", r.State, "code", r.Code, "template", r.Template, "tag", r.Tag, "since", stamp(r.Since), "until", stamp(r.Until)), nil, read(showEnded))
	}
	order := signature{Reason: r.Reason, Actor: r.Actor}.order(map[string]any{
		"phone_number_id": r.Number, "state": r.State, "code": r.Code, "template": r.Template, "tag": r.Tag, "since": stamp(r.Since), "until": stamp(r.Until),
		"limit": r.Limit, "rate": r.Rate, "extend": r.Extend,
	})
	return r.ask(ctx, "POST", "/v1/undelivered/resend", order, read(func(t table, a struct {
		Resent, Overdue int
		ContentDropped  int `json:"content_dropped"`
		MaybeDelivered  int `json:"maybe_delivered"`
		Last            time.Time
		More            bool
	},
	) {
		t.row(a.Resent, "queued again, the last due "+clock(a.Last, "never"))
		t.row(a.Overdue, "left: their deadline has passed (--extend gives a new one)")
		t.row(a.ContentDropped, "left: their content is not kept; the caller must send them as new messages")
		t.row(a.MaybeDelivered, "left: Meta may have delivered them")
		if a.More {
			t.row("", "there are more: give the command again")
		}
	}))
}

// counts is what is answered of messages that ended.
type counts struct {
	Count, Resendable, Overdue int
	ContentDropped             int `json:"content_dropped"`
	MaybeDelivered             int `json:"maybe_delivered"`
	Groups                     []struct {
		State, Reason           string
		Code, Count, Resendable int
		First, Last             time.Time
	}
}

func showEnded(t table, a counts) {
	t.row("STATE", "CODE", "REASON", "COUNT", "RESENDABLE", "FIRST", "LAST")
	for _, g := range a.Groups {
		t.row(g.State, g.Code, g.Reason, g.Count, g.Resendable, clock(g.First, "-"), clock(g.Last, "-"))
	}
	t.row(a.Resendable, "of", a.Count, "can be sent again: give --go and --reason")
	t.row(a.Overdue, "of these only with --extend: their deadline has passed")
	t.row(a.ContentDropped, "cannot: their content is not kept; the caller must send them as new messages")
	t.row(a.MaybeDelivered, "cannot: Meta may have delivered them")
}

// stamp writes a time as the console reads it; nil for none.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.Format(time.RFC3339Nano)
	return &s
}

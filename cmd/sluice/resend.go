package main

import (
	"context"
	"errors"
	"strings"
	"time"
)

type resendCmd struct {
	Number   string    `arg:"" name:"phone-number-id" help:"Phone number id of the sender."`
	State    *string   `help:"Ended in this state: failed, rejected, expired or dead, or several separated by commas. Default: all four." placeholder:"STATES"`
	Code     *int      `help:"With this last error code from Meta. 0: without a code." placeholder:"CODE"`
	Template *string   `help:"Of this template, as name/language." placeholder:"NAME/LANG"`
	Tag      *string   `help:"Accepted with this tag." placeholder:"TAG"`
	Campaign *string   `help:"Of this campaign." placeholder:"NAME"`
	Client   *string   `help:"With --campaign: of this client. Default: the client of the API key." placeholder:"NAME"`
	Since    time.Time `help:"Ended at this time or later, for example 2026-01-31T15:04:05Z." placeholder:"TIME"`
	Until    time.Time `help:"Ended at this time or earlier." placeholder:"TIME"`
	Confirm  bool      `help:"Send them again. Without it they are only counted."`
	Limit    *int      `help:"Maximum number of messages. Default: 10000." placeholder:"N"`
	Rate     int       `default:"10" help:"How many messages per second become due to be sent again."`
	Extend   *string   `help:"Give each message a new deadline, this long after it becomes due, for example 2h. Without it messages whose deadline has passed stay as they are." placeholder:"TIME"`
	Reason   string    `help:"Why, for the audit log. Needed with --confirm."`
	Actor    string    `help:"Who does this, for the audit log. Default: your user name." placeholder:"NAME"`
	consoleFlags
}

// Validate is called when the command line was read.
func (r resendCmd) Validate() error {
	switch {
	case r.Confirm && strings.TrimSpace(r.Reason) == "":
		return errors.New("--reason is missing: say why, for the audit log")
	case r.Rate < 1 || r.Rate > 500:
		return errors.New("--rate must be 1 to 500 messages per second")
	}
	return nil
}

// Run counts messages that ended undelivered, and with --confirm sends those again that can be.
func (r resendCmd) Run(ctx context.Context) error {
	if !r.Confirm {
		return r.ask(ctx, "GET", query("/v1/undelivered", "phone_number_id", &r.Number, "state", r.State, "code", r.Code, "template", r.Template, "tag", r.Tag, "campaign", r.Campaign, "client", r.Client, "since", stamp(r.Since), "until", stamp(r.Until)), nil, read(showEnded))
	}
	order := signature{Reason: r.Reason, Actor: r.Actor}.order(map[string]any{
		"phone_number_id": r.Number, "state": r.State, "code": r.Code, "template": r.Template, "tag": r.Tag, "campaign": r.Campaign, "client": r.Client,
		"since": stamp(r.Since), "until": stamp(r.Until), "limit": r.Limit, "rate": r.Rate, "extend": r.Extend,
	})
	return r.ask(ctx, "POST", "/v1/undelivered/resend", order, read(func(t table, a struct {
		Resent, Overdue int
		ContentDropped  int `json:"content_dropped"`
		MaybeDelivered  int `json:"maybe_delivered"`
		Last            time.Time
		More            bool
	},
	) {
		last := ""
		if a.Resent > 0 {
			last = ", the last due " + clock(a.Last, "-")
		}
		t.row(a.Resent, "queued again"+last)
		t.row(a.Overdue, "not sent: their deadline has passed (--extend gives a new one)")
		t.row(a.ContentDropped, "not sent: their content is not stored any more. The caller must send them as new messages")
		t.row(a.MaybeDelivered, "not sent: Meta may have delivered them")
		if a.More {
			t.row("", "there are more: run the command again")
		}
	}))
}

// counts is the answer of GET /v1/undelivered.
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
	t.row(a.Resendable, "of", a.Count, "messages can be sent again with --confirm and --reason")
	t.row(a.Overdue, "of the messages that can be sent again need --extend, because their deadline has passed")
	t.row(a.ContentDropped, "cannot be sent again: their content is not stored any more. The caller must send them as new messages")
	t.row(a.MaybeDelivered, "cannot be sent again: Meta may have delivered them")
}

// stamp writes a time as the console reads it. nil: no time.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.Format(time.RFC3339Nano)
	return &s
}

package main

import (
	"context"
	"net/url"
	"time"

	"sluice/internal/message"
)

type doubtsCmd struct {
	List    listDoubtsCmd `cmd:"" default:"withargs" help:"List them, those that wait longest first."`
	Resolve resolveCmd    `cmd:"" help:"Settle one."`
}

type listDoubtsCmd struct {
	Number *string `help:"Only those of this phone number id." placeholder:"NUMBER"`
	Limit  *string `default:"100" help:"How many."`
	consoleFlags
}

// Run lists the messages of which nobody knows whether Meta took them.
func (d listDoubtsCmd) Run(ctx context.Context) error {
	type doubt struct {
		ID      string
		State   message.State
		Class   message.Class
		To      string
		Ref     string
		Reason  string
		Since   time.Time
		Until   time.Time
		Attempt int
	}
	return d.ask(ctx, "GET", query("/v1/in-doubt", "phone_number_id", d.Number, "limit", d.Limit), nil, read(func(t table, a struct{ Messages []doubt }) {
		t.row("MESSAGE", "STATE", "SINCE", "UNTIL", "CLASS", "TO", "REF", "ATTEMPT", "REASON")
		for _, d := range a.Messages {
			t.row(d.ID, d.State, clock(d.Since, "-"), clock(d.Until, "resolved"), d.Class, d.To, d.Ref, d.Attempt, d.Reason)
		}
	}))
}

type resolveCmd struct {
	ID string `arg:"" help:"The message's id."`
	As string `arg:"" enum:"sent,not-sent,cancel" help:"sent: Meta took it. not-sent: it did not, and it is sent again. cancel: whether or not, it is not."`
	signature
	consoleFlags
}

// Run settles a doubt by a person's word.
func (r resolveCmd) Run(ctx context.Context) error {
	return r.ask(ctx, "POST", "/v1/in-doubt/"+url.PathEscape(r.ID)+"/resolve", r.order(map[string]any{"resolution": r.As}), read(showState))
}

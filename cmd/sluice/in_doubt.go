package main

import (
	"context"
	"net/url"
	"time"

	"sluice/internal/message"
)

type inDoubtCmd struct {
	List    listInDoubtCmd `cmd:"" default:"withargs" help:"List the messages that are in doubt or parked. Those that wait longest come first."`
	Resolve resolveCmd     `cmd:"" help:"Say whether Meta took an in-doubt or parked message. The resolution not-sent sends it again."`
}

type listInDoubtCmd struct {
	Number *string `name:"phone-number-id" help:"Only messages from this phone number id." placeholder:"ID"`
	Limit  *string `default:"100" help:"How many messages to show."`
	consoleFlags
}

// Run lists messages of which it is unknown whether Meta accepted them.
func (d listInDoubtCmd) Run(ctx context.Context) error {
	type inDoubt struct {
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
	return d.ask(ctx, "GET", query("/v1/in-doubt", "phone_number_id", d.Number, "limit", d.Limit), nil, read(func(t table, a struct{ Messages []inDoubt }) {
		t.row("MESSAGE", "STATE", "SINCE", "UNTIL", "CLASS", "TO", "REF", "ATTEMPT", "REASON")
		for _, d := range a.Messages {
			t.row(d.ID, d.State, clock(d.Since, "-"), clock(d.Until, "an operator decides"), d.Class, d.To, d.Ref, d.Attempt, d.Reason)
		}
	}))
}

type resolveCmd struct {
	ID         string `arg:"" help:"The id of the message."`
	Resolution string `arg:"" enum:"sent,not-sent,cancel" help:"sent: Meta accepted the message. not-sent: Meta did not accept it, and Sluice SENDS IT AGAIN. cancel: it is unknown or not important whether Meta accepted it; Sluice does not send it again."`
	signature
	consoleFlags
}

// Run decides about an in-doubt message.
func (r resolveCmd) Run(ctx context.Context) error {
	return r.ask(ctx, "POST", "/v1/in-doubt/"+url.PathEscape(r.ID)+"/resolve", r.order(map[string]any{"resolution": r.Resolution}), read(showState))
}

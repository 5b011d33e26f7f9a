package main

import (
	"cmp"
	"context"
	"time"

	"sluice/internal/message"
)

type awaitingStatusCmd struct {
	Number *string `name:"phone-number-id" help:"Only messages from this phone number id." placeholder:"ID"`
	Limit  *string `default:"100" help:"How many messages to show."`
	consoleFlags
}

// Run lists messages that Meta accepted and sent no status for.
func (u awaitingStatusCmd) Run(ctx context.Context) error {
	type awaiting struct {
		ID      string
		Class   message.Class
		To      string
		Ref     string
		WAMID   string
		Reason  string
		Attempt int
		Since   time.Time
	}
	return u.ask(ctx, "GET", query("/v1/awaiting-status", "phone_number_id", u.Number, "limit", u.Limit), nil, read(func(t table, a struct{ Messages []awaiting }) {
		t.row("MESSAGE", "SINCE", "CLASS", "TO", "REF", "ATTEMPT", "REASON", "WAMID")
		for _, o := range a.Messages {
			t.row(o.ID, clock(o.Since, "-"), o.Class, o.To, o.Ref, o.Attempt, cmp.Or(o.Reason, "-"), o.WAMID)
		}
	}))
}

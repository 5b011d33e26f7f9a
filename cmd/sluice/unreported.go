package main

import (
	"context"
	"time"

	"sluice/internal/message"
)

type unreportedCmd struct {
	Number *string `help:"Only those of this phone number id." placeholder:"NUMBER"`
	Limit  *string `default:"100" help:"How many."`
	consoleFlags
}

// Run lists the messages that Meta took and said nothing of since.
func (u unreportedCmd) Run(ctx context.Context) error {
	type owed struct {
		ID      string
		Class   message.Class
		To      string
		Ref     string
		WAMID   string
		Attempt int
		Since   time.Time
	}
	return u.ask(ctx, "GET", query("/v1/awaiting-status", "phone_number_id", u.Number, "limit", u.Limit), nil, read(func(t table, a struct{ Messages []owed }) {
		t.row("MESSAGE", "SINCE", "CLASS", "TO", "REF", "ATTEMPT", "WAMID")
		for _, o := range a.Messages {
			t.row(o.ID, clock(o.Since, "-"), o.Class, o.To, o.Ref, o.Attempt, o.WAMID)
		}
	}))
}

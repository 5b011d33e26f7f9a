package main

import (
	"context"
	"strconv"
	"time"

	"sluice/internal/holdpolicy"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// targetFlags say what to hold or release.
type targetFlags struct {
	Number   *string `arg:"" optional:"" name:"phone-number-id" help:"The messages from this phone number id. Without it give --tag, --campaign or --all."`
	Template *string `help:"Only messages of this template of the number, as name/language, for example order_update/en_US." placeholder:"NAME/LANG"`
	Tag      *string `help:"Only messages that were accepted with this tag, from the number or from all numbers." placeholder:"TAG"`
	Campaign *string `help:"Only messages of this campaign, from the number or from all numbers." placeholder:"NAME"`
	Client   *string `help:"With --campaign: the client of the messages. Default: the client of the API key." placeholder:"NAME"`
	All      bool    `help:"All messages. release --all ends only the hold that hold --all set, and holds of numbers, templates, tags and campaigns stay."`
}

func (h targetFlags) what() map[string]any {
	return map[string]any{"phone_number_id": h.Number, "template": h.Template, "tag": h.Tag, "campaign": h.Campaign, "client": h.Client, "all": h.All}
}

type holdCmd struct {
	targetFlags
	For *string `help:"How long, for example 15m or 24h. Without it the hold lasts until it is released." placeholder:"TIME"`
	signature
	consoleFlags
}

// Run sets a hold.
func (h holdCmd) Run(ctx context.Context) error {
	what := h.what()
	what["for"] = h.For
	return h.ask(ctx, "POST", "/v1/holds", h.order(what), read(func(t table, one hold) { showHolds(t, one) }))
}

type releaseCmd struct {
	targetFlags
	signature
	consoleFlags
}

// Run releases a hold.
func (r releaseCmd) Run(ctx context.Context) error {
	return r.ask(ctx, "POST", "/v1/holds/release", r.order(r.what()), read(func(t table, a struct{ Released bool }) {
		if !a.Released {
			t.row("There was no such hold. `sluice holds` lists the holds.")
		}
	}))
}

type holdsCmd struct{ consoleFlags }

// Run lists the holds.
func (h holdsCmd) Run(ctx context.Context) error {
	return h.ask(ctx, "GET", "/v1/holds", nil, read(func(t table, a struct{ Holds []hold }) {
		if len(a.Holds) == 0 {
			t.row("There are no holds.")
			return
		}
		showHolds(t, a.Holds...)
	}))
}

// hold is a hold as the console shows it.
type hold struct {
	httpapi.Hold
	HeldMessages *int `json:"held_messages"`
}

func showHolds(t table, holds ...hold) {
	t.row("TARGET", "SINCE", "ACTOR", "META'S CODE", "HELD MESSAGES", "ENDS", "REASON")
	for _, h := range holds {
		held := "-"
		if h.HeldMessages != nil {
			held = strconv.Itoa(*h.HeldMessages)
		}
		ends := holdpolicy.Ends(message.Hold{Number: h.Number, Template: h.Template, By: h.Actor, Until: h.Until}, time.Local)
		t.row(h.Target(), clock(h.Since, "-"), h.Actor, count(h.Code), held, ends, h.Reason)
	}
}

type auditCmd struct {
	Limit *string `default:"100" help:"How many entries to show. The latest comes first."`
	consoleFlags
}

// Run lists the audit log.
func (a auditCmd) Run(ctx context.Context) error {
	return a.ask(ctx, "GET", query("/v1/audit", "limit", a.Limit), nil, read(func(t table, log auditLog) {
		t.row("AT", "ACTION", "TARGET", "ACTOR", "API KEY", "REASON")
		for _, e := range log.Entries {
			t.row(clock(e.At.Truncate(time.Second), "-"), e.Action, e.Target, e.Actor, e.APIKeyName, e.Reason)
		}
	}))
}

// auditLog is what GET /v1/audit answers.
type auditLog struct {
	Entries []struct {
		At                            time.Time
		Action, Target, Actor, Reason string
		APIKeyName                    string `json:"api_key_name"`
	}
}

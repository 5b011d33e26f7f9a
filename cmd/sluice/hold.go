package main

import (
	"context"
	"time"

	"sluice/internal/httpapi"
)

// heldFlags say what is held.
type heldFlags struct {
	Number   *string `arg:"" optional:"" help:"Phone number id; without one give --tag or --all."`
	Template *string `help:"Only this template of the number, as name/language: order_update/en_US." placeholder:"NAME/LANG"`
	Tag      *string `help:"Only what was accepted with this tag, a campaign's say; of the number, or of all." placeholder:"TAG"`
	All      bool    `help:"Everything there is."`
}

func (h heldFlags) what() map[string]any {
	return map[string]any{"phone_number_id": h.Number, "template": h.Template, "tag": h.Tag, "all": h.All}
}

type holdCmd struct {
	heldFlags
	For *string `help:"How long, 15m or 24h say; without it until resume." placeholder:"TIME"`
	signature
	consoleFlags
}

// Run keeps messages from being sent.
func (h holdCmd) Run(ctx context.Context) error {
	what := h.what()
	what["for"] = h.For
	return h.ask(ctx, "POST", "/v1/holds", h.order(what), read(func(t table, one httpapi.Hold) { showHolds(t, one) }))
}

type resumeCmd struct {
	heldFlags
	signature
	consoleFlags
}

// Run ends a hold: what it kept goes on in its order.
func (r resumeCmd) Run(ctx context.Context) error {
	return r.ask(ctx, "POST", "/v1/holds/release", r.order(r.what()), read(func(t table, a struct{ Released bool }) {
		if !a.Released {
			t.row("nothing was held")
		}
	}))
}

type holdsCmd struct{ consoleFlags }

// Run lists what is held, and why.
func (h holdsCmd) Run(ctx context.Context) error {
	return h.ask(ctx, "GET", "/v1/holds", nil, read(func(t table, a struct{ Holds []httpapi.Hold }) { showHolds(t, a.Holds...) }))
}

func showHolds(t table, holds ...httpapi.Hold) {
	t.row("TARGET", "SINCE", "UNTIL", "ACTOR", "CODE", "REASON")
	for _, h := range holds {
		t.row(h.Target(), clock(h.Since, "-"), clock(h.Until, "released"), h.Actor, h.Code, h.Reason)
	}
}

type auditCmd struct {
	Limit *string `default:"100" help:"How many, the latest first."`
	consoleFlags
}

// Run lists what was ordered: who, what, when and why.
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

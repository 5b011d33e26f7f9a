package main

import (
	"context"
	"net/url"
	"time"

	"sluice/internal/message"
)

type cancelCmd struct {
	ID string `arg:"" help:"The message's id."`
	apiFlags
}

// Run takes a message back.
func (c cancelCmd) Run(ctx context.Context) error {
	return c.ask(ctx, "POST", "/v1/messages/"+url.PathEscape(c.ID)+"/cancel", nil, read(showState))
}

type explainCmd struct {
	ID string `arg:"" help:"The message's id."`
	apiFlags
}

// Run tells what a message waits for.
func (c explainCmd) Run(ctx context.Context) error {
	type explanation struct {
		State     message.State
		Rule      string
		Detail    string
		Until     time.Time
		Reason    string
		Error     struct{ Title, Advice string }
		ExpiresAt time.Time `json:"expires_at"`
	}
	return c.ask(ctx, "GET", "/v1/messages/"+url.PathEscape(c.ID)+"/explain", nil, read(func(t table, e explanation) {
		t.row("state", e.State)
		t.row("rule", e.Rule)
		t.row("", e.Detail)
		t.row("until", clock(e.Until, "-"))
		if e.Reason != "" {
			t.row("reason", e.Reason)
		}
		if e.Error.Title != "" {
			t.row("Meta", e.Error.Title)
			t.row("", e.Error.Advice)
		}
		t.row("expires", clock(e.ExpiresAt, "-"))
	}))
}

// state is what is answered of a message that was changed.
type state struct {
	ID    string
	State message.State
}

func showState(t table, s state) { t.row(s.ID, s.State) }

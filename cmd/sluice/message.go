package main

import (
	"context"
	"net/url"
	"strconv"

	"sluice/client"
	"sluice/internal/message"
)

type cancelCmd struct {
	ID string `arg:"" help:"The id of the message."`
	apiFlags
}

// Run cancels a message.
func (c cancelCmd) Run(ctx context.Context) error {
	return c.ask(ctx, "POST", "/v1/messages/"+url.PathEscape(c.ID)+"/cancel", nil, read(showState))
}

type explainCmd struct {
	ID string `arg:"" help:"The id of the message."`
	apiFlags
}

// Run explains what a message waits for.
func (c explainCmd) Run(ctx context.Context) error {
	return c.ask(ctx, "GET", "/v1/messages/"+url.PathEscape(c.ID)+"/explain", nil, read(func(t table, e client.Explanation) {
		t.row("state", e.State)
		t.row("waits for", e.Rule)
		t.row("", e.Detail)
		t.row("until", clock(e.Until, "-"))
		if e.Reason != "" {
			t.row("reason", e.Reason)
		}
		showError(e.Error, func(name, value string) { t.row(name, value) })
		t.row("expires", clock(e.ExpiresAt, "-"))
	}))
}

// showError calls line for each part of an error of Meta that has a value, with its name.
func showError(e client.MetaError, line func(name, value string)) {
	part := func(name, value string) {
		if value != "" {
			line(name, value)
		}
	}
	part("Meta", e.Title)
	if e.Code != nil {
		part("Meta's code", strconv.Itoa(*e.Code))
	}
	part("advice", e.Advice)
	showDetail(e.ErrorDetail, part)
}

// showDetail calls part with each member of what Meta said.
func showDetail(d client.ErrorDetail, part func(name, value string)) {
	part("Meta's message", d.Message)
	part("Meta's details", d.Details)
	if d.Subcode != 0 {
		part("error_subcode", strconv.Itoa(d.Subcode))
	}
	part("fbtrace_id", d.Trace)
}

// state is the answer to a request that changed a message.
type state struct {
	ID    string
	State message.State
}

func showState(t table, s state) { t.row(s.ID, s.State) }

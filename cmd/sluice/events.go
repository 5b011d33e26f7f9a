package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"sluice/client"
)

type eventsCmd struct {
	API           string             `default:"http://127.0.0.1:8080" env:"SLUICE_API" help:"Base URL of the API."`
	APIKey        string             `env:"SLUICE_API_KEY" required:"" help:"API key with the scope events:read. Set the environment variable rather than the flag."`
	From          string             `default:"now" help:"Where to start: now, oldest, or a time like 2026-01-31T12:00:00Z."`
	Type          []client.EventType `help:"Only these types: message, final, status, inbound, standby, handover, update, gap."`
	PhoneNumberID []string           `name:"phone-number-id" help:"Only events of these numbers." placeholder:"ID"`
	WABAID        []string           `name:"waba-id" help:"Only events from Meta of these WhatsApp Business Accounts." placeholder:"ID"`
	Tag           []string           `help:"Only events about messages with one of these tags."`
}

// Run prints events as they are written, until ctx ends.
func (e eventsCmd) Run(ctx context.Context) error { return e.print(ctx, os.Stdout, os.Stderr) }

// eventsRetry is how long events cannot be read before the command says so.
const eventsRetry = 2 * time.Second

// print prints events until ctx ends. It returns the error of the first request, and every refusal. After other failures it
// goes on.
func (e eventsCmd) print(ctx context.Context, out, log io.Writer) error {
	o := client.EventOptions{From: e.From, Types: e.Type, PhoneNumberIDs: e.PhoneNumberID, WABAIDs: e.WABAID, Tags: e.Tag}
	first, err := once(e.API, e.APIKey).ReadEvents(ctx, o, 0)
	if err != nil {
		return err
	}
	for _, event := range first.Events {
		if _, err := fmt.Fprintf(out, "%s\n", event.Raw); err != nil {
			return fmt.Errorf("print event: %w", err)
		}
	}
	o.Cursor = first.Cursor
	for event, err := range client.New(e.API, e.APIKey, client.WithRetryFor(eventsRetry)).Events(ctx, o) {
		p, refused := errors.AsType[*client.Problem](err)
		switch {
		case ctx.Err() != nil:
			return nil
		case refused && p.Status < 500 && p.Status != http.StatusTooManyRequests:
			return err
		case err != nil:
			fmt.Fprintln(log, "events cannot be read, trying again:", err)
			continue
		}
		if _, err := fmt.Fprintf(out, "%s\n", event.Raw); err != nil {
			return fmt.Errorf("print event: %w", err)
		}
	}
	return nil
}

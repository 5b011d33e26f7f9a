package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"sluice/internal/events"
	"sluice/internal/message"
)

type eventsCmd struct {
	From   string   `default:"$" help:"Where to start: $ for new events only, 0 for all stored events, or a time like 2026-01-31T12:00:00Z."`
	Type   []string `help:"Only these types: message, status, inbound, update, gap."`
	Config string   `env:"SLUICE_CONFIG" help:"Configuration file, for Redis and the number of shards." placeholder:"FILE"`
}

// Run prints events as they are written.
func (e eventsCmd) Run(ctx context.Context, env getenv) error {
	in, err := open(ctx, e.Config, env)
	if err != nil {
		return err
	}
	defer in.db.Close()
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	return events.New(in.db, message.Shards(in.Shards), events.Options{}).Follow(ctx, e.From, e.Type, func(ev message.Event) error {
		if err := out.Encode(ev); err != nil {
			return fmt.Errorf("print event: %w", err)
		}
		return nil
	})
}

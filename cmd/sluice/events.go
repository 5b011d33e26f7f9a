package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"sluice/internal/config"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/store"
)

type eventsCmd struct {
	From   string   `default:"$" help:"Where to begin: $ for what comes from now on, 0 for all there is, or a time like 2026-01-31T12:00:00Z."`
	Type   []string `help:"Only these types: message, status, inbound, update."`
	Config string   `env:"SLUICE_CONFIG" help:"Configuration file, for Redis and the number of shards." placeholder:"FILE"`
}

func (e eventsCmd) Run(ctx context.Context, env getenv) error {
	var args []string
	if e.Config != "" {
		args = []string{"--config", e.Config}
	}
	c, err := config.LoadTool(args, env)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, string(c.Redis.URL))
	if err != nil {
		return err
	}
	defer db.Close()
	wanted := map[string]bool{}
	for _, t := range e.Type {
		wanted[t] = true
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	return events.New(db, message.Shards(c.Shards), events.Options{}).Follow(ctx, e.From, func(ev message.Event) error {
		if len(wanted) > 0 && !wanted[ev.Type] {
			return nil
		}
		if err := out.Encode(ev); err != nil {
			return fmt.Errorf("print event: %w", err)
		}
		return nil
	})
}

package main

import (
	"context"
	"log/slog"
	"os"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/migrate"
	"sluice/internal/store"
)

type migrateCmd struct {
	DryRun bool   `help:"Count what would be converted, and change nothing."`
	Config string `env:"SLUICE_CONFIG" help:"Configuration file, for Redis and the number of shards." placeholder:"FILE"`
}

// Run converts a store that an older version wrote. It does not use open, which refuses such a store.
func (m migrateCmd) Run(ctx context.Context, env getenv) error {
	var args []string
	if m.Config != "" {
		args = []string{"--config", m.Config}
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
	if c.Redis.FailoverMayLose {
		db.AllowLossAtFailover()
	}
	if err := db.Require(ctx, store.Durability(c.Redis.Durability), slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	_, err = migrate.Run(ctx, db, migrate.Options{Shards: message.Shards(c.Shards), DryRun: m.DryRun, Out: os.Stdout})
	return err
}

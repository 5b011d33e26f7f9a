package main

import (
	"context"
	"log/slog"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/config"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/ratelimit"
	"sluice/internal/store"
)

// installation is what the tool knows of a running Sluice: its configuration and its Redis.
type installation struct {
	config.Common
	db      *store.DB
	book    *ledger.Ledger
	backlog *backlog.Reader
	rates   *ratelimit.Controller
	holds   *holds.Store
}

// open reads the configuration (file may be empty) and connects. The caller closes db.
func open(ctx context.Context, file string, env getenv) (*installation, error) {
	var args []string
	if file != "" {
		args = []string{"--config", file}
	}
	c, err := config.LoadTool(args, env)
	if err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, string(c.Redis.URL))
	if err != nil {
		return nil, err
	}
	rates := map[string]int{}
	for _, n := range c.Numbers {
		rates[n.ID] = n.Rate
	}
	configured := func(number string) int { return rates[number] }
	in := &installation{
		Common: c, db: db,
		book:    ledger.New(db, ledger.Options{Shards: message.Shards(c.Shards)}),
		backlog: backlog.New(db, message.Shards(c.Shards), configured),
		rates:   ratelimit.NewController(db, message.Shards(c.Shards), configured),
		holds:   holds.New(db, message.Shards(c.Shards), slog.New(slog.DiscardHandler)),
	}
	if err := in.book.CheckShards(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return in, nil
}

// look is what there is at one moment.
type look struct {
	at      time.Time
	numbers []backlog.Number
	open    ledger.Backlog
	holds   []message.Hold
}

func (in *installation) look(ctx context.Context) (look, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	numbers := make([]string, len(in.Numbers))
	for i, n := range in.Numbers {
		numbers[i] = n.ID
	}
	numbers, err := in.backlog.ReadAll(ctx, numbers)
	if err != nil {
		return look{}, err
	}
	backlog, err := in.book.Backlog(ctx)
	if err != nil {
		return look{}, err
	}
	holds, err := in.holds.List(ctx)
	return look{time.Now(), numbers, backlog, holds}, err
}

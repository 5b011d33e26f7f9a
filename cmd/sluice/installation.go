package main

import (
	"context"
	"log/slog"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/events"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/portfolio"
	"sluice/internal/store"
)

// installation is the configuration of a Sluice, with access to its Redis.
type installation struct {
	config.Common
	db        *store.DB
	directory *directory.Directory
	records   *ledger.Ledger
	backlog   *backlog.Reader
	holds     *holds.Store
	events    *events.Stream
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
	known := directory.New(directory.NewStore(directory.StoreOptions{DB: db, File: directory.File{Numbers: c.Numbers}}), slog.New(slog.DiscardHandler))
	if err := known.Load(ctx); err != nil {
		db.Close()
		return nil, err
	}
	configured := func(number string) int {
		n, _ := known.Number(number)
		return n.Rate
	}
	limits := portfolio.New(db, portfolio.Window)
	if err := limits.Load(ctx); err != nil {
		db.Close()
		return nil, err
	}
	in := &installation{
		Common: c, db: db, directory: known,
		records: ledger.New(db, ledger.Options{Shards: message.Shards(c.Shards)}),
		backlog: backlog.New(db, message.Shards(c.Shards), configured).WithLimits(limits),
		holds:   holds.New(db, message.Shards(c.Shards), slog.New(slog.DiscardHandler)),
		events:  events.New(db, message.Shards(c.Shards), events.Options{}),
	}
	if err := in.records.CheckShards(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return in, nil
}

// snapshot is the state of an installation at one moment.
type snapshot struct {
	at    time.Time
	rates []backlog.Number // of the configured numbers
	open  ledger.Backlog
	holds []message.Hold
	held  map[string]int // messages that holds keep, by phone number id
	kept  events.Kept
}

func (in *installation) read(ctx context.Context) (snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	numbers := in.directory.Numbers()
	now := snapshot{at: time.Now()}
	var err error
	if now.rates, err = in.backlog.ReadAll(ctx, numbers); err != nil {
		return now, err
	}
	if now.open, err = in.records.Backlog(ctx); err != nil {
		return now, err
	}
	if now.holds, err = in.holds.List(ctx); err != nil {
		return now, err
	}
	if _, now.held, err = in.backlog.CountHeld(ctx, now.holds); err != nil {
		return now, err
	}
	now.kept, err = in.events.Kept(ctx)
	return now, err
}

package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/store"
	"sluice/internal/templates"
)

// newCatalogue returns the catalogue of templates with what is stored. A failure to read it is logged, because the catalogue
// reads it again.
func newCatalogue(ctx context.Context, db *store.DB, log *slog.Logger) *templates.Catalogue {
	c := templates.NewCatalogue(templates.NewStore(db), holds.NewAccounts(db), log)
	if err := c.Load(ctx); err != nil {
		log.Warn("cannot read the templates, will retry", "err", err)
	}
	return c
}

// templates adds the part that reads the templates of accounts from Meta. It returns what applies an update of Meta: to the
// holds, and to the stored templates.
func (w *worker) templates() func(ctx context.Context, e message.Event) error {
	stored := templates.NewStore(w.DB)
	owners := holds.NewAccounts(w.DB)
	syncer := templates.NewSyncer(templates.SyncOptions{
		Catalogue: templates.NewCatalogue(stored, owners, w.Log), Owners: owners, Graph: w.graph, Worker: w.name,
		Numbers: w.directory.Numbers, Ready: w.directory.Has, Every: cmp.Or(w.c.TemplateSync, time.Hour),
		States: w.policy.TemplateStates, Throttled: throttled, Log: w.Log, Registerer: w.Registry,
	})
	w.Background(syncer.Run)
	return func(ctx context.Context, e message.Event) error {
		if err := w.policy.Update(ctx, e); err != nil {
			return err
		}
		change, ok := cloudapi.TemplateChanged(e)
		if !ok || e.WABA == "" {
			return nil
		}
		return stored.Change(ctx, e.WABA, change)
	}
}

// throttled reports whether Meta refused a call because of its limits.
func throttled(err error) bool {
	refusal, ok := errors.AsType[*cloudapi.Refusal](err)
	if !ok {
		return false
	}
	e, _ := cloudapi.Lookup(refusal.Code)
	return e.Kind == message.Throttled || refusal.Status == 429
}

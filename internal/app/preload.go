package app

import (
	"context"

	"golang.org/x/sync/errgroup"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/seal"
	"sluice/internal/store"
)

// Loader accepts messages just as the intake does, without HTTP: it makes the backlogs of
// load runs. It is safe for concurrent use.
type Loader struct{ acceptor }

// NewLoader returns a loader into a store of so many shards.
func NewLoader(db *store.DB, shards message.Shards) *Loader {
	return &Loader{acceptor{db, ledger.New(db, ledger.Options{Shards: shards}), queue.NewClient(db, shards), shards, seal.Seal{}}}
}

// Load accepts messages, in no certain order. After an error some may have been accepted.
func (l *Loader) Load(ctx context.Context, messages []message.Message) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(1000) // as many as share two transactions
	for _, m := range messages {
		g.Go(func() error {
			_, err := l.Accept(ctx, m)
			return err
		})
	}
	return g.Wait()
}

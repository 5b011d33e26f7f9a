package admission

import (
	"context"

	"golang.org/x/sync/errgroup"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/signature"
	"sluice/internal/store"
)

// Loader accepts messages as the API does, but without HTTP, to fill the backlogs of load runs. It is safe for
// concurrent use.
type Loader struct{ *Acceptor }

// NewLoader returns a Loader for a store with shards.
func NewLoader(db *store.DB, shards message.Shards) *Loader {
	return &Loader{NewAcceptor(db, ledger.New(db, ledger.Options{Shards: shards}), queue.NewClient(db, shards), shards, signature.Signer{})}
}

// Load accepts messages, in any order. After an error some of them may be accepted.
func (l *Loader) Load(ctx context.Context, messages []message.Message) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(1000) // enough to fill two transactions
	for _, m := range messages {
		g.Go(func() error {
			_, err := l.Accept(ctx, m)
			return err
		})
	}
	return g.Wait()
}

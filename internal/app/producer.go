package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/redis/go-redis/v9"

	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/console"
	"sluice/internal/httpapi"
	"sluice/internal/intake"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/seal"
	"sluice/internal/store"
)

// Producer makes the program from its arguments and environment.
func Producer(ctx context.Context, args []string, getenv func(string) string) (*Program, error) {
	c, err := config.LoadProducer(args, getenv)
	if err != nil {
		return nil, err
	}
	return NewProducer(ctx, c, newLog(c.Common))
}

// NewProducer puts the intake together: an HTTP request becomes a record and a task.
func NewProducer(ctx context.Context, c config.Producer, log *slog.Logger) (*Program, error) {
	p, err := newProgram(ctx, c.Common, log)
	if err != nil {
		return nil, err
	}
	book := newLedger(p.db, c.Common)
	tasks, holds := queue.NewClient(p.db, message.Shards(c.Shards)), queue.NewHolds(p.db, message.Shards(c.Shards))
	paces := queue.NewPaces(p.db, message.Shards(c.Shards), ratesOf(c.Numbers).configured)
	graph, err := cloudapi.NewForwarder(cloudapi.Options{BaseURL: c.Graph.BaseURL, Token: cmp.Or(c.Tokens, config.FixedTokens(nil)).Token, Registerer: p.registry})
	if err != nil {
		p.close()
		return nil, err
	}
	door := intake.New(intake.Options{
		Acceptor:   newAcceptor(p.db, book, tasks, message.Shards(c.Shards), seal.New(string(c.PayloadKey))),
		Reader:     book,
		Desk:       desk{Ledger: book, db: p.db, tasks: tasks, holds: holds, paces: paces},
		Numbers:    known(c.Numbers),
		Own:        phones(c.Numbers),
		Policy:     policies(c.Common),
		Drain:      newDrains(paces.Read, log).of,
		Explain:    explain,
		Graph:      graph,
		Keys:       apiKeys(c.APIKeys),
		Log:        log,
		Registerer: p.registry,
	})
	p.work = append(p.work, func(ctx context.Context) error {
		<-ctx.Done()
		door.Stop()
		return nil
	})
	p.background = append(p.background, func(ctx context.Context) error {
		<-ctx.Done()
		graph.Close()
		return nil
	})
	if err := p.serve(c.Listen, door.Handler(), &p.addr); err != nil || c.Console == "" {
		return p, err
	}
	operators := console.New(console.Options{
		Holds: holds, Records: desk{Ledger: book, db: p.db, tasks: tasks}, Keys: apiKeys(c.APIKeys), Numbers: known(c.Numbers),
		Log: log, Registerer: p.registry,
	})
	return p, p.serve(c.Console, operators.Handler(), &p.consoleAddr)
}

// acceptor makes the record of a message and its first task in one step: neither is ever there
// without the other. Requests that come at the same time share round trips.
type acceptor struct {
	db     *store.DB
	batch  *store.Batch
	book   *ledger.Ledger
	tasks  *queue.Client
	shards message.Shards
	seal   seal.Seal
}

func newAcceptor(db *store.DB, book *ledger.Ledger, tasks *queue.Client, shards message.Shards, sealed seal.Seal) acceptor {
	return acceptor{db, db.NewBatch(0), book, tasks, shards, sealed}
}

// fullAt is the share of Redis's memory above which nothing more is accepted. The rest is for
// what was: workers and Meta's webhooks need some to bring it to its end.
const fullAt = 0.75

// Accept takes a message, durably. When it fails the message may have been taken or not: the
// caller repeats with the same key. Only with message.ErrKeyReused and message.ErrFull it has
// certainly not been.
func (a acceptor) Accept(ctx context.Context, m message.Message) (message.Acceptance, error) {
	if a.db.Fullness(ctx, ledger.RecordPrefix(a.shards.Of(m.From))) > fullAt {
		// Who repeats himself takes no room, and is to learn what became of it.
		if _, err := a.book.Get(ctx, m.ID); errors.Is(err, message.ErrNotFound) {
			return message.Acceptance{}, message.ErrFull
		}
	}
	m.Payload = a.seal.Close(m.ID, m.Payload)
	accept, err := a.book.Accept(m, rand.Text())
	if err != nil {
		return message.Acceptance{}, err
	}
	task, err := a.tasks.Prepare(ctx, queue.Task{ID: m.ID, Number: m.From, Class: m.Class, At: m.SendAt})
	if err != nil {
		return message.Acceptance{}, err
	}
	both := a.db.Join(true, append(task.Parts(), accept.Part)...)
	var made *redis.Cmd
	err = a.batch.Do(ctx, func(p redis.Pipeliner) { made = both.Add(ctx, p) })
	if err != nil {
		return message.Acceptance{}, fmt.Errorf("accept %s: %w", m.ID, err)
	}
	return accept.Result(made)
}

// AcceptAll is Accept for a group of messages.
func (a acceptor) AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult {
	all := make([]message.AcceptResult, len(messages))
	var accepting sync.WaitGroup
	for i := range messages {
		accepting.Go(func() { all[i].Acceptance, all[i].Err = a.Accept(ctx, messages[i]) })
	}
	accepting.Wait()
	return all
}

func apiKeys(keys []config.APIKey) httpapi.Keys {
	out := make(httpapi.Keys, len(keys))
	for i, k := range keys {
		out[i] = httpapi.Key{Name: k.Name, Hash: hex.EncodeToString(k.SHA256[:]), Scopes: k.Scopes, Numbers: k.Numbers, Revoked: k.Revoked, Expires: k.Expires}
	}
	return out
}

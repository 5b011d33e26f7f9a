package app

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"log/slog"

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
	collectRarely()
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
		p.Close()
		return nil, err
	}
	door := intake.New(intake.Options{
		Acceptor:   acceptor{p.db, book, tasks, message.Shards(c.Shards), seal.New(string(c.PayloadKey))},
		Reader:     book,
		Desk:       desk{Ledger: book, tasks: tasks, holds: holds, paces: paces},
		Numbers:    known(c.Numbers),
		Own:        phones(c.Numbers),
		Policy:     policies(c.Common),
		Refuse:     refusesUnknown(c.Numbers),
		Class:      classes(c.Numbers),
		Offset:     p.db.ClockOffset,
		Drain:      newDrains(paces.Read, log).of,
		Explain:    explain,
		Passes:     cloudapi.Passes,
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
	if err := p.serve(c.Listen, door.Handler(), &p.addr, nil); err != nil || c.Console == "" {
		return p, err
	}
	operators := console.New(console.Options{
		Holds: holds, Records: desk{Ledger: book, tasks: tasks}, Keys: apiKeys(c.APIKeys), Numbers: known(c.Numbers),
		Log: log, Registerer: p.registry,
	})
	return p, p.serve(c.Console, operators.Handler(), &p.consoleAddr, nil)
}

// acceptor makes the record of a message and its first task in one step: neither is ever there
// without the other. Requests that come at the same time share transactions.
type acceptor struct {
	db     *store.DB
	book   *ledger.Ledger
	tasks  *queue.Client
	shards message.Shards
	seal   seal.Seal
}

// fullAt is the share of Redis's memory above which nothing more is accepted. The rest is for
// what was: workers and Meta's webhooks need some to bring it to its end.
const fullAt = 0.75

// Accept takes a message, durably. When it fails the message may have been taken or not: the
// caller repeats with the same key. Only with message.ErrKeyReused and message.ErrFull it has
// certainly not been.
func (a acceptor) Accept(ctx context.Context, m message.Message) (message.Acceptance, error) {
	r := a.AcceptAll(ctx, []message.Message{m})[0]
	return r.Acceptance, r.Err
}

// AcceptAll is Accept for a group of messages.
func (a acceptor) AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult {
	out := make([]message.AcceptResult, len(messages))
	if err := a.db.Breach(); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	var accepting []ledger.Accepting
	var places []int
	for i, m := range messages {
		if out[i].Err = a.room(ctx, m); out[i].Err != nil {
			continue
		}
		m.Payload = a.seal.Close(m.ID, m.Payload)
		task := queue.Task{ID: m.ID, Number: m.From, Class: m.Class, At: m.SendAt}
		enqueue := func(w *store.Writes) error { return a.tasks.Enqueue(w, task) }
		accepting, places = append(accepting, ledger.Accepting{Message: m, Enqueue: enqueue}), append(places, i)
	}
	for i, r := range a.book.Accept(ctx, accepting) {
		out[places[i]] = r
	}
	return out
}

// room is message.ErrFull when Redis has no room for a new message. A repeat takes no room, and its
// caller is to learn what became of the message.
func (a acceptor) room(ctx context.Context, m message.Message) error {
	if a.db.Fullness(ctx, ledger.RecordPrefix(a.shards.Of(m.From))) <= fullAt {
		return nil
	}
	if _, err := a.book.Get(ctx, m.ID); errors.Is(err, message.ErrNotFound) {
		return message.ErrFull
	}
	return nil
}

// refusesUnknown tells of which numbers messages with a type that is not known here are refused.
func refusesUnknown(numbers []config.Number) func(number string) bool {
	refuse := map[string]bool{}
	for _, n := range numbers {
		refuse[n.ID] = n.Unknown == "refuse"
	}
	return func(number string) bool { return refuse[number] }
}

func apiKeys(keys []config.APIKey) httpapi.Keys {
	out := make(httpapi.Keys, len(keys))
	for i, k := range keys {
		out[i] = httpapi.Key{Name: k.Name, Hash: hex.EncodeToString(k.SHA256[:]), Scopes: k.Scopes, Numbers: k.Numbers, Revoked: k.Revoked, Expires: k.Expires}
	}
	return out
}

package app

import (
	"context"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/events"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/pacing"
	"sluice/internal/queue"
	"sluice/internal/reconcile"
	"sluice/internal/send"
	"sluice/internal/store"
)

// Worker makes the program from its arguments and environment.
func Worker(ctx context.Context, args []string, getenv func(string) string) (*Program, error) {
	c, err := config.LoadWorker(args, getenv)
	if err != nil {
		return nil, err
	}
	return NewWorker(ctx, c, newLog(c.Common))
}

// NewWorker puts the sender and the reconciler together: tasks become requests to Meta, what
// came of them becomes records, and so does what Meta reports later.
func NewWorker(ctx context.Context, c config.Worker, log *slog.Logger) (*Program, error) {
	p, err := newProgram(ctx, c.Common, log)
	if err != nil {
		return nil, err
	}
	name := workerName()
	shards := message.Shards(c.Shards)
	book := newLedger(p.db, c.Common)
	tasks := queue.NewClient(p.db, shards)
	marks := cloudapi.NewMarks(c.Environment, []byte(c.MarkerKey))
	stream := events.New(p.db, shards, events.Options{Registerer: p.registry, Logger: log})
	c.Tokens.OnError = func(number string, err error) {
		log.Error("token file unusable, the old token stays in use", "phone_number_id", number, "err", err)
	}
	graph := cloudapi.NewClient(cloudapi.Options{
		BaseURL: c.Graph.BaseURL, Version: c.Graph.Version, Token: c.Tokens.Token, Registerer: p.registry,
	})
	backoff := pacing.Backoff{Base: c.Retry.Base, Max: c.Retry.Max}

	sender := send.New(book, graph, send.Options{
		Worker:   name,
		Policy:   policies(c.Common),
		Backoff:  backoff.Delay,
		Attempts: c.Retry.Attempts,
		Body: func(payload []byte, id string, attempt int) ([]byte, error) {
			return cloudapi.Body(payload, "", marks.Make(id, attempt))
		},
		Numbers:    numberIDs(c.Numbers),
		Log:        log,
		Registerer: p.registry,
	})
	server := queue.NewServer(p.db, shards, name, rates(c.Numbers), handler(sender), log)
	sweeper := &send.Sweeper{
		Worker: name, Shards: shards, Policy: policies(c.Common),
		Records: book, Requeue: requeue(p.db, book, tasks), Watermark: stream.Watermark, Now: p.db.Now,
		Log: log, Registerer: p.registry,
	}
	reconciler := reconcile.New(stream, book, reconcile.Options{
		Consumer: name, Mark: marks.Parse, Known: known(c.Numbers), Logger: log, Registerer: p.registry,
	})
	p.work = append(p.work, server.Run)
	p.background = append(p.background, sweeper.Run, reconciler.Run)
	return p, nil
}

// handler lets the queue's tasks be handled by the sender.
func handler(s *send.Sender) queue.Handler {
	return func(ctx context.Context, id string, k int, slots queue.Slots) error {
		again := s.Handle(ctx, id, k, func(ctx context.Context) (send.Slot, error) { return slots.Wait(ctx) })
		if again.Due {
			return queue.Later{In: again.In}
		}
		return nil
	}
}

// requeue moves a message back to queued and makes its next task, in one transaction. When
// the move is refused because evidence came meanwhile, the task finds nothing to do.
func requeue(db *store.DB, book *ledger.Ledger, tasks *queue.Client) send.Requeue {
	return func(ctx context.Context, o message.Open, m message.Move) error {
		return db.Tx(ctx, func(p redis.Pipeliner) error {
			if err := book.AddRequeue(ctx, p, o, m); err != nil {
				return err
			}
			return tasks.Add(ctx, p, queue.Task{ID: o.ID, K: o.K + 1, Number: o.Message.From, Class: o.Message.Class})
		})
	}
}

func rates(numbers []config.Number) []queue.Number {
	out := make([]queue.Number, len(numbers))
	for i, n := range numbers {
		out[i] = queue.Number{ID: n.ID, Rate: n.Rate}
	}
	return out
}

func numberIDs(numbers []config.Number) []string {
	out := make([]string, len(numbers))
	for i, n := range numbers {
		out[i] = n.ID
	}
	return out
}

package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/events"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/reconcile"
	"sluice/internal/record"
	"sluice/internal/retry"
	"sluice/internal/seal"
	"sluice/internal/send"
)

// Worker makes the program from its arguments and environment.
func Worker(ctx context.Context, args []string, getenv func(string) string) (*Program, error) {
	c, err := config.LoadWorker(args, getenv)
	if err != nil {
		return nil, err
	}
	return NewWorker(ctx, c, newLog(c.Common))
}

// NewWorker puts the sender and the reconciler together, or one of them: tasks become requests
// to Meta, what came of them becomes records, and so does what Meta reports later.
func NewWorker(ctx context.Context, c config.Worker, log *slog.Logger) (*Program, error) {
	p, err := newProgram(ctx, c.Common, log)
	if err != nil {
		return nil, err
	}
	shards := message.Shards(c.Shards)
	rates := ratesOf(c.Numbers)
	records := ledgerOptions(c.Common)
	records.OrphanLife, records.OrphanMost = c.Orphans.Retention, c.Orphans.Max
	if records.KeyLife = c.KeyLife; c.KeyLife == 0 {
		records.KeyLife = -1 // none
	}
	w := worker{
		upgraded: make(chan struct{}, 1),
		Program:  p, c: c, name: workerName(), shards: shards, rates: rates,
		book: ledger.New(p.db, records),
		stream: events.New(p.db, shards, events.Options{
			Retention: c.Events.Retention, MaxLen: c.Events.MaxLength, Registerer: p.registry, Log: log,
		}),
		paces: queue.NewPaces(p.db, shards, rates.configured),
		holds: queue.NewHolds(p.db, shards), accounts: queue.NewAccounts(p.db), belongs: &sync.Map{},
		marks: cloudapi.NewMarks(c.Environment, []byte(c.MarkerKey), []byte(c.SecondMarkerKey)),
		graph: cloudapi.NewClient(cloudapi.Options{
			BaseURL: c.Graph.BaseURL, Version: c.Graph.Version, Token: c.Tokens.Token, Registerer: p.registry,
		}),
	}
	if err := w.book.CheckInstallation(ctx, c.Environment, string(c.MarkerKey), string(c.SecondMarkerKey)); err != nil {
		p.close()
		return nil, err
	}
	if slices.Contains(c.Roles, config.RoleSend) {
		if err := w.send(); err != nil {
			p.close()
			return nil, err
		}
	}
	if slices.Contains(c.Roles, config.RoleReconcile) {
		w.reconcile()
	}
	p.background = append(p.background, w.learn)
	p.registry.MustRegister(unreported(w.book))
	p.registry.MustRegister(&gauges{paces: w.paces.ReadAll, unknown: w.paces.Unserved, backlog: w.book.Backlog, numbers: numberIDs(c.Numbers), log: log})
	return p, nil
}

// worker is what a worker's roles share.
type worker struct {
	*Program
	c      config.Worker
	name   string
	shards message.Shards
	rates  rates
	book   *ledger.Ledger
	stream *events.Stream
	paces  *queue.Paces
	holds  *queue.Holds
	marks  *cloudapi.Marks
	graph  *cloudapi.Client

	accounts *queue.Accounts
	belongs  *sync.Map     // the account of each number, as it is noted
	upgraded chan struct{} // holds a token while Meta is to be asked what numbers may send
}

// send adds what drains the queues, and the sweeper. The sweeper ends after the last attempt:
// until then this worker lives.
func (w *worker) send() error {
	c, log := w.c, w.log
	c.Tokens.OnError = func(number string, err error) {
		log.Error("token file unusable, the old token stays in use", "phone_number_id", number, "err", err)
	}
	traced, err := openTrace(os.Getenv(traceEnv))
	if err != nil {
		return err
	}
	sealed := seal.New(string(c.PayloadKey), string(c.SecondPayloadKey))
	sender := send.New(w.book, w.graph, send.Options{
		Worker:   w.name,
		Policy:   policies(c.Common),
		Backoff:  pauses(c.Retry).After,
		Attempts: c.Retry.Attempts,
		Body: func(a message.Attempt) ([]byte, error) {
			object, err := sealed.Open(a.ID, a.Payload)
			if err != nil {
				return nil, err
			}
			return cloudapi.Body(object, w.marks.Make(a.ID, a.N, a.Accepted), time.Now().Add(a.Left)) // not ExpiresAt: that is by Redis's clock
		},
		Paces:      w.paces,
		Hold:       w.hold,
		Mended:     w.mended,
		Siblings:   w.siblings,
		Rewound:    w.rewound,
		Restored:   w.restored,
		Shards:     w.shards,
		Parts:      w.book.Parts(),
		Wrote:      traced.wrote,
		Numbers:    numberIDs(c.Numbers),
		Log:        log,
		Registerer: w.registry,
	})
	due := &candidates{db: w.db, book: w.book, log: log, unreadable: newUnreadable(w.registry), shards: w.shards}
	server := queue.NewServer(w.db, queue.Options{
		Shards: w.shards, Worker: w.name, Rate: w.rates.of, Era: sender.Era, Alive: living(w.book, w.shards),
		Handler: traced.handler(handler(sender)), Candidates: due.of, Transactions: w.book.Transactions(), Log: log,
	})
	tasks := queue.NewClient(w.db, w.shards)
	sweeper := &send.Sweeper{
		Worker: w.name, Policy: policies(c.Common),
		Shards: w.shards, Records: w.book, Requeue: requeue(w.book, tasks), Lost: lostTasks(tasks), Holds: w.holds.List,
		Hands: hands(tasks, server), Suspects: due.take,
		Watermark: w.stream.Watermark, Channel: w.stream.Channel, Sends: sender.Sends,
		Sight: sender.Sight, Parts: w.book.Parts(),
		Log: log, Registerer: w.registry,
	}
	w.work = append(w.work, server.Run)
	watch := &tokens{
		numbers: numberIDs(c.Numbers), token: c.Tokens.Token, ask: w.graph.DebugToken, expiry: newExpiry(w.registry), log: log,
		lift: func(ctx context.Context, number string) error {
			return w.lift(ctx, "the number has a new access token", func(h message.Hold) bool { return h.Number == number && h.Template == "" })
		},
	}
	w.relearn()
	w.background = append(w.background, sweeper.Run, sender.Watch, traced.run, watch.run)
	return nil
}

// hold keeps back what Meta would refuse just like the message it has just refused. A template's hold
// then lets one message go first: a number probes by its pace.
func (w *worker) hold(ctx context.Context, number, template string, out message.Outcome, d time.Duration) error {
	title := ""
	if out.HasCode() {
		title, _ = explain(out.Code)
	}
	h := message.Hold{Number: number, Template: template, Reason: cmp.Or(title, out.Detail.Message, out.Reason, "code "+strconv.Itoa(out.Code)), Code: out.Code, By: bySluice}
	if !out.Endless {
		h.Until = time.Now().Add(d)
	}
	if template != "" {
		h.Probe = send.ProbeFor
	}
	if _, err := w.holds.Set(ctx, h); err != nil {
		return err
	}
	w.log.Warn("held back", "phone_number_id", number, "template", template, "code", out.Code, "reason", out.Reason, "until", h.Until)
	return nil
}

// mended ends the automatic hold on a template of which Meta took a message again.
func (w *worker) mended(ctx context.Context, number, template string) {
	err := w.lift(ctx, "Meta took a message of the template", func(h message.Hold) bool {
		return h.Number == number && h.Template == template
	})
	if err != nil {
		w.log.Error("hold not lifted", "phone_number_id", number, "template", template, "err", err)
	}
}

// siblings are the numbers that share a number's token: what the app, the token or the account may
// call they share too.
func (w *worker) siblings(number string) []string {
	own, _ := w.c.Tokens.Token(number)
	some := []string{number}
	for _, n := range w.c.Numbers {
		if token, _ := w.c.Tokens.Token(n.ID); n.ID != number && token != "" && token == own {
			some = append(some, n.ID)
		}
	}
	return some
}

// rewoundHold is how long the numbers of a shard are held that lost writes: Meta reports what it
// took within seconds, also what was sent by a worker that is gone.
const rewoundHold = 30 * time.Second

// rewound holds the numbers of a shard whose Redis is proven to have lost writes.
func (w *worker) rewound(ctx context.Context, shard message.Shard) {
	for _, n := range w.c.Numbers {
		if w.shards.Of(n.ID) != shard {
			continue
		}
		_, err := w.holds.Set(ctx, message.Hold{
			Number: n.ID, Reason: "Redis lost writes: waiting for Meta's reports of what was sent", By: bySluice,
			Until: time.Now().Add(rewoundHold),
		})
		if err != nil {
			w.log.Error("hold", "phone_number_id", n.ID, "err", err)
		}
	}
}

// restoredReason is why a shard is held whose Redis lost more than workers remember.
const restoredReason = "Redis was restored or lost too much: compare with Meta which messages were sent, then release"

// restored holds the numbers of a shard until somebody releases them: Redis lost more than workers
// remember, so messages that it has as queued may have been sent.
func (w *worker) restored(ctx context.Context, shard message.Shard, depth time.Duration) error {
	for _, n := range w.c.Numbers {
		if w.shards.Of(n.ID) != shard {
			continue
		}
		if _, err := w.holds.Set(ctx, message.Hold{Number: n.ID, Reason: restoredReason, By: byRestore}); err != nil {
			return err
		}
		w.log.Error("Redis lost more than workers remember: the number is held until an operator releases it", "phone_number_id", n.ID, "shard", shard, "lost_seconds", depth.Seconds())
	}
	return nil
}

// pauses are those before a message is tried again, and of holds.
func pauses(r config.Retry) retry.Pauses {
	return retry.Pauses{First: r.Base, Max: r.Max, Jitter: 0.5}
}

// reconcile adds what folds Meta's events into the records.
func (w *worker) reconcile() {
	reports := &send.Reports{
		Backoff: pauses(w.c.Retry).After,
		Paces:   w.paces, Means: cloudapi.Reported, Hold: w.hold, Mended: w.mended, Log: w.log,
	}
	r := reconcile.New(w.stream, w.book, reconcile.Options{
		Name: w.name, Mark: w.marks.Parse, Other: w.marks.Other, Known: known(w.c.Numbers),
		Inbound: w.paces.Debit, Written: cloudapi.Written,
		Now:    func(ctx context.Context) time.Time { return w.db.Clock(ctx, ledger.RecordPrefix(0)) },
		Update: w.updated, Applied: reports.Note, Met: w.met,
		Log: w.log, Registerer: w.registry,
	})
	w.background = append(w.background, r.Run)
}

// handler lets the queue's tasks be handled by the sender.
func handler(s *send.Sender) queue.Handler {
	return func(ctx context.Context, id string, k int, known any, slots *queue.Slots) error {
		r, _ := known.(*record.Record)
		again := s.Handle(ctx, id, k, r, func(ctx context.Context, connecting bool) (send.Slot, error) {
			return slots.Wait(ctx, connecting)
		})
		switch number, _ := message.Number(id); {
		case !again.Due:
			return nil
		case again.On != "":
			return queue.Later{Hold: queue.Name(message.Hold{Number: number, Template: again.Template})}
		}
		return queue.Later{In: again.In, Recipient: again.Recipient}
	}
}

// requeue moves a message back to queued with its next task.
func requeue(book *ledger.Ledger, tasks *queue.Client) send.Requeue {
	return func(ctx context.Context, o message.Open, m message.Move) error {
		_, err := desk{Ledger: book, tasks: tasks}.Move(ctx, o, m)
		return err
	}
}

// hands tells the sweeper what workers have fetched and not finished. What bears this worker's name
// and is none of its own is returned first.
func hands(tasks *queue.Client, server *queue.Server) func(context.Context, []message.Shard) ([]send.Hand, error) {
	return func(ctx context.Context, shards []message.Shard) ([]send.Hand, error) {
		all, err := tasks.Hands(ctx, shards...)
		if err == nil {
			err = tasks.Return(ctx, server.Strays(all))
		}
		out := make([]send.Hand, len(all))
		for i, h := range all {
			out[i] = send.Hand{
				Worker: h.Worker, Shard: h.Shard, IDs: make([]string, len(h.Tasks)),
				Return: func(ctx context.Context) error { return tasks.Return(ctx, []queue.Hand{h}) },
			}
			for j, t := range h.Tasks {
				out[i].IDs[j] = t.Message
			}
		}
		return out, err
	}
}

// lostTasks finds the queued messages whose task is gone.
func lostTasks(tasks *queue.Client) func(context.Context, []message.Open) ([]message.Open, error) {
	return func(ctx context.Context, some []message.Open) ([]message.Open, error) {
		some = slices.DeleteFunc(some, func(o message.Open) bool { return o.State != message.Queued })
		all := make([]queue.Task, len(some))
		for i, o := range some {
			all[i] = queue.Task{ID: o.ID, K: o.K, Number: o.Message.From, Class: o.Message.Class}
		}
		missing, err := tasks.Missing(ctx, all)
		gone := make([]message.Open, len(missing))
		for i, m := range missing {
			gone[i] = some[m]
		}
		return gone, err
	}
}

// rates are the configured rates of numbers, in messages a second.
type rates map[string]int

func ratesOf(numbers []config.Number) rates {
	r := rates{}
	for _, n := range numbers {
		r[n.ID] = n.Rate
	}
	return r
}

func (r rates) of(number string) (int, bool) {
	rate, ok := r[number]
	return rate, ok
}

// configured is the rate of a number, or Meta's usual one.
func (r rates) configured(number string) int {
	if rate, ok := r[number]; ok {
		return rate
	}
	return config.DefaultRate
}

// living tells the queue which workers there are, by shard.
func living(book *ledger.Ledger, shards message.Shards) func(context.Context) (map[message.Shard][]string, error) {
	return func(ctx context.Context) (map[message.Shard][]string, error) {
		all := map[message.Shard][]string{}
		var errs []error
		for i, l := range book.Alive(ctx, shards.All(), message.DeadAfter) {
			if l.Err != nil {
				errs = append(errs, l.Err)
				continue
			}
			all[shards.All()[i]] = slices.Collect(maps.Keys(l.Workers))
		}
		return all, errors.Join(errs...)
	}
}

func numberIDs(numbers []config.Number) []string {
	out := make([]string, len(numbers))
	for i, n := range numbers {
		out[i] = n.ID
	}
	return out
}

package app

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"sluice/internal/audit"
	"sluice/internal/backlog"
	"sluice/internal/campaigns"
	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/conversations"
	"sluice/internal/directory"
	"sluice/internal/dispatch"
	"sluice/internal/events"
	"sluice/internal/gauges"
	"sluice/internal/holdpolicy"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/observed"
	"sluice/internal/people"
	"sluice/internal/portfolio"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
	"sluice/internal/reconcile"
	"sluice/internal/record"
	"sluice/internal/relay"
	"sluice/internal/repository"
	"sluice/internal/retry"
	"sluice/internal/route"
	"sluice/internal/secrets"
	"sluice/internal/send"
	"sluice/internal/sendtrace"
	"sluice/internal/servicewindow"
	"sluice/internal/signature"
	"sluice/internal/store"
	"sluice/internal/suppression"
	"sluice/internal/templates"
	"sluice/internal/throughput"
	"sluice/internal/tokenwatch"
)

// Worker makes the program from its arguments and environment.
func Worker(ctx context.Context, args []string, getenv func(string) string) (*Program, error) {
	c, err := config.LoadWorker(args, getenv)
	if err != nil {
		return nil, err
	}
	return NewWorker(ctx, c, newLog(c.Common))
}

// NewWorker builds a worker with the parts of its roles. The sender turns tasks into requests to Meta and
// records their outcomes. The reconciler applies what Meta reports to the records.
func NewWorker(ctx context.Context, c config.Worker, log *slog.Logger) (*Program, error) {
	records := ledgerOptions(c.Common)
	records.UnmatchedLife, records.UnmatchedMost = c.UnmatchedStatuses.Retention, c.UnmatchedStatuses.Max
	if records.KeyLife = c.KeyLife; c.KeyLife == 0 {
		records.KeyLife = -1 // none
	}
	if c.Tokens != nil {
		c.Tokens.OnError = func(number string, err error) {
			log.Error("cannot read token file, the previous token stays in use", "phone_number_id", number, "err", err)
		}
	}
	box := secrets.New(string(c.SecretsKey), string(c.SecondSecrets))
	p, err := newProgram(ctx, "worker", c.Common, entries{directory.File{Tokens: c.Tokens}, box, []directory.Kind{directory.KindNumber}}, log, func(ctx context.Context, db *store.DB) error {
		if err := events.CheckMemory(ctx, db, c.Events.Memory); err != nil {
			return err
		}
		return ledger.New(db, records).CheckInstallation(ctx, c.Environment, string(c.MarkerKey), string(c.SecondMarkerKey))
	})
	if err != nil {
		return nil, err
	}
	records.RecipientHash = recipientHash(c)
	records.Due = repository.AddTask(queue.NewClient(p.DB, records.Shards))
	shards := message.Shards(c.Shards)
	persons := newPeople(p.DB, c.Common, c.SecretsKey, c.MarkerKey, c.RecipientIndex, log)
	p.Background(persons.Run)
	var w worker
	records.Replaces = func(m message.Context, code int) bool { // else a message would be sent after its campaign was cancelled, or wait for a number that was removed
		return cloudapi.Replaces(code, m.Template != "") && p.directory.Known(m.From) && !w.watched.Cancelled(m.Flow())
	}
	w = worker{
		Program: p, c: c, name: workerName(), shards: shards, box: box,
		book: ledger.New(p.DB, records),
		stream: events.New(p.DB, shards, events.Options{
			Retention: c.Events.Retention, Memory: c.Events.Memory, Registerer: p.Registry, Log: log,
		}),
		people:     persons,
		controller: ratelimit.NewController(p.DB, shards, configuredRate(p.directory)),
		holds:      holds.New(p.DB, shards, log),
		marks:      cloudapi.NewMarks(c.Environment, []byte(c.MarkerKey), []byte(c.SecondMarkerKey)),
		graph: cloudapi.NewClient(cloudapi.Options{
			BaseURL: c.Graph.BaseURL, Version: c.Graph.Version, Token: p.directory.Token, Registerer: p.Registry, Identities: persons.Note,
			Served: func(asked, served string) {
				log.Warn("Meta serves another version of the Graph API than the configured one, which has probably expired: set a newer one", "graph_version", asked, "served", served)
			},
		}),
	}
	w.observed = observed.New(p.DB, shards)
	w.campaigns = campaigns.NewStore(p.DB, w.holds, audit.New(p.DB, shards))
	w.watched = campaigns.NewWatch(w.campaigns, log)
	w.watched.Read(ctx)
	p.Background(w.watched.Run)
	w.owners = newOwners(ctx, p, shards, persons)
	w.windows = newWindows(p, shards, persons, w.stream)
	w.catalogue = newCatalogue(ctx, p.DB, log)
	w.optOuts = newSuppressions(ctx, p, c.Common, c.SecretsKey, c.SecondSecrets, persons, w.catalogue)
	if w.limits, err = newLimits(ctx, p); err != nil {
		p.Close()
		return nil, err
	}
	w.throughput = throughput.New(throughput.Options{
		Numbers: p.directory.Numbers, Learns: p.directory.Learns, Known: w.observed.Profiles, Ask: w.profile, Store: w.storeProfile,
		Rate: configuredRate(p.directory), Shared: cloudapi.Coexistence, Set: w.controller.SetLevels, Log: log,
	})
	reader := backlog.New(p.DB, shards, configuredRate(p.directory)).WithLimits(w.limits)
	reader.Weigh(p.directory.Weigh)
	reader.RateCampaigns(w.watched.Settings)
	w.unfinished = unfinished(w.book)
	w.policy = holdpolicy.New(holdpolicy.Options{
		Holds: w.holds, Rates: w.controller, Accounts: holds.NewAccounts(p.DB),
		Numbers: p.directory.Numbers, Working: reader.Working, Shards: shards, Token: p.directory.Token, QualityChanged: w.throughput.Ask, Log: log,
	})
	if slices.Contains(c.Roles, config.RoleSend) {
		if err := w.send(ctx); err != nil {
			p.Close()
			return nil, err
		}
	}
	if slices.Contains(c.Roles, config.RoleReconcile) {
		w.reconcile()
	}
	if slices.Contains(c.Roles, config.RoleRelay) {
		w.relay()
	}
	if slices.Contains(c.Roles, config.RoleArchive) {
		if err := w.archive(c.Archive); err != nil {
			p.Close()
			return nil, err
		}
	}
	p.Background(w.throughput.Run)
	p.directory.Subscribe(func(c directory.Changes) { w.throughput.Look(slices.Concat(c.Added, c.Changed)...) })
	p.Registry.MustRegister(gauges.Awaiting(w.book, p.DB.ClockOffset), gauges.InDoubt(w.book.InDoubtAge), gauges.Events(w.stream.Kept), gauges.Lags(w.stream.Lags), gauges.Portfolios(w.limits.States), gauges.Suppressions(w.optOuts.Count), w.windows)
	causes := make([]string, len(holdpolicy.Causes()))
	for i, cause := range holdpolicy.Causes() {
		causes[i] = string(cause)
	}
	p.Registry.MustRegister(gauges.New(gauges.Options{
		Rates: reader.ReadAll, Unknown: reader.Unserved, Backlog: w.book.Backlog,
		Holds: heldMessages{w.holds, reader}, Causes: causes, CauseOf: func(h message.Hold) string { return string(holdpolicy.CauseOf(h)) },
		Targets: relay.NewTargets(p.DB, shards, secrets.Box{}).Count, Numbers: p.directory.Numbers, Log: log,
	}))
	return p, nil
}

// worker has what the roles of a worker share.
type worker struct {
	*Program
	c          config.Worker
	name       string
	shards     message.Shards
	box        secrets.Box
	book       *ledger.Ledger
	stream     *events.Stream
	people     *people.People
	controller *ratelimit.Controller
	holds      *holds.Store
	campaigns  *campaigns.Store
	watched    *campaigns.Watch
	marks      *cloudapi.Marks
	graph      *cloudapi.Client

	unfinished func(ctx context.Context, number string) (int, error)
	policy     *holdpolicy.Policy
	throughput *throughput.Discovery
	observed   *observed.Store
	limits     *portfolio.Ledger
	owners     *conversations.Owners
	optOuts    *suppression.Store
	windows    *servicewindow.Windows
	catalogue  *templates.Catalogue
	coexisting sync.Map // phone number ids of which a webhook said so

	signer signature.Signer
	tasks  *queue.Client
	moved  map[string]message.ListPosition // where the next messages to move are, by number
}

// profile asks Meta for the description of a number.
func (w *worker) profile(ctx context.Context, number string) (observed.Profile, error) {
	p, err := w.graph.Profile(ctx, number)
	return observed.Profile{
		Rate: p.Rate, Quality: p.Quality, Name: p.Name, Limit: p.Limit, OnBizApp: p.OnBizApp, Account: p.Account, Portfolio: p.Portfolio, At: time.Now().UTC(),
	}, err
}

// send adds the parts that send messages, and the sweeper. The sweeper ends after the last attempt, because it
// writes the heartbeats of this worker.
func (w *worker) send(ctx context.Context) error {
	c, log := w.c, w.Log
	traced, err := sendtrace.Open(os.Getenv(sendtrace.Env))
	if err != nil {
		return err
	}
	signer := signature.New(string(c.PayloadKey), string(c.SecondPayloadKey))
	tasks := queue.NewClient(w.DB, w.shards)
	w.signer, w.tasks, w.moved = signer, tasks, map[string]message.ListPosition{}
	watch := tokenwatch.New(tokenwatch.Options{
		Numbers: w.directory.Numbers, Token: w.directory.Token, Ask: w.graph.DebugToken, Changed: w.policy.NewToken, Store: w.observed.SetTokens, Registerer: w.Registry, Log: log,
	})
	recorder := w.observed.NewRecorder(w.name, log)
	sent := templates.NewSent(templates.NewStore(w.DB), log)
	routes := route.New(route.Options{Number: w.directory.Number, Version: c.Graph.Version, Category: w.catalogue.Class, Log: log, Registerer: w.Registry})
	sender := send.New(w.book, watchedGraph{w.graph, w.directory.Token, watch.Answered, recorder.Add, routes.Answered}, send.Options{
		Worker:   w.name,
		Policy:   policies(w.directory),
		Backoff:  pauses(c.Retry).After,
		Attempts: c.Retry.Attempts,
		Request: func(a message.Attempt) (q message.Request, err error) {
			object, err := signer.Verify(a.ID, a.Payload)
			if err != nil {
				return q, err
			}
			if err := w.allowed(a, object); err != nil {
				return q, err
			}
			if err := w.ownConversation(a, object); err != nil {
				return q, err
			}
			if err := w.inWindow(a, object); err != nil {
				return q, err
			}
			if object, err = w.translated(a.Message.From, object); err != nil {
				return q, err
			}
			q = routes.Request(a.Message, object)
			if q.Body, err = cloudapi.Body(q.Body, w.marks.Make(a.ID, a.N, a.Accepted), time.Now().Add(a.Left)); err == nil { // ExpiresAt would be by the clock of Redis
				q.Body = cloudapi.WithAccount(q.Body, a.Message.Account)
			}
			return q, err
		},
		Rates:            w.controller,
		Hold:             w.policy.Refused,
		TemplateAccepted: w.policy.TemplateAccepted,
		TemplateSent:     sent.Note,
		Siblings:         w.policy.Siblings,
		Holds:            w.holds.List,
		LostWrites:       w.lostWrites,
		Restored:         w.restored,
		Shards:           w.shards,
		Parts:            w.book.Parts(),
		Wrote:            traced.Wrote,
		Tracer:           w.tracer,
		Log:              log,
		Registerer:       w.Registry,
	})
	messages := repository.New(w.book, tasks)
	fallbacks := repository.Fallbacks{Messages: messages, Holds: w.holds.List, ByMeta: holdpolicy.ByMeta, Log: log}
	candidates := repository.NewCandidates(repository.CandidateOptions{
		DB: w.DB, Records: w.book, People: w.people, Shards: w.shards, Limited: w.limits.Applies, Owners: w.owners, OptOuts: w.optOuts, Quiet: w.quietHours(c.Common.TimeZones), Caps: w.frequencyCaps(), Windows: w.windows,
		Waits: func(number string) bool { return w.directory.OtherApp(number) == directory.OtherAppWait }, Log: log, Registerer: w.Registry,
	})
	suppressed := repository.Suppressed{Messages: messages, Count: w.countEnded(), Log: log}
	server := dispatch.NewServer(w.DB, dispatch.Options{
		Shards: w.shards, Worker: w.name, Rate: w.directory.Rate, Era: sender.Era, Alive: living(w.book, w.shards),
		Handler: handler(sender, traced), Candidates: candidates.Of, Fallbacks: fallbacks.Use, Cancel: suppressed.Cancel, Weigh: w.directory.Weigh, Limit: w.limits, Campaigns: w.watched, Budgets: w.spending(), Transactions: w.book.Transactions(), Log: log,
	})
	sweeper := &send.Sweeper{
		Worker: w.name, Policy: policies(w.directory),
		Shards: w.shards, Workers: w.book, Open: w.book, Changes: w.book, Requeue: messages.Requeue, LostTasks: messages.WithoutTask, Holds: w.holds.List,
		Fetched: repository.Unfinished(tasks, server), Suspects: candidates.Attempting,
		Watermark: w.stream.Watermark, Channel: w.stream.Channel, Sends: sender.Sends,
		View: sender.View, Parts: w.book.Parts(),
		Log: log, Registerer: w.Registry,
	}
	w.Work(server.Run)
	w.Background(w.catalogue.Run, sweeper.Run, sender.Watch, sender.WatchHolds, traced.Run, watch.Run, recorder.Run, sent.Run, w.removeLeaving, w.watchQuietHours(), w.cancelCampaigns)
	sender.Serve(w.directory.Numbers()...)
	w.directory.Subscribe(func(c directory.Changes) {
		sender.Serve(c.Added...)
		if len(c.Added)+len(c.Changed)+len(c.Removed) > 0 { // not for API keys and clients
			watch.Look()
		}
	})
	return nil
}

// translateTimeout is the time limit of Redis for the ids of the messages that a message names.
const translateTimeout = 2 * time.Second

// translated returns a message with Meta's ids of the messages that it names.
func (w *worker) translated(number string, object []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), translateTimeout) // a stop must not end an attempt that has begun
	defer cancel()
	return repository.NewNamed(w.book).Translate(ctx, number, object)
}

// pauses returns the waits before a retry, and the lengths of holds.
func pauses(r config.Retry) retry.Pauses {
	return retry.Pauses{First: r.Base, Max: r.Max, Jitter: 0.5}
}

// reconcile adds the part that applies Meta's statuses to the records.
func (w *worker) reconcile() {
	reports := &send.Reports{
		Backoff: pauses(w.c.Retry).After,
		Rates:   w.controller, Means: cloudapi.Reported, Hold: w.policy.Refused, Full: w.portfolioFull, TemplateAccepted: w.policy.TemplateAccepted, Log: w.Log,
	}
	r := reconcile.New(w.stream, w.book, reconcile.Options{
		Name: w.name, Mark: w.marks.Parse, Other: w.marks.Other, Known: w.directory.Known,
		Inbound: w.controller.Debit, Wrote: w.wrote, Written: cloudapi.Written, Charge: w.charge,
		Now:    func(ctx context.Context) time.Time { return w.DB.Clock(ctx, ledger.RecordPrefix(0)) },
		Update: w.updates(w.templates()), Applied: reports.Note, NoteAccount: w.policy.NoteAccount,
		Identities: cloudapi.Identities, People: w.people.Learn, OwnerReport: cloudapi.OwnerReport, Owners: w.owners.Note,
		Preferences: cloudapi.Preferences, Prefer: w.optOuts.Note, WindowReports: cloudapi.WindowReports, Windows: w.windows.Note,
		Tracer: w.tracer, Log: w.Log, Registerer: w.Registry,
	})
	w.Background(r.Run, w.windows.Run)
}

// handler returns a handler that gives the tasks of the queue to the sender.
func handler(s *send.Sender, traced *sendtrace.Trace) dispatch.Handler {
	return func(ctx context.Context, id string, k int, known any, slots *dispatch.Slots) error {
		traced.Fetched()
		r, _ := known.(*record.Record)
		again := s.Handle(ctx, id, k, r, func(ctx context.Context, connecting bool) (send.Slot, error) {
			return slots.Wait(ctx, connecting)
		})
		switch number, _ := message.Number(id); {
		case !again.Due:
			return nil
		case again.On != "":
			return dispatch.Later{Hold: holds.Name(message.Hold{Number: number, Template: again.Template})}
		}
		return dispatch.Later{In: again.In, Recipient: again.Recipient}
	}
}

// living returns a function that lists the living workers by shard.
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

package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sluice/internal/admission"
	"sluice/internal/archive"
	"sluice/internal/audit"
	"sluice/internal/backlog"
	"sluice/internal/campaigns"
	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/console"
	"sluice/internal/directory"
	"sluice/internal/events"
	"sluice/internal/feed"
	"sluice/internal/fleet"
	"sluice/internal/holds"
	"sluice/internal/intake"
	"sluice/internal/ledger"
	"sluice/internal/media"
	"sluice/internal/mediacheck"
	"sluice/internal/message"
	"sluice/internal/observed"
	"sluice/internal/ops"
	"sluice/internal/pages"
	"sluice/internal/queue"
	"sluice/internal/quota"
	"sluice/internal/ratelimit"
	"sluice/internal/relay"
	"sluice/internal/repository"
	"sluice/internal/secrets"
	"sluice/internal/servicewindow"
	"sluice/internal/signature"
	"sluice/internal/suppression"
	"sluice/internal/templates"
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

// NewProducer builds the producer, which turns an HTTP request into a record and a task.
func NewProducer(ctx context.Context, c config.Producer, log *slog.Logger) (*Program, error) {
	box := secrets.New(string(c.SecretsKey), string(c.SecondSecrets))
	p, err := newProgram(ctx, "producer", c.Common, entries{directory.File{Tokens: c.Tokens, APIKeys: c.APIKeys}, box, []directory.Kind{directory.KindNumber, directory.KindApp}}, log)
	if err != nil {
		return nil, err
	}
	p.uses = directory.NewUses(p.DB, log)
	p.Background(p.uses.Run)
	var recipients func(string) string
	if c.RecipientIndex {
		recipients = secrets.Hasher(string(c.SecretsKey), archive.RecipientPurpose)
	}
	book := newLedger(p.DB, c.Common, recipients)
	tasks, accounts, holds := queue.NewClient(p.DB, message.Shards(c.Shards)), holds.NewAccounts(p.DB), holds.New(p.DB, message.Shards(c.Shards), log)
	limits, err := newLimits(ctx, p)
	if err != nil {
		p.Close()
		return nil, err
	}
	persons := newPeople(p.DB, c.Common, c.SecretsKey, "", c.RecipientIndex, log)
	p.Background(persons.Run)
	owners := newOwners(ctx, p, message.Shards(c.Shards), persons)
	catalogue := newCatalogue(ctx, p.DB, log)
	optOuts := newSuppressions(ctx, p, c.Common, c.SecretsKey, c.SecondSecrets, persons, catalogue)
	reader := backlog.New(p.DB, message.Shards(c.Shards), configuredRate(p.directory)).WithLimits(limits)
	reader.Weigh(p.directory.Weigh)
	eta := admission.NewETA(reader.Read, log)
	graph, err := cloudapi.NewForwarder(cloudapi.Options{BaseURL: c.Graph.BaseURL, Version: c.Graph.Version, Token: p.directory.Token, Registerer: p.Registry})
	if err != nil {
		p.Close()
		return nil, err
	}
	atMeta := templates.NewLookup(templates.LookupOptions{Account: graph.Account, Store: accounts, Numbers: p.directory.Numbers, Ready: p.directory.Has, Log: log})
	for _, one := range c.Canaries {
		if !p.directory.Known(one.Number) {
			p.Close()
			return nil, fmt.Errorf("canary of number %s: the number is not configured: add the number first, or remove the canary", one.Number)
		}
	}
	canaryToken, ownKeys := canaryKey(c.Canaries)
	keys := p.keys()
	stream := events.New(p.DB, message.Shards(c.Shards), events.Options{Log: log})
	tail, windows := events.NewTail(stream), newWindows(p, message.Shards(c.Shards), persons, stream)
	reads := feed.New(feed.Options{
		Tail: tail, Names: feed.NewNames(p.DB), MessagesOf: messagesOf(book), Accounts: events.NewAccounts(accounts.All), Keys: keys,
		Offset: p.DB.ClockOffset, Left: ops.Left, Log: log, Registerer: p.Registry,
	})
	auditLog := audit.New(p.DB, message.Shards(c.Shards))
	settings := campaigns.NewStore(p.DB, holds, auditLog)
	watched := campaigns.NewWatch(settings, log)
	reader.RateCampaigns(watched.Settings)
	budgets := p.budgets(book, watched)
	ofCampaigns := repository.NewCampaigns(book, reader, holds, settings, budgets)
	var requests *intake.Intake
	recurring := p.schedules(box, keys, &requests)
	requests = intake.New(intake.Options{
		Acceptor: admission.NewAcceptor(p.DB, book, tasks, message.Shards(c.Shards), signature.New(string(c.PayloadKey))),
		Reader:   book,
		Finder:   book,
		Waiting: repository.NewWaiting(repository.WaitingOptions{
			Backlog: reader, Holds: holds, Records: book, Owners: owners, Quiet: p.quietHours(c.TimeZones), Campaigns: settings, Budgets: budgets, Windows: windows,
		}),
		Canceller:  book,
		Numbers:    p.directory.Known,
		Accepts:    accepts(p.directory),
		Owner:      p.directory.Owner,
		SharedWith: p.directory.SharedWith,
		MovedTo:    p.directory.MovedTo,
		Quotas:     quota.New(p.DB, p.directory.Quotas),
		Budgets:    spent(budgets),
		Estimate:   estimate(p.prices, catalogue),
		Uploads:    media.New(p.DB, message.Shards(c.Shards)),
		Usage:      book.Usage,
		Clients:    p.directory.Clients,
		Campaigns:  ofCampaigns,
		Cancelled:  watched.Cancelled,
		Own:        p.directory.Display,
		Policy:     policies(p.directory),
		Refuse:     p.directory.RefusesUnknown,
		Classes:    admission.NewClasses(p.directory.TemplateClasses, catalogue),
		Templates:  catalogue,
		Offset:     p.DB.ClockOffset,
		ETA:        eta.Of,
		Forecast: func() func(context.Context, *message.Message) (message.Forecast, error) {
			return repository.NewForecast(repository.ForecastOptions{Campaigns: ofCampaigns, Number: eta.Number, Numbers: p.directory.Numbers, Settings: watched.Settings}).Next
		},
		Explain: explain,

		LimitWait: limitWait(limits, eta), CountedPerson: countedPerson(limits, persons),
		Elsewhere: elsewhere(owners, p.directory), Account: p.directory.MessagingAccount,

		Media:         mediacheck.New(mediacheck.Options{}),
		OutsideWindow: outsideWindow(windows), WindowClosed: servicewindow.Counter(p.Registry, servicewindow.StageAccept),
		Suppressions: optOuts, Suppressed: suppression.Counter(p.Registry, suppression.StageAccept),

		Passes:     cloudapi.Passes,
		Graph:      graph,
		All:        p.directory.Numbers,
		Accounts:   atMeta,
		Version:    c.Graph.Version,
		Keys:       p.keys(ownKeys...),
		More:       append(reads.Routes(), recurring.Routes()...),
		Tracer:     p.tracer,
		Log:        log,
		Registerer: p.Registry,
	})
	if err := p.outbox(c.Outbox, requests); err != nil {
		p.Close()
		return nil, err
	}
	replies := p.autoReplies(c, requests, persons)
	p.Work(func(ctx context.Context) error {
		<-ctx.Done()
		requests.Stop()
		reads.Stop()
		return nil
	})
	p.Background(tail.Run, catalogue.Run, watched.Run, func(ctx context.Context) error {
		<-ctx.Done()
		graph.Close()
		return nil
	})
	callers := requests.Handler()
	if err := p.serve(c.Listen, callers, &p.addr, nil); err != nil {
		return p, err
	}
	p.canaries(c.Canaries, canaryToken)
	if c.Console == "" {
		return p, nil
	}
	state := fleet.New(fleet.Options{Numbers: p.directory.Numbers, Rates: reader.ReadAll, Holds: heldMessages{holds, reader}, Observed: observed.New(p.DB, message.Shards(c.Shards)), Lists: func(ctx context.Context, before time.Time) (ledger.ListCounts, map[string]ledger.ListCounts, error) {
		return book.CountLists(ctx, before.Add(p.DB.ClockOffset()))
	}})
	p.Background(func(ctx context.Context) error { return state.Run(ctx, log) })
	stored := templates.NewStore(p.DB)
	targets := relay.NewTargets(p.DB, message.Shards(c.Shards), box)
	forOperators := console.Options{
		Holds: heldMessages{holds, reader}, Lists: book, Messages: repository.New(book, tasks), Audit: auditLog, Keys: p.operatorKeys(), Numbers: p.directory.Known,
		Campaigns:     ofCampaigns,
		Schedules:     recurring,
		Relay:         targets,
		Fleet:         state,
		Directory:     p.entries,
		Onboarding:    p.onboarding(c.Graph, accounts, stored),
		Templates:     catalogue,
		SyncTemplates: func(ctx context.Context, account string) error { return stored.Want(ctx, account) },
		Accounts:      accounts.All,
		Rates:         ratelimit.NewController(p.DB, message.Shards(c.Shards), configuredRate(p.directory)),
		ClockOffset:   p.DB.ClockOffset, Explain: explain, Log: log, Registerer: p.Registry,
	}
	if err := reports(&forOperators, c.Archive, p.prices); err != nil {
		return p, err
	}
	forOperators.Suppressions = optOuts
	forOperators.Traces = []console.Traces{windows.OfPerson, owners.OfPerson, p.cappedPerson(persons), replies.OfPerson, stream.OfPerson, targets.OfPerson}
	if err := forPeople(&forOperators, persons, limits, book, c); err != nil {
		return p, err
	}
	operators := console.New(forOperators)
	web := pages.New(pages.Options{Simulator: c.Graph.BaseURL != cloudapi.DefaultBaseURL, Console: operators.Handler(), API: callers, Keys: keys, DB: p.DB, Left: ops.Left, Log: log})
	p.Work(func(ctx context.Context) error {
		<-ctx.Done()
		web.Stop()
		return nil
	})
	return p, p.serve(c.Console, web.Handler(), &p.consoleAddr, nil)
}

// messagesOf returns a function that returns the messages that markers name. They can come from another app on the account, so a
// caller sees nothing of a message: its tags and its client only select statuses.
func messagesOf(book *ledger.Ledger) events.MessagesOf {
	return func(ctx context.Context, markers []string) ([]message.Context, error) {
		ids := make([]string, len(markers))
		for i, marker := range markers {
			ids[i], _ = cloudapi.MessageID(marker)
		}
		records, err := book.Progress(ctx, ids)
		named := make([]message.Context, len(records))
		for i, rec := range records {
			named[i] = rec.Context
		}
		return named, err
	}
}

// heldMessages has the holds, and how many messages each holds back.
type heldMessages struct {
	*holds.Store
	*backlog.Reader
}

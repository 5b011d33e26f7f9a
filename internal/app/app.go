// Package app builds each program from the packages. Commands, the demo and the tests run the same programs.
// A program listens when it is built, and works while it runs.
package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/prices"
	"sluice/internal/program"
	"sluice/internal/queue"
	"sluice/internal/repository"
	"sluice/internal/store"
	"sluice/internal/tracing"
)

// Program is a program that is built and listens.
type Program struct {
	*program.Program
	tracer    *tracing.Tracer
	directory *directory.Directory
	entries   *directory.Store // what the directory reads
	uses      *directory.Uses  // of a program that checks API keys
	prices    *prices.Table    // what Meta charges; nil: it is not known

	addr, consoleAddr string
}

// Addr returns host:port of the program's server; empty for a worker, which has none.
func (p *Program) Addr() string { return p.addr }

// ConsoleAddr returns host:port of the producer's console; empty: it has none.
func (p *Program) ConsoleAddr() string { return p.consoleAddr }

// newProgram makes what every program has. It opens Redis, runs checks, which decide whether the program may
// work with that Redis, and reads the directory.
func newProgram(ctx context.Context, name string, c config.Common, of entries, log *slog.Logger, checks ...func(context.Context, *store.DB) error) (*Program, error) {
	table, err := readPrices(c.PricesFile)
	if err != nil {
		return nil, err
	}
	var known *directory.Directory
	var entries *directory.Store
	open := func(ctx context.Context) (*store.DB, error) {
		db, err := openStore(ctx, c, log)
		if err != nil {
			return nil, err
		}
		err = newLedger(db, c, nil).CheckShards(ctx)
		for i := 0; err == nil && i < len(checks); i++ {
			err = checks[i](ctx, db)
		}
		if err == nil {
			known, entries = newDirectory(db, c, of, log)
			err = known.Load(ctx)
		}
		if err != nil {
			db.Close()
			return nil, err
		}
		return db, nil
	}
	p, err := program.New(ctx, program.Options{Ops: c.Ops, Log: log, Open: open})
	if err != nil {
		return nil, err
	}
	p.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "sluice_log_lines_dropped_total", Help: "Log lines that were dropped because the reader of the log did not keep up.",
	}, func() float64 { return float64(output.Dropped()) }))
	tracer, err := newTracer(name, c.Tracing, p.Registry, log)
	if err != nil {
		p.Close()
		return nil, err
	}
	p.Background(known.Run)
	return &Program{Program: p, tracer: tracer, directory: known, entries: entries, prices: table}, nil
}

// newTracer returns the tracer of a program; nil: traces are off.
func newTracer(name string, c config.Tracing, reg prometheus.Registerer, log *slog.Logger) (*tracing.Tracer, error) {
	headers := map[string]string{}
	for name, value := range c.Headers {
		headers[name] = string(value)
	}
	return tracing.New(tracing.Options{Endpoint: c.Endpoint, Headers: headers, Timeout: c.Timeout, Service: "sluice-" + name, Log: log, Registerer: reg})
}

// Run works until ctx ends or a part returns an error, see program.Program. Then it exports the last spans.
func (p *Program) Run(ctx context.Context) error {
	defer p.tracer.Close()
	return p.Program.Run(ctx)
}

// Close releases what a program holds that will not run.
func (p *Program) Close() {
	p.tracer.Close()
	p.Program.Close()
}

// serve adds an HTTP server to the program's work, and stores its address in at. refused, which may be nil, is
// called for each refused connection.
func (p *Program) serve(addr string, h http.Handler, at *string, refused func()) (err error) {
	*at, err = p.Serve(addr, h, refused)
	return err
}

func openStore(ctx context.Context, c config.Common, log *slog.Logger) (*store.DB, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("no answer within 10 s"))
	defer cancel()
	var password []func() (string, error)
	if c.Redis.PasswordFile != "" {
		password = append(password, c.Redis.Password)
	}
	db, err := store.Open(ctx, string(c.Redis.URL), password...)
	if err != nil {
		return nil, fmt.Errorf("%w (is it running? redis.url or SLUICE_REDIS_URL says where)", err)
	}
	if c.Redis.FailoverMayLose {
		db.AllowLossAtFailover()
	}
	if err := db.Require(ctx, store.Durability(c.Redis.Durability), log); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// newLedger returns the ledger. recipients hashes the recipients of accepted messages; nil: they are not indexed.
func newLedger(db *store.DB, c config.Common, recipients func(string) string) *ledger.Ledger {
	o := ledgerOptions(c)
	o.RecipientHash = recipients
	o.Due = repository.AddTask(queue.NewClient(db, o.Shards))
	return ledger.New(db, o)
}

// ledgerOptions returns the options of the ledger that every program has.
func ledgerOptions(c config.Common) ledger.Options {
	return ledger.Options{Shards: message.Shards(c.Shards), Ended: repository.DropTask, Resendable: cloudapi.Resendable}
}

// policies returns the policy of the messages of a number and class: the configured values, else the defaults.
func policies(d *directory.Directory) func(number string, class message.Class) message.Policy {
	return func(number string, class message.Class) message.Policy {
		p, o := message.DefaultPolicy(class), d.Class(number, string(class))
		return message.Policy{
			Deadline:      cmp.Or(o.Deadline, p.Deadline),
			InDoubtWindow: cmp.Or(o.InDoubtWindow, p.InDoubtWindow),
			InDoubtPolicy: cmp.Or(message.InDoubtPolicy(o.InDoubtPolicy), p.InDoubtPolicy),
			ErrorWindow:   cmp.Or(o.ErrorWindow, p.ErrorWindow),
			RepeatWindow:  cmp.Or(o.RepeatWindow, p.RepeatWindow),

			RefuseOverLimit: o.PortfolioLimit != "wait",
		}
	}
}

// explain returns the title of one of Meta's error codes, and what to do.
func explain(code int) (title, advice string) {
	e, _ := cloudapi.Lookup(code)
	return e.Title, e.Advice
}

// workerName returns a name for this process that no other process has.
func workerName() string { return hostName() + "-" + rand.Text()[:8] }

// webhookName returns the name of a webhook program for events.NewLiveness: its host and listener. Without a fixed port
// it returns a name that no other process has.
func webhookName(listen string) string {
	if strings.HasSuffix(listen, ":0") {
		return workerName()
	}
	return hostName() + "-" + listen + "/" + rand.Text()[:8]
}

func hostName() string {
	host, _ := os.Hostname()
	return strings.ReplaceAll(host, "/", "-")
}

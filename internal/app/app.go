// Package app puts each program together from the packages, so that commands, the demo and the
// tests run the same thing. A program listens when it is made and works while it runs.
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/ops"
	"sluice/internal/repository"
	"sluice/internal/store"
)

// Program is a program put together and listening.
type Program struct {
	addr, consoleAddr, opsAddr string

	log      *slog.Logger
	db       *store.DB
	registry *prometheus.Registry

	unready   atomic.Pointer[string] // why the program does not work yet; nil: it works
	stopOps   func() error           // ends the ops server and returns what failed
	opsFailed <-chan struct{}        // closed when the ops server ended
	listeners []net.Listener

	// work is what the program is for: it ends when its context does. Background goes on
	// until work has ended.
	work       []func(context.Context) error
	background []func(context.Context) error
}

// Addr is where the program serves, as host:port; empty for a worker, which serves nobody.
func (p *Program) Addr() string { return p.addr }

// ConsoleAddr is where the producer's console is, as host:port; empty: it has none.
func (p *Program) ConsoleAddr() string { return p.consoleAddr }

// OpsAddr is where the program tells its metrics and health.
func (p *Program) OpsAddr() string { return p.opsAddr }

// Run works until ctx ends or something fails for good, stops in order, and returns what
// failed. A Program runs once.
func (p *Program) Run(ctx context.Context) error {
	defer p.db.Close()
	p.log.Info("started", "addr", p.addr, "ops_addr", p.opsAddr)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	after, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	start := func(ctx context.Context, parts []func(context.Context) error) *errgroup.Group {
		var g errgroup.Group
		for _, part := range parts {
			g.Go(func() error {
				err := part(ctx)
				if err != nil {
					fail(err)
				}
				return err
			})
		}
		return &g
	}
	p.unready.Store(nil)
	back, front := start(after, append(p.background, p.runOps)), start(ctx, p.work)
	<-ctx.Done()
	p.log.Info("stopping")
	err := front.Wait()
	stop()
	err = errors.Join(err, back.Wait())
	p.log.Info("stopped")
	return err
}

// newProgram makes what every program has: its own registry, the ops server, and Redis. It waits until Redis
// answers; meanwhile the ops server says that the program is not ready. Then checks decide whether the program may
// work with that Redis.
func newProgram(ctx context.Context, c config.Common, log *slog.Logger, checks ...func(context.Context, *store.DB) error) (*Program, error) {
	p := &Program{log: log, registry: ops.Registry()}
	p.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "sluice_log_lines_dropped_total", Help: "Log lines that were dropped because the reader of the log did not keep up.",
	}, func() float64 { return float64(output.Dropped()) }))
	if err := p.serveOps(ctx, c.Ops); err != nil {
		return nil, err
	}
	shards := func(ctx context.Context, db *store.DB) error { return newLedger(db, c).CheckShards(ctx) }
	if err := p.connect(ctx, c, append([]func(context.Context, *store.DB) error{shards}, checks...)); err != nil {
		p.Close()
		return nil, err
	}
	p.db.Measure(p.registry)
	p.background = append(p.background, func(ctx context.Context) error { return p.db.Observe(ctx, log) })
	return p, nil
}

// connect opens Redis. It tries again each second while Redis does not answer.
func (p *Program) connect(ctx context.Context, c config.Common, checks []func(context.Context, *store.DB) error) error {
	const every, sayEvery = time.Second, time.Minute
	start := time.Now()
	var said time.Time
	for {
		db, err := openStore(ctx, c, p.log)
		for i := 0; err == nil && i < len(checks); i++ {
			if err = checks[i](ctx, db); err != nil {
				db.Close()
			}
		}
		if err == nil {
			if !said.IsZero() {
				p.log.Info("Redis answers, starting", "waited_seconds", int(time.Since(start).Seconds()))
			}
			p.db = db
			return nil
		}
		if !store.Unreachable(err) || ctx.Err() != nil {
			return err
		}
		if time.Since(said) > sayEvery {
			said = time.Now()
			p.log.Warn("waiting for Redis", "err", err)
		}
		p.notReady("waiting for Redis: " + err.Error())
		select {
		case <-ctx.Done():
			return err
		case <-time.After(every):
		}
	}
}

// notReady sets why the program does not work yet.
func (p *Program) notReady(why string) { p.unready.Store(&why) }

// serveOps starts the server of metrics, health and profiles, which runs until Close or the end of Run.
func (p *Program) serveOps(ctx context.Context, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for ops: %w", err)
	}
	p.opsAddr = l.Addr().String()
	p.notReady("starting")
	ready := func(ctx context.Context) error {
		if why := p.unready.Load(); why != nil {
			return errors.New(*why)
		}
		if err := p.db.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		return p.db.Fit()
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	var failed error
	go func() {
		defer close(ended)
		failed = ops.Serve(ctx, l, ops.Handler(p.registry, ready), ops.ServeOptions{
			WriteTimeout: 2 * time.Minute, // a CPU profile takes as long as it was asked to
			Log:          p.log,
		})
	}()
	p.opsFailed = ended
	p.stopOps = func() error {
		stop()
		<-ended
		return failed
	}
	return nil
}

// runOps stops the ops server when ctx ends, and returns early when that server fails.
func (p *Program) runOps(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-p.opsFailed:
	}
	return p.stopOps()
}

// serve adds an HTTP server to the program's work, and notes where it is. It calls refused, which may be
// nil, when it refuses a connection.
func (p *Program) serve(addr string, h http.Handler, at *string, refused func()) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		p.Close()
		return fmt.Errorf("listen: %w", err)
	}
	p.listeners = append(p.listeners, l)
	*at = l.Addr().String()
	p.work = append(p.work, func(ctx context.Context) error {
		return ops.Serve(ctx, l, h, ops.ServeOptions{Detach: true, Refused: refused, Log: p.log})
	})
	return nil
}

// Close takes down a program that will not run.
func (p *Program) Close() {
	for _, l := range p.listeners {
		l.Close()
	}
	p.stopOps() // it served nothing that matters
	if p.db != nil {
		p.db.Close()
	}
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

func newLedger(db *store.DB, c config.Common) *ledger.Ledger {
	return ledger.New(db, ledgerOptions(c))
}

// ledgerOptions are those of every program.
func ledgerOptions(c config.Common) ledger.Options {
	return ledger.Options{Shards: message.Shards(c.Shards), Ended: repository.DropTask, Resendable: cloudapi.Resendable}
}

// policies returns how messages are treated: what is configured, else the defaults.
func policies(c config.Common) func(number string, class message.Class) message.Policy {
	return func(number string, class message.Class) message.Policy {
		p := message.DefaultPolicy(class)
		o := c.Class(number, string(class))
		if o.Deadline != 0 {
			p.Deadline = o.Deadline
		}
		if o.DoubtWindow != 0 {
			p.InDoubtWindow = o.DoubtWindow
		}
		if o.OnDoubt != "" {
			p.InDoubtPolicy = message.InDoubtPolicy(o.OnDoubt)
		}
		if o.ErrorWindow != 0 {
			p.ErrorWindow = o.ErrorWindow
		}
		if o.RepeatWindow != 0 {
			p.RepeatWindow = o.RepeatWindow
		}
		return p
	}
}

// known tells whether a number is configured.
func known(numbers []config.Number) func(string) bool {
	ids := map[string]bool{}
	for _, n := range numbers {
		ids[n.ID] = true
	}
	return func(id string) bool { return ids[id] }
}

// phones returns the phone number of an id; empty where it is not configured.
func phones(numbers []config.Number) func(string) string {
	own := map[string]string{}
	for _, n := range numbers {
		own[n.ID] = n.Display
	}
	return func(id string) string { return own[id] }
}

// explain is what people are told of one of Meta's codes.
func explain(code int) (title, advice string) {
	e, _ := cloudapi.Lookup(code)
	return e.Title, e.Advice
}

// workerName names this process among all that ever ran.
func workerName() string { return hostName() + "-" + rand.Text()[:8] }

// webhookName names a webhook program by its host and listener, as events.NewLiveness asks for. A port that the
// system chooses names no place.
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

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
	ops      net.Listener
	registry *prometheus.Registry

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
	p.log.Info("started", "addr", p.addr, "ops", p.opsAddr)
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
	back, front := start(after, p.background), start(ctx, p.work)
	<-ctx.Done()
	p.log.Info("stopping")
	err := front.Wait()
	stop()
	err = errors.Join(err, back.Wait())
	p.log.Info("stopped")
	return err
}

// newProgram opens what every program has: Redis, its own registry, the ops listener.
func newProgram(ctx context.Context, c config.Common, log *slog.Logger) (*Program, error) {
	db, err := openStore(ctx, c, log)
	if err != nil {
		return nil, err
	}
	p := &Program{log: log, db: db, registry: ops.Registry()}
	db.Measure(p.registry)
	if err := newLedger(db, c).CheckShards(ctx); err != nil {
		db.Close()
		return nil, err
	}
	if p.ops, err = net.Listen("tcp", c.Ops); err != nil {
		db.Close()
		return nil, fmt.Errorf("listen for ops: %w", err)
	}
	p.opsAddr = p.ops.Addr().String()
	ready := func(ctx context.Context) error {
		if err := db.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		return db.Fit()
	}
	observe := func(ctx context.Context) error { return db.Observe(ctx, log) }
	p.background = append(p.background, observe, func(ctx context.Context) error {
		return ops.Serve(ctx, p.ops, ops.Handler(p.registry, ready), ops.ServeOptions{
			WriteTimeout: 2 * time.Minute, // a CPU profile takes as long as it was asked to
			Log:          log,
		})
	})
	return p, nil
}

// serve adds an HTTP server to the program's work, and notes where it is. It calls refused, which may be
// nil, when it refuses a connection.
func (p *Program) serve(addr string, h http.Handler, at *string, refused func()) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		p.close()
		return fmt.Errorf("listen: %w", err)
	}
	*at = l.Addr().String()
	p.work = append(p.work, func(ctx context.Context) error {
		return ops.Serve(ctx, l, h, ops.ServeOptions{Detach: true, Refused: refused, Log: p.log})
	})
	return nil
}

// close undoes newProgram for a program that will not run.
func (p *Program) close() {
	p.ops.Close()
	p.db.Close()
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
			p.DoubtWindow = o.DoubtWindow
		}
		if o.OnDoubt != "" {
			p.OnDoubt = message.OnDoubt(o.OnDoubt)
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
func workerName() string {
	host, _ := os.Hostname()
	return strings.ReplaceAll(host, "/", "-") + "-" + rand.Text()[:8]
}

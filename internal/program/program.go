// Package program starts, runs and stops a program of Sluice: it waits for Redis, reports whether the program is
// ready, runs the work of the program, and ends it in order.
package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sluice/internal/ops"
	"sluice/internal/store"
)

// Program is a program that listens. Its work begins with Run.
type Program struct {
	DB       *store.DB
	Registry *prometheus.Registry // the metrics of the program
	Log      *slog.Logger

	opsAddr   string
	unready   atomic.Pointer[string] // why the program does not work yet; nil: it works
	stopOps   func() error           // ends the ops server and returns its error
	opsFailed <-chan struct{}        // closed when the ops server ended
	listeners []net.Listener

	work, background []func(context.Context) error
}

// Options are what New needs.
type Options struct {
	Ops string // host:port of the ops listener
	Log *slog.Logger
	// Open opens Redis and decides whether the program may work with it. If its error is store.Unreachable, New
	// calls it again.
	Open func(context.Context) (*store.DB, error)
}

// New starts the ops server and waits until Redis answers. Until then /readyz fails. It returns the error of
// Open if Redis can be reached.
func New(ctx context.Context, o Options) (*Program, error) {
	p := &Program{Log: o.Log, Registry: ops.Registry()}
	if err := p.serveOps(ctx, o.Ops); err != nil {
		return nil, err
	}
	if err := p.connect(ctx, o.Open); err != nil {
		p.Close()
		return nil, err
	}
	p.DB.Measure(p.Registry)
	p.Background(func(ctx context.Context) error { return p.DB.Observe(ctx, o.Log) })
	return p, nil
}

// OpsAddr returns host:port of the ops server.
func (p *Program) OpsAddr() string { return p.opsAddr }

// Work adds functions to the work of the program. They run until their context ends.
func (p *Program) Work(parts ...func(context.Context) error) { p.work = append(p.work, parts...) }

// Background adds functions that run until the work of the program has ended.
func (p *Program) Background(parts ...func(context.Context) error) {
	p.background = append(p.background, parts...)
}

// Serve adds an HTTP server to the work of the program, and returns its host:port. refused, which may be nil, is
// called for each refused connection.
func (p *Program) Serve(addr string, h http.Handler, refused func()) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		p.Close()
		return "", fmt.Errorf("listen: %w", err)
	}
	p.listeners = append(p.listeners, l)
	p.Work(func(ctx context.Context) error {
		return ops.Serve(ctx, l, h, ops.ServeOptions{Detach: true, Refused: refused, Log: p.Log})
	})
	return l.Addr().String(), nil
}

// Run works until ctx ends or a part returns an error. It ends the work first, then the background parts, and
// closes Redis last. It returns what failed. A Program runs once.
func (p *Program) Run(ctx context.Context) error {
	defer p.DB.Close()
	p.Log.Info("started", "addr", p.addr(), "ops_addr", p.opsAddr)
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
	p.Log.Info("stopping")
	err := front.Wait()
	stop()
	err = errors.Join(err, back.Wait())
	p.Log.Info("stopped")
	return err
}

// addr returns host:port of the first HTTP server of the work; empty: there is none.
func (p *Program) addr() string {
	if len(p.listeners) == 0 {
		return ""
	}
	return p.listeners[0].Addr().String()
}

// Close releases what a program holds that will not run.
func (p *Program) Close() {
	for _, l := range p.listeners {
		l.Close()
	}
	p.stopOps() // no request mattered
	if p.DB != nil {
		p.DB.Close()
	}
}

// connect opens Redis. It tries again each second while Redis cannot be reached.
func (p *Program) connect(ctx context.Context, open func(context.Context) (*store.DB, error)) error {
	const every, logEvery = time.Second, time.Minute
	start := time.Now()
	var logged time.Time
	for {
		db, err := open(ctx)
		if err == nil {
			if !logged.IsZero() {
				p.Log.Info("Redis answers, starting", "waited_seconds", int(time.Since(start).Seconds()))
			}
			p.DB = db
			return nil
		}
		if !store.Unreachable(err) || ctx.Err() != nil {
			return err
		}
		if time.Since(logged) > logEvery {
			logged = time.Now()
			p.Log.Warn("waiting for Redis", "err", err)
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
		if err := p.DB.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		return p.DB.Fit()
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	var failed error
	go func() {
		defer close(ended)
		failed = ops.Serve(ctx, l, ops.Handler(p.Registry, ready), ops.ServeOptions{
			WriteTimeout: 2 * time.Minute, // a CPU profile takes as long as its request says
			Log:          p.Log,
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

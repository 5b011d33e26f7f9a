package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Ready reports whether a program can do its work now; an error says shortly why not. It must
// return when its context ends.
type Ready func(ctx context.Context) error

// readyTimeout is how long a readiness check may take; the probes wait a second longer.
const readyTimeout = 2 * time.Second

// overview is the answer of GET /.
const overview = `The operations port of a Sluice program, for operators. Do not expose it to the internet.

  /metrics       metrics for Prometheus; docs/metrics.md describes each
  /livez         200 while the process serves
  /readyz        200 while the program can do its work, else 503 and why not
  /debug/pprof/  profiles of the process

The API has a port of its own. It is described at /docs and /openapi.json there.
`

// Handler serves /, /metrics, /livez, /readyz and /debug/pprof, by GET and HEAD only. Serve it on
// a listener of its own that the internet cannot reach. A nil ready is always ready.
//
// /livez answers 200 as long as the process serves at all. It does not call ready, because an outage
// of Redis must not make an orchestrator kill every worker in the middle of its requests.
func Handler(reg *prometheus.Registry, ready Ready) http.Handler {
	if ready == nil {
		ready = func(context.Context) error { return nil }
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, overview) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		EnableOpenMetrics: true, Registry: reg,
	}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeoutCause(r.Context(), readyTimeout,
			fmt.Errorf("no answer within %s", readyTimeout))
		defer cancel()
		if err := ready(ctx); err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			http.Error(w, "not ready: "+Mask(err.Error()), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// ServeOptions are the limits of a server. Zero means the default.
type ServeOptions struct {
	ReadTimeout  time.Duration // for a whole request with its body; default 10 s
	WriteTimeout time.Duration // from the end of a request's header to the end of its answer; default 20 s, so that a body that ends late gets an answer too
	Grace        time.Duration // how long a stop waits for running requests; default 10 s
	Connections  int           // how many may be open; further ones are closed at once; default 4,096
	Refused      func()        // called when a connection is closed because too many are open; default none
	Detach       bool          // a caller that leaves, or closes its half of the connection, does not end the context of its request; see Left
	Log          *slog.Logger  // gets the errors of net/http; default none
}

// Serve answers requests on l by h until ctx ends. Then it accepts no new requests, waits up to o.Grace for the
// running ones, and returns nil. It cuts off the requests that still run then, and returns an error. The end of
// ctx does not end the contexts of running requests. Serve closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler, o ServeOptions) error {
	const usual = 10 * time.Second
	if o.Detach {
		h = detached(h)
	}
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       cmp.Or(o.ReadTimeout, usual),
		WriteTimeout:      cmp.Or(o.WriteTimeout, 2*usual),
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ConnState:         atMost(cmp.Or(o.Connections, 4096), o.Refused, o.Log),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:          log.New(lines{o.Log}, "", 0),
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace := cmp.Or(o.Grace, usual)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := s.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		s.Close()
		err = fmt.Errorf("requests were still running %s after the stop", grace)
	}
	<-failed // http.ErrServerClosed: we closed it
	if err != nil {
		return fmt.Errorf("stop %s: %w", l.Addr(), err)
	}
	return nil
}

// detached keeps the context of a request alive when its caller is gone. net/http does not distinguish a caller
// that has closed its half of the connection and waits for the answer from a caller that has left: it ends
// the contexts of both. So every request is finished and answered. Each handler has time limits of its own.
func detached(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		h.ServeHTTP(w, r.WithContext(context.WithValue(context.WithoutCancel(ctx), leftKey{}, ctx.Done())))
	})
}

// leftKey is the key of the channel of Left.
type leftKey struct{}

// Left returns a channel that is closed when the caller of a detached request has left, or has closed its half of the
// connection. It is for handlers that wait. In another context it returns nil.
func Left(ctx context.Context) <-chan struct{} {
	left, _ := ctx.Value(leftKey{}).(<-chan struct{})
	return left
}

// atMost closes new connections while so many are open. So a client that opens ever more of them cannot
// use up the memory and the files of the process.
func atMost(most int, refused func(), log *slog.Logger) func(net.Conn, http.ConnState) {
	var open, logged atomic.Int64
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if open.Add(1) <= int64(most) {
				return
			}
			if refused != nil {
				refused()
			}
			c.Close() // then the server calls this function with StateClosed
			now, last := time.Now().Unix(), logged.Load()
			if log != nil && now >= last+60 && logged.CompareAndSwap(last, now) {
				log.Warn("too many connections, new ones are closed", slog.Int("open", most))
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
}

package pages

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"sluice/client"
	"sluice/internal/httpapi"
)

// local returns a client of an API in this process. It speaks HTTP over connections in memory, so that a request of many rows is
// answered while it is sent, with the time limits of the API. Each request has the rights that key then returns. end closes the connections.
func local(api http.Handler, key func() httpapi.Key, log *slog.Logger) (c *client.Client, end func()) {
	l := &memory{make(chan net.Conn), make(chan struct{})}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			api.ServeHTTP(w, r.WithContext(httpapi.As(r.Context(), key())))
		}),
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError),
	}
	go srv.Serve(l)                                                            // until end
	transport := &http.Transport{DialContext: l.dial, DisableKeepAlives: true} // a request takes minutes
	const unused = "session"                                                   // the API gets the key of the session
	c = client.New("http://producer", unused, client.WithRetryFor(0), client.WithHTTPClient(&http.Client{Transport: transport}))
	return c, func() { srv.Close(); transport.CloseIdleConnections() }
}

// memory is a listener whose connections are in memory.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements net.Listener.
func (l *memory) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It is called once.
func (l *memory) Close() error {
	close(l.closed)
	return nil
}

// Addr implements net.Listener.
func (l *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

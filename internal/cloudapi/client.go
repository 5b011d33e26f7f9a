// Package cloudapi is the client of Meta's WhatsApp Cloud API. It sends messages and decides the outcome of each
// attempt, has the catalogue of Meta's error codes, and verifies and parses Meta's webhooks. No other package uses
// Meta's formats, except content for the message object.
package cloudapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
	"sluice/internal/version"
)

// Defaults of Options.
const (
	DefaultBaseURL = "https://graph.facebook.com"
	DefaultVersion = "v25.0"
	DefaultTimeout = 20 * time.Second
)

const (
	dialTimeout = 3 * time.Second
	idleTimeout = 90 * time.Second
	// maxConns is enough for 1,000 messages per second if Meta answers after 500 ms.
	maxConns = 512
	// maxAttempts is larger than maxConns, so that further attempts can be recorded while all connections are in
	// use. With maxConns, attempts would begin one by one as connections become free. Few of them would share a
	// round trip to Redis, and a message would need twice as many commands.
	maxAttempts = 2 * maxConns
	// maxAnswer is the maximum size of an answer. Meta's answers have less than 2 KiB.
	maxAnswer = 1 << 20
)

// Options configure a Client.
type Options struct {
	BaseURL    string                              // default DefaultBaseURL; a trailing slash does not matter
	Version    string                              // Graph API version, default DefaultVersion
	Token      func(number string) (string, error) // returns the access token of a phone number id; required, called before every request
	Timeout    time.Duration                       // of a whole attempt with its connection; default DefaultTimeout
	Registerer prometheus.Registerer               // nil: the metrics are not registered
	// Identities is called with the names of a recipient that Meta's answer has, if it has several. It must not block. May be nil.
	Identities func(message.Identities)
	// Served is called when Meta answers with another version of the Graph API than the one of the request, once for each pair of
	// versions. It must not block. May be nil.
	Served func(asked, served string)
}

// Client sends messages. It never retries. It is safe for concurrent use.
type Client struct {
	root      string // the base URL with a slash
	version   string // of requests that name none
	base      string // root, version and a slash
	token     func(string) (string, error)
	timeout   time.Duration
	transport *http.Transport
	names     func(message.Identities)
	attempts  chan struct{} // has one element for each attempt between Reserve and Release
	metrics   *metrics
}

// NewClient returns a client. It opens no connections.
func NewClient(o Options) *Client {
	root, standard := strings.TrimRight(cmp.Or(o.BaseURL, DefaultBaseURL), "/")+"/", cmp.Or(o.Version, DefaultVersion)
	return &Client{
		root: root, version: standard, base: root + standard + "/",
		token:   o.Token,
		timeout: cmp.Or(o.Timeout, DefaultTimeout),
		transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxIdleConns:           maxConns,
			MaxIdleConnsPerHost:    maxConns,
			MaxConnsPerHost:        maxConns,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
			// HTTP/1.1 only: a lost connection leaves one message in doubt. With HTTP/2 it would leave all
			// messages of the connection in doubt.
			Protocols: http1(),
		},
		names:    o.Identities,
		attempts: make(chan struct{}, maxAttempts),
		metrics:  newMetrics(o.Registerer, standard, o.Served),
	}
}

func http1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// Close closes the idle connections. It does not interrupt running requests.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Reserve blocks until an attempt may begin, and returns how long it waited. It limits the attempts to those that
// will soon get a connection. The caller must call Release after Send. If the connection still comes late, ready of
// Send can wait for another slot.
func (c *Client) Reserve(ctx context.Context) (time.Duration, error) {
	select {
	case c.attempts <- struct{}{}:
		return 0, nil
	default:
	}
	start := time.Now()
	select {
	case c.attempts <- struct{}{}:
		return time.Since(start), nil
	case <-ctx.Done():
		return time.Since(start), context.Cause(ctx)
	}
}

// Release ends the reservation of an attempt.
func (c *Client) Release() { <-c.attempts }

// Send makes one attempt to send a message: one POST of its body (see Body) to /{version}/{number}/messages, or to
// marketing_messages if the request says so. It gets a
// connection, calls ready, and then writes the request at once. ready blocks until the request may be written. If it
// returns an error, nothing is written. If ready is nil, Send writes the request as soon as it has a connection. Send
// blocks for at most Options.Timeout, and for the time of ready.
//
// Without a connection, or after an error of ready, nothing has left this machine: the outcome is Transient. After
// that, everything that ends the attempt before a complete answer is NoAnswer, also the end of ctx. To get an answer
// instead of an in-doubt message at a stop, pass a context that the stop does not end. Classify decides about a
// complete answer.
func (c *Client) Send(ctx context.Context, r message.Request, ready func() error) message.Outcome {
	r.Version = cmp.Or(r.Version, c.version)
	token, err := c.tokenOf(r.Number)
	if err != nil {
		c.metrics.failed("other")
		return message.Outcome{Kind: message.Held, Hold: message.HoldNumber, Reason: "token", Err: err}
	}
	g := gate{ready: ready}
	start := time.Now()
	out, code := c.post(ctx, r, token, &g)
	if g.refused != nil {
		return out // no request was made
	}
	c.metrics.observe(ctx, r, out.Kind, time.Since(start)-g.waited)
	if out.Kind != message.Accepted {
		c.metrics.failed(code)
	}
	return out
}

// gate delays a request that has a connection until ready returns. The goroutine of the request calls it.
type gate struct {
	ready   func() error
	opened  bool // the request may have been written
	refused error
	waited  time.Duration
}

// connected blocks until the request may be written. If it may not, connected closes the connection, because
// net/http cannot cancel a request at this point.
func (g *gate) connected(conn net.Conn) {
	start := time.Now()
	if g.ready != nil {
		g.refused = g.ready()
	}
	g.waited += time.Since(start)
	if g.refused != nil {
		conn.Close()
		return
	}
	g.opened = true
}

// tokenOf returns the access token of a number. It returns an error for values that could change the path or the
// headers of the request.
func (c *Client) tokenOf(number string) (string, error) {
	if !message.IsNumberID(number) {
		return "", errors.New("not a phone number id")
	}
	token, err := c.token(number)
	if err != nil {
		return "", fmt.Errorf("read access token: %w", err)
	}
	if token == "" {
		return "", errors.New("access token is empty")
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("access token has a blank or a control character")
	}
	return token, nil
}

// post makes the request. It also returns the label for the metric of errors, unless the outcome is Accepted.
func (c *Client) post(ctx context.Context, r message.Request, token string, g *gate) (message.Outcome, string) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { g.connected(i.Conn) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.root+r.Version+"/"+r.Number+"/"+string(r.Route()), bytes.NewReader(r.Body))
	if err != nil {
		return message.Outcome{Kind: message.Held, Hold: message.HoldNumber, Reason: "base_url", Err: errors.New("graph base URL cannot be used")}, "other"
	}
	// net/http retries a POST by itself when a reused connection dies, if the request has GetBody or the header
	// Idempotency-Key. So both must be absent. http.Client would follow a redirect 307 with the body, and RoundTrip
	// does not.
	req.GetBody = nil
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", version.UserAgent)

	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		if g.opened {
			return noAnswer(ctx, err), "other"
		}
		if g.refused != nil {
			return message.Outcome{Kind: message.Transient, Reason: "not_sent", Err: g.refused}, "other"
		}
		return notSent(ctx, err), "other"
	}
	defer resp.Body.Close()
	c.metrics.served(r.Version, resp.Header.Get("Facebook-Api-Version"))
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil { // an incomplete answer proves nothing, whatever its status
		return noAnswer(ctx, err), "other"
	}
	if !success(resp.StatusCode) || bytes.Contains(answer, []byte(`"error"`)) {
		answer = withoutToken(answer, token) // records and events have Meta's text
	}
	out, entry := classify(resp.StatusCode, resp.Header, answer)
	if out.Kind == message.Accepted && c.names != nil {
		if who, ok := answered(r.Number, bytes.TrimSpace(answer)); ok {
			c.names(who)
		}
	}
	return out, entry.Name()
}

// notSent returns the outcome of an attempt that got no connection.
func notSent(ctx context.Context, err error) message.Outcome {
	reason := "tls" // only TLS can fail after the TCP connection
	if ctx.Err() != nil {
		reason = "no_connection"
		err = ctx.Err()
	} else if _, ok := errors.AsType[*net.DNSError](err); ok {
		reason = "dns"
	} else if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "dial" || op.Op == "proxyconnect") {
		reason = "dial"
	}
	return message.Outcome{Kind: message.Transient, Reason: reason, Err: scrub(err)}
}

// noAnswer returns the outcome of an attempt that got a connection but no complete answer.
func noAnswer(ctx context.Context, err error) message.Outcome {
	reason := "cut" // the connection ended, or the answer was not HTTP
	if ctx.Err() != nil {
		reason = "timeout"
		if errors.Is(ctx.Err(), context.Canceled) {
			reason = "cancelled"
		}
		err = ctx.Err()
	} else if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		reason = "reset"
	}
	return message.Outcome{Kind: message.NoAnswer, Reason: reason, Err: scrub(err)}
}

// scrub returns plain(err) as an error of the Graph API.
func scrub(err error) error { return fmt.Errorf("graph: %w", plain(err)) }

// plain returns err if its text cannot have parts of a request or an answer, and otherwise an error with its type
// only: net/http puts malformed answers into its errors.
func plain(err error) error {
	_, dns := errors.AsType[*net.DNSError](err)
	_, op := errors.AsType[*net.OpError](err)
	_, sys := errors.AsType[*os.SyscallError](err)
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case dns, op, sys, cert, ended:
		return err
	}
	return fmt.Errorf("%T", err)
}

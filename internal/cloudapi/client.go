// Package cloudapi is the only package that speaks Meta's API: it sends messages to the
// WhatsApp Cloud API, decides the outcome of each attempt, knows Meta's error codes, and
// reads Meta's webhooks.
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
)

// What Options default to.
const (
	DefaultBaseURL = "https://graph.facebook.com"
	DefaultVersion = "v25.0"
	DefaultTimeout = 20 * time.Second
)

const (
	dialTimeout = 3 * time.Second
	idleTimeout = 90 * time.Second
	// maxConns carries 1,000 messages a second at an answer time of 500 ms.
	maxConns = 512
	// maxAttempts lets as many attempts again be recorded while all connections are in use. With maxConns alone each
	// attempt begins when one connection becomes free, so few of them share a round trip to Redis: twice the commands
	// for a message.
	maxAttempts = 2 * maxConns
	// maxAnswer is the most we read of an answer; Meta's are below 2 KiB.
	maxAnswer = 1 << 20
)

// Options configure a Client.
type Options struct {
	BaseURL    string                              // default DefaultBaseURL; a trailing slash does not matter
	Version    string                              // Graph API version, default DefaultVersion
	Token      func(number string) (string, error) // access token of a phone number id; required, asked before every request
	Timeout    time.Duration                       // of a whole attempt, dialling included; default DefaultTimeout
	Registerer prometheus.Registerer               // nil: the metrics are kept but not registered
}

// Client sends messages. It is safe for concurrent use and repeats nothing by itself.
type Client struct {
	base      string
	token     func(string) (string, error)
	timeout   time.Duration
	transport *http.Transport
	places    chan struct{} // one for each attempt between Reserve and Release
	metrics   *metrics
}

// NewClient returns a client. It opens no connection yet.
func NewClient(o Options) *Client {
	return &Client{
		base:    strings.TrimRight(cmp.Or(o.BaseURL, DefaultBaseURL), "/") + "/" + cmp.Or(o.Version, DefaultVersion) + "/",
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
			// HTTP/1.1 only: there a lost connection leaves one message in doubt. Over HTTP/2 a
			// single reset, or a server going away, would leave every message on it in doubt.
			Protocols: http1(),
		},
		places:  make(chan struct{}, maxAttempts),
		metrics: newMetrics(o.Registerer),
	}
}

func http1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// Close closes the idle connections. Requests under way are not touched.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Reserve blocks until an attempt may begin, and returns how long it waited: not more attempts are under way than
// will soon get a connection. The caller calls Release after Send. An attempt whose connection comes late
// asks for another slot: see Send's ready.
func (c *Client) Reserve(ctx context.Context) (time.Duration, error) {
	select {
	case c.places <- struct{}{}:
		return 0, nil
	default:
	}
	start := time.Now()
	select {
	case c.places <- struct{}{}:
		return time.Since(start), nil
	case <-ctx.Done():
		return time.Since(start), context.Cause(ctx)
	}
}

// Release ends what Reserve began.
func (c *Client) Release() { <-c.places }

// Send makes one attempt to hand a message to Meta: one POST of body, as Body made it, to
// /{version}/{number}/messages. It gets a connection, calls ready, and then writes the request at once.
// Ready blocks until the request may be written; when it returns an error nothing is written. Nil: it
// may be written as soon as there is a connection. Send blocks until there is an outcome: at most
// Options.Timeout, and as long as ready takes.
//
// The outcome follows only from what was seen. Without a connection, and without ready's consent, nothing
// can have left: Transient. With both, whatever ends the attempt before a complete answer is NoAnswer, and
// that includes ctx: a caller that would rather wait for an answer than be in doubt when it
// has to stop passes a context that outlives the stop. A complete answer is for Classify.
func (c *Client) Send(ctx context.Context, number string, body []byte, ready func() error) message.Outcome {
	token, err := c.tokenOf(number)
	if err != nil {
		c.metrics.failed("other")
		return message.Outcome{Kind: message.Held, Hold: message.HoldNumber, Reason: "token", Err: err}
	}
	g := gate{ready: ready}
	start := time.Now()
	out, code := c.post(ctx, number, token, body, &g)
	if g.refused != nil {
		return out // it was no request
	}
	c.metrics.observe(out.Kind, time.Since(start)-g.waited)
	if out.Kind != message.Accepted {
		c.metrics.failed(code)
	}
	return out
}

// gate lets a request out once it has a connection. The goroutine that makes the request calls it.
type gate struct {
	ready   func() error
	opened  bool // the request may have been written
	refused error
	waited  time.Duration
}

// connected blocks until the request may be written, or makes sure that it cannot be: net/http has no
// way to take a request back at this point, but nothing leaves by a connection that is closed.
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

// tokenOf refuses what could change the request's path or its headers.
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
		return "", errors.New("access token holds a blank or a control character")
	}
	return token, nil
}

// post also returns the code to count the outcome under, when it is not Accepted.
func (c *Client) post(ctx context.Context, number, token string, body []byte, g *gate) (message.Outcome, string) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { g.connected(i.Conn) },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+number+"/messages", bytes.NewReader(body))
	if err != nil {
		return message.Outcome{Kind: message.Held, Hold: message.HoldNumber, Reason: "base_url", Err: errors.New("graph base URL cannot be used")}, "other"
	}
	// Two things would make Go repeat a POST by itself when a reused connection dies: an
	// Idempotency-Key header, which therefore must never be added, and GetBody. And RoundTrip,
	// unlike http.Client, follows no redirect: a 307 would be followed with the body.
	req.GetBody = nil
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "sluice")

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
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil { // whatever the status: only a whole answer proves anything
		return noAnswer(ctx, err), "other"
	}
	out, entry := classify(resp.StatusCode, resp.Header, answer)
	return out, entry.Name()
}

// notSent is the outcome when no connection was had.
func notSent(ctx context.Context, err error) message.Outcome {
	reason := "tls" // all that can fail once there is a TCP connection
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

// noAnswer is the outcome when there was a connection and no complete answer.
func noAnswer(ctx context.Context, err error) message.Outcome {
	reason := "cut" // the connection ended, or what came was not HTTP
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

// scrub is plain for calls of the Graph API.
func scrub(err error) error { return fmt.Errorf("graph: %w", plain(err)) }

// plain lets the text of an error through only where it cannot quote what was sent or
// received: net/http puts malformed answers into its errors. Of others only the type is told.
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

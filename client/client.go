package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	defaultRetryFor = 30 * time.Second
	tryTimeout      = 15 * time.Second // of one try, if it can be repeated: Sluice answers in less
	maxAnswer       = 64 << 20         // bytes of an answer that are read
)

// Client calls the API of Sluice. It is safe for concurrent use.
type Client struct {
	base     string
	key      func() string // a function, so that no way of printing a Client prints the key
	http     *http.Client
	retryFor time.Duration
	err      error // of the arguments of New
}

// An Option changes a Client.
type Option func(*Client)

// WithRetryFor sets for how long a call is repeated after a temporary failure. The default is 30 s. With 0 the client makes
// each call once, with no time limit but that of its context, and gives messages no keys.
func WithRetryFor(d time.Duration) Option { return func(c *Client) { c.retryFor = d } }

// WithHTTPClient sets the HTTP client, for example for a proxy or for certificates of your own. The Client does not follow
// redirects.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// transport is shared by the clients without an HTTP client of their own. It keeps more idle connections than
// http.DefaultTransport.
var transport = func() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 64
	return t
}()

// New returns a client of the API at baseURL, for example "http://127.0.0.1:8080". It connects to nothing. If an argument
// cannot be used, every call returns an error that says so.
func New(baseURL, apiKey string, options ...Option) *Client {
	c := &Client{base: strings.TrimRight(baseURL, "/"), key: func() string { return apiKey }, retryFor: defaultRetryFor}
	for _, o := range options {
		o(c)
	}
	h := http.Client{Transport: transport}
	if c.http != nil {
		h = *c.http
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a redirected POST becomes a GET
	c.http = &h
	u, err := url.Parse(c.base)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		c.err = errors.New("client: the base URL of Sluice is not usable. Write it like https://sluice.example.com, without a user and a query")
	case apiKey == "" || strings.ContainsFunc(apiKey, func(r rune) bool { return r <= ' ' || r > '~' }):
		c.err = errors.New("client: the API key is empty, or has a space, a line break or a character outside of ASCII. Use the key as the operator gave it")
	}
	return c
}

// String returns the base URL.
func (c *Client) String() string { return c.base }

// Call makes a request that has no method of its own, for example on one of Meta's paths. path may have a query. in is the
// body as JSON; nil: there is none. The answer is decoded into out, and a *json.RawMessage gets it unchanged; nil: it is
// not needed. A GET is repeated after a temporary failure, other methods are not.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	r := request{method: method, path: path}
	if in != nil {
		var err error
		if r.body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
	}
	if method == http.MethodGet {
		return c.do(ctx, r, out)
	}
	return c.try(ctx, r, out)
}

// request is a call of the API.
type request struct {
	method, path string
	body         []byte
	wait         time.Duration // how long Sluice may wait before it answers
}

// do makes a request, repeats it after temporary failures, and decodes the answer into out.
func (c *Client) do(ctx context.Context, r request, out any) error {
	return c.retry(ctx, r.wait, func(ctx context.Context) error { return c.try(ctx, r, out) })
}

// try makes a request once.
func (c *Client) try(ctx context.Context, r request, out any) error {
	resp, err := c.roundTrip(ctx, r.method, r.path, "application/json", bytes.NewReader(r.body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return &callError{"read the answer to " + r.method + " " + pathOf(r.path), true, err}
	}
	if resp.StatusCode >= 300 {
		return problemOf(resp, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return &callError{"the answer to " + r.method + " " + pathOf(r.path) + " is not from Sluice. Check the base URL", true, err}
	}
	return nil
}

// roundTrip sends a request and returns the answer, whatever its status.
func (c *Client) roundTrip(ctx context.Context, method, path, media string, body io.Reader) (*http.Response, error) {
	if c.err != nil {
		return nil, c.err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, errors.New("client: the method or the path of the request is not usable")
	}
	req.Header.Set("Authorization", "Bearer "+c.key())
	req.Header.Set("User-Agent", "sluice-client")
	if req.Body != nil && req.Body != http.NoBody {
		req.Header.Set("Content-Type", media)
	}
	resp, err := c.http.Do(req)
	if err == nil {
		return resp, nil
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the URL, whose query may have references and tags
	}
	op, _ := errors.AsType[*net.OpError](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	connected := !untrusted && (op == nil || op.Op != "dial" && op.Op != "proxyconnect")
	return nil, &callError{"call " + method + " " + pathOf(path), connected, err}
}

// pathOf returns a path without its query.
func pathOf(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}

// callError means that there was no complete answer of Sluice.
type callError struct {
	what string
	sent bool // the request may have reached Sluice
	err  error
}

func (e *callError) Error() string { return e.what + ": " + e.err.Error() }
func (e *callError) Unwrap() error { return e.err }

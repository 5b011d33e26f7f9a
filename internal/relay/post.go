package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/publicnet"
	"sluice/internal/version"
)

const (
	maxAnswer     = 64 << 10  // bytes of an answer that are read, so that the connection can be used again
	maxRetryAfter = time.Hour // a longer Retry-After counts as this
)

// answer is what came of a request.
type answer struct {
	failure string        // why the target did not take it: a short constant word, or an HTTP status; empty: it took it
	wait    time.Duration // what the target asked for by Retry-After; 0: nothing
	reached bool          // the target may have got the request
	crowded bool          // the target takes no requests now: 429 or 503
}

// request is a request to make.
type request struct {
	url, secret string
	body        []byte
}

// poster makes requests to a target. Each target has its own, so that they share no connections.
type poster struct {
	guard     publicnet.Dialer
	transport *http.Transport
	timeout   time.Duration // of a whole request
}

func newPoster(g publicnet.Dialer, timeout time.Duration, concurrency int, roots *x509.CertPool) *poster {
	return &poster{guard: g, timeout: timeout, transport: &http.Transport{
		DialContext:            g.DialContext,
		TLSHandshakeTimeout:    publicnet.DialTimeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		MaxIdleConnsPerHost:    concurrency,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}}
}

func (p *poster) close() { p.transport.CloseIdleConnections() }

// post makes a request. A 2xx within the timeout means that the target took it. It follows no redirects. The error of a
// request may contain the URL, so it returns a word.
func (p *poster) post(ctx context.Context, r request) answer {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	u, err := url.Parse(r.url)
	if err != nil || u.Scheme != "https" && !(u.Scheme == "http" && p.guard.Allows(u.Hostname())) {
		return answer{failure: "https_required"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(r.body))
	if err != nil {
		return answer{failure: "url_invalid"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", version.UserAgent)
	if r.secret != "" {
		req.Header.Set(cloudapi.SignatureHeader, cloudapi.Sign(r.secret, r.body))
	}
	var connected atomic.Bool
	trace := httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	resp, err := p.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, &trace)))
	if err != nil {
		return answer{failure: wordOf(ctx, err), reached: connected.Load()}
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // the status is the answer, whatever the body
	if resp.StatusCode/100 == 2 {
		return answer{}
	}
	return answer{
		failure: "status_" + strconv.Itoa(resp.StatusCode), reached: true, wait: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
		crowded: resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable,
	}
}

// retryAfter returns how long to wait by a header Retry-After: seconds, or a time.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// wordOf returns a word for the error of a request.
func wordOf(ctx context.Context, err error) string {
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, publicnet.ErrPrivate):
		return "private_address"
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case cert:
		return "certificate_invalid"
	case record || alert:
		return "tls"
	case isDNS && dns.IsNotFound:
		return "host_not_found"
	case isDNS:
		return "dns"
	case isOp && op.Op == "dial":
		return "not_connected"
	}
	return "no_answer"
}

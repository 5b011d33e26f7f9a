package autoreply

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/publicnet"
	"sluice/internal/version"
)

const (
	// hookCalls requests of a number run at the same time, and hookWaiting messages wait for one to end. Further ones get no answer of the
	// hook, so that a slow hook of one number does not delay others.
	hookCalls   = 16
	hookWaiting = 496
	// maxAnswer is the maximum number of bytes of an answer, and maxMessages that of its messages.
	maxAnswer   = 256 << 10
	maxMessages = 5
)

// hooks makes requests to hooks.
type hooks struct {
	guard     publicnet.Dialer
	transport *http.Transport

	mu    sync.Mutex
	lanes map[string]*lane // by number
}

// lane limits the requests of a number.
type lane struct {
	calls chan struct{}
	users int // that run or wait
}

func newHooks(privateHosts []string, roots *x509.CertPool) *hooks {
	guard := publicnet.Dialer{Allowed: privateHosts}
	return &hooks{guard: guard, lanes: map[string]*lane{}, transport: &http.Transport{
		DialContext:            guard.DialContext,
		TLSHandshakeTimeout:    publicnet.DialTimeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		MaxIdleConnsPerHost:    hookCalls,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}}
}

func (h *hooks) close() { h.transport.CloseIdleConnections() }

// enter waits until a request of a number may run. leave ends it. It returns false if ctx ends, or if too many wait.
func (h *hooks) enter(ctx context.Context, number string) (leave func(), ok bool) {
	h.mu.Lock()
	l := h.lanes[number]
	if l == nil {
		l = &lane{calls: make(chan struct{}, hookCalls)}
		h.lanes[number] = l
	}
	full := l.users == hookCalls+hookWaiting
	if !full {
		l.users++
	}
	h.mu.Unlock()
	if full {
		return nil, false
	}
	gone := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(h.lanes, number)
		}
	}
	select {
	case l.calls <- struct{}{}:
		return func() { <-l.calls; gone() }, true
	case <-ctx.Done():
		gone()
		return nil, false
	}
}

// ask asks the hook of a number for the answer to a message. answered is true if the hook decides, also for no message. failure says why there is
// no answer of the hook; empty: it has none. It blocks for the deadline of the hook at most.
func (r *Replier) ask(ctx context.Context, it *item) (objects []json.RawMessage, answered bool, failure string) {
	ctx, cancel := context.WithTimeout(ctx, it.settings.Hook.Within())
	defer cancel()
	leave, ok := r.hooks.enter(ctx, it.number)
	if !ok {
		return nil, false, missedHookBusy
	}
	defer leave()
	began := time.Now()
	defer func() { r.metrics.hook.Observe(time.Since(began).Seconds()) }()
	body, err := json.Marshal(it.event)
	if err != nil {
		return nil, false, missedHookAnswer
	}
	return r.hooks.post(ctx, it.settings.Hook.URL, string(it.settings.Hook.Secret), body)
}

// post makes a request. It follows no redirects. The error of a request may contain the URL, so it returns a word.
func (h *hooks) post(ctx context.Context, to, secret string, body []byte) (objects []json.RawMessage, answered bool, failure string) {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "https" && !(u.Scheme == "http" && h.guard.Allows(u.Hostname())) {
		return nil, false, missedHookAddress
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, false, missedHookAddress
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", version.UserAgent)
	if secret != "" {
		req.Header.Set(cloudapi.SignatureHeader, cloudapi.Sign(secret, body))
	}
	resp, err := h.transport.RoundTrip(req)
	if err != nil {
		return nil, false, wordOf(ctx, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return nil, false, ""
	case resp.StatusCode != http.StatusOK:
		return nil, false, missedHookStatus
	case err != nil:
		return nil, false, wordOf(ctx, err)
	}
	var answer struct {
		Messages *[]map[string]json.RawMessage `json:"messages"`
	}
	if len(text) > maxAnswer || json.Unmarshal(text, &answer) != nil || answer.Messages == nil || len(*answer.Messages) > maxMessages {
		return nil, false, missedHookAnswer
	}
	for _, one := range *answer.Messages {
		if len(one) == 0 {
			return nil, false, missedHookAnswer
		}
		object, _ := json.Marshal(one) // cannot fail for valid JSON
		objects = append(objects, object)
	}
	return objects, true, ""
}

// wordOf returns a word for the error of a request.
func wordOf(ctx context.Context, err error) string {
	switch {
	case errors.Is(err, publicnet.ErrPrivate):
		return missedHookAddress
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		return missedHookTimeout
	}
	return missedHookUnreachable
}

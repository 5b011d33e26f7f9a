package relay

import (
	"context"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/publicnet"
)

func TestRequests(t *testing.T) {
	t.Parallel()
	var followed, read atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer other.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/204", func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 4 || r.Header.Get("Content-Type") != "application/json" || r.Header.Get(cloudapi.SignatureHeader) != cloudapi.Sign("secret", []byte("body")) {
			t.Errorf("headers %v, %d bytes", r.Header, r.ContentLength)
		}
		w.WriteHeader(204)
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	mux.HandleFunc("/503", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7200")
		w.WriteHeader(503)
	})
	mux.HandleFunc("/429", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(429)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(200)
		for text := strings.Repeat("x", 1024); r.Context().Err() == nil; {
			if _, err := w.Write([]byte(text)); err != nil {
				return
			}
			read.Add(1024)
		}
	})
	mux.HandleFunc("/hanging", func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // else the server does not notice that the client is gone
		<-r.Context().Done()
	})
	plain := httptest.NewServer(mux)
	defer plain.Close()
	secure := httptest.NewTLSServer(mux)
	defer secure.Close()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	gone := httptest.NewServer(mux)
	gone.Close()
	local := []string{"127.0.0.1"}
	for _, c := range []struct {
		name, url string
		allowed   []string
		roots     *x509.CertPool
		want      answer
	}{
		{"taken", plain.URL + "/204", local, nil, answer{}},
		{"taken over TLS", secure.URL + "/204", local, roots, answer{}},
		{"an unknown authority", secure.URL + "/204", local, nil, answer{failure: "certificate_invalid"}},
		{"no TLS", strings.Replace(plain.URL, "http:", "https:", 1) + "/204", local, nil, answer{failure: "tls"}},
		{"private", secure.URL + "/204", nil, roots, answer{failure: "private_address"}},
		{"private by name", strings.Replace(secure.URL, "127.0.0.1", "localhost", 1) + "/204", nil, roots, answer{failure: "private_address"}},
		{"without TLS", plain.URL + "/204", nil, nil, answer{failure: "https_required"}},
		{"redirected", plain.URL + "/redirect", local, nil, answer{failure: "status_307", reached: true}},
		{"500", plain.URL + "/500", local, nil, answer{failure: "status_500", reached: true}},
		{"503 with a long wait", plain.URL + "/503", local, nil, answer{failure: "status_503", reached: true, wait: time.Hour, crowded: true}},
		{"429", plain.URL + "/429", local, nil, answer{failure: "status_429", reached: true, wait: 30 * time.Second, crowded: true}},
		{"an endless answer", plain.URL + "/endless", local, nil, answer{}},
		{"hanging", plain.URL + "/hanging", local, nil, answer{failure: "timeout", reached: true}},
		{"nothing listens", gone.URL + "/204", local, nil, answer{failure: "not_connected"}},
		{"not a URL", "http://%zz", local, nil, answer{failure: "https_required"}},
	} {
		timeout := time.Minute // a busy machine is slow: only one that hangs may meet its end
		if c.want.failure == "timeout" {
			timeout = 300 * time.Millisecond
		}
		p := newPoster(publicnet.Dialer{Allowed: c.allowed}, timeout, 1, c.roots)
		got := p.post(context.Background(), request{url: c.url, secret: "secret", body: []byte("body")})
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		p.close()
	}
	if followed.Load() > 0 {
		t.Error("a redirect was followed")
	}
	if n := read.Load(); n > 16<<20 {
		t.Errorf("%d bytes of an endless answer were written", n)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "30": 30 * time.Second, "86400": time.Hour, "-1": 0, "soon": 0,
		"Sun, 29 Nov 2026 12:00:10 GMT": 10 * time.Second, "Sun, 29 Nov 2026 11:00:00 GMT": 0, "Mon, 30 Nov 2026 12:00:00 GMT": time.Hour,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

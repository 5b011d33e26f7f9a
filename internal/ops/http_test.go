package ops_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/ops"
)

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
	return w.Code, w.Body.String()
}

func TestHandler(t *testing.T) {
	var err error
	h := ops.Handler(ops.Registry(), func(context.Context) error { return err })
	want := func(path string, status int, part string) {
		t.Helper()
		if code, body := get(t, h, path); code != status || !strings.Contains(body, part) {
			t.Errorf("GET %s: %d %.200q, want %d with %q", path, code, body, status, part)
		}
	}
	want("/livez", 200, "ok")
	want("/readyz", 200, "ok")
	want("/metrics", 200, "sluice_build_info{date=\"")
	want("/metrics", 200, "process_cpu_seconds_total")
	want("/debug/pprof/", 200, "goroutine")
	want("/debug/pprof/goroutine?debug=1", 200, "goroutine profile")
	want("/", 200, "/metrics")
	want("/other", 404, "")

	err = errors.New("redis://:hunter2@h does not answer")
	want("/readyz", 503, "not ready: redis://:[redacted]@h does not answer")
	want("/livez", 200, "ok")
}

func TestHandlerTakesGetAndHeadAlone(t *testing.T) {
	h := ops.Handler(ops.Registry(), nil)
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/profile", "/debug/pprof/symbol", "/debug/pprof/trace"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
			if w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "HEAD", "/livez", nil))
	if w.Code != http.StatusOK {
		t.Errorf("HEAD: %d", w.Code)
	}
}

func TestHandlerSpeaksOpenMetrics(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	w := httptest.NewRecorder()
	ops.Handler(ops.Registry(), nil).ServeHTTP(w, r)
	if got := w.Body.String(); !strings.HasSuffix(got, "# EOF\n") {
		t.Errorf("ends with %q", got[max(0, len(got)-40):])
	}
}

func TestNilReadyIsReady(t *testing.T) {
	if code, _ := get(t, ops.Handler(ops.Registry(), nil), "/readyz"); code != 200 {
		t.Errorf("status %d", code)
	}
}

func TestReadyHasTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := ops.Handler(ops.Registry(), func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		start := time.Now()
		code, body := get(t, h, "/readyz")
		if took := time.Since(start); code != 503 || body != "not ready: no answer within 2s\n" || took != 2*time.Second {
			t.Errorf("%d %q after %s", code, body, took)
		}
	})
}

func TestMetricsAreWellNamed(t *testing.T) {
	problems, err := testutil.GatherAndLint(ops.Registry(), "sluice_build_info")
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// serve runs Serve until the returned stop is called, which returns what Serve did.
func serve(t *testing.T, h http.HandlerFunc, o ops.ServeOptions) (url string, stop func(), ended <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- ops.Serve(ctx, l, h, o) }()
	return "http://" + l.Addr().String(), cancel, done
}

// fetch starts a GET; its answer or error comes through the channel.
func fetch(url string) <-chan string {
	c := make(chan string, 1)
	go func() {
		resp, err := http.Get(url)
		if err != nil {
			c <- "error"
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		c <- string(b)
	}()
	return c
}

func TestStopLetsRunningRequestsFinish(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	url, stop, ended := serve(t, func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-release
		if r.Context().Err() != nil {
			t.Error("the stop ended the request's context")
		}
		io.WriteString(w, "whole")
	}, ops.ServeOptions{Grace: time.Minute})
	answer := fetch(url)
	<-started
	stop()
	waitRefused(t, url)
	close(release)
	if got := <-answer; got != "whole" {
		t.Errorf("answer %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// waitRefused waits until no server listens at url any more.
func waitRefused(t *testing.T, url string) {
	t.Helper()
	addr := strings.TrimPrefix(url, "http://")
	for {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		c.Close()
		if t.Context().Err() != nil {
			t.Fatal("still listening")
		}
	}
}

func TestStopCutsOffWhatOutlastsGrace(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	url, stop, ended := serve(t, func(http.ResponseWriter, *http.Request) {
		close(started)
		<-release
	}, ops.ServeOptions{Grace: 20 * time.Millisecond})
	answer := fetch(url)
	<-started
	stop()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "still running 20ms after the stop") {
		t.Errorf("Serve: %v", err)
	}
	if got := <-answer; got != "error" {
		t.Errorf("answer %q", got)
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := ops.Serve(t.Context(), l, http.NotFoundHandler(), ops.ServeOptions{}); err == nil {
		t.Error("no error")
	}
}

func TestPanicGoesToTheLog(t *testing.T) {
	out := make(chan string, 10)
	url, stop, ended := serve(t, func(http.ResponseWriter, *http.Request) {
		panic("token=?access_token=hunter2")
	}, ops.ServeOptions{Log: ops.NewLogger(writerFunc(func(p []byte) { out <- string(p) }), slog.LevelInfo)})
	if got := <-fetch(url); got != "error" {
		t.Errorf("answer %q", got)
	}
	if got := <-out; !strings.Contains(got, `"msg":"http server error"`) || strings.Contains(got, "hunter2") {
		t.Errorf("log line %q", got)
	}
	stop()
	<-ended
}

// Connections above the limit are closed without an answer. When a connection ends, a new one is accepted.
func TestTooManyConnections(t *testing.T) {
	out := make(chan string, 10)
	var refused atomic.Int32
	url, stop, ended := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "whole") },
		ops.ServeOptions{Connections: 2, Refused: func() { refused.Add(1) }, Log: ops.NewLogger(writerFunc(func(p []byte) { out <- string(p) }), slog.LevelInfo)})
	ask := func() (net.Conn, string) {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: sluice\r\n\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		return c, strings.TrimSpace(line)
	}
	const ok = "HTTP/1.1 200 OK"
	var kept []net.Conn
	for _, want := range []string{ok, ok, "", ""} {
		c, got := ask()
		defer c.Close()
		if got != want {
			t.Errorf("connection %d is answered %q, want %q", len(kept)+1, got, want)
		}
		kept = append(kept, c)
	}
	if got := <-out; !strings.Contains(got, "too many connections") || len(out) > 0 {
		t.Errorf("log line %q, and %d more", got, len(out))
	}
	if n := refused.Load(); n != 2 {
		t.Errorf("%d refused, want 2", n)
	}
	kept[0].Close()
	for got := ""; got != ok; { // the server notices within a moment
		var c net.Conn
		c, got = ask()
		defer c.Close()
	}
	stop()
	<-ended
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// A caller that has sent everything may close its half of the connection and wait for the answer.
func TestAHalfClosedConnectionIsAnswered(t *testing.T) {
	url, stop, ended := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-ops.Left(r.Context()) // net/http notices within moments
		if r.Context().Err() != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}, ops.ServeOptions{Detach: true})
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
	c.(*net.TCPConn).CloseWrite()
	if answer, _ := io.ReadAll(c); !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("answer %q", answer)
	}
	stop()
	<-ended
}

package program_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/program"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

func newProgram(t *testing.T) *program.Program {
	t.Helper()
	url := redistest.Start(t).URL()
	p, err := program.New(t.Context(), program.Options{
		Ops: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
		Open: func(ctx context.Context) (*store.DB, error) { return store.Open(ctx, url) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// status returns the status and the body of an answer; 0: no answer.
func status(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(b)
}

// TestRunStopsInOrder: a program is ready only while it runs. A stop ends the work, then the background parts, and
// closes Redis last. Run returns the errors of all of them.
func TestRunStopsInOrder(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	if code, body := status(t, "http://"+p.OpsAddr()+"/readyz"); code != 503 || !strings.Contains(body, "not ready: starting") {
		t.Errorf("before it runs: %d %q", code, body)
	}
	started, mayEnd := make(chan struct{}), make(chan struct{})
	var ended []string // each part appends after the one before has ended
	p.Background(func(ctx context.Context) error {
		<-ctx.Done()
		ended = append(ended, "background")
		if err := p.DB.Ping(context.WithoutCancel(ctx)).Err(); err != nil {
			t.Errorf("Redis is closed before the background ends: %v", err)
		}
		return errors.New("background failed")
	})
	p.Work(func(ctx context.Context) error {
		close(started)
		<-ctx.Done()
		<-mayEnd
		ended = append(ended, "work")
		return errors.New("work failed")
	})
	addr, err := p.Serve("127.0.0.1:0", http.NotFoundHandler(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- p.Run(ctx) }()
	<-started
	for url, want := range map[string]int{"http://" + p.OpsAddr() + "/readyz": 200, "http://" + addr: 404} {
		if code, body := status(t, url); code != want {
			t.Errorf("while it runs: GET %s: %d %q, want %d", url, code, body, want)
		}
	}
	stop()
	if code, _ := status(t, "http://"+p.OpsAddr()+"/livez"); code != 200 {
		t.Errorf("while it stops it is not alive: %d", code)
	}
	close(mayEnd)
	err = <-result
	if strings.Join(ended, ", ") != "work, background" {
		t.Errorf("ended: %q", ended)
	}
	if err == nil || !strings.Contains(err.Error(), "work failed") || !strings.Contains(err.Error(), "background failed") {
		t.Errorf("errors: %v", err)
	}
	if p.DB.Ping(t.Context()).Err() == nil {
		t.Error("Redis is open after the stop")
	}
}

// TestAFailureEndsTheProgram: when one part fails, the others end, and Run returns its error.
func TestAFailureEndsTheProgram(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	failure := errors.New("failed")
	p.Work(
		func(ctx context.Context) error { <-ctx.Done(); return nil },
		func(context.Context) error { return failure },
	)
	if err := p.Run(t.Context()); !errors.Is(err, failure) {
		t.Errorf("%v", err)
	}
}

// TestNewReleasesItsPort: a program that does not start leaves no listener.
func TestNewReleasesItsPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	open := func(context.Context) (*store.DB, error) { return nil, errors.New("refused") }
	o := program.Options{Ops: addr, Log: slog.New(slog.DiscardHandler), Open: open}
	if _, err := program.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), "listen for ops") {
		t.Errorf("with a port in use: %v", err)
	}
	l.Close()
	if _, err := program.New(t.Context(), o); err == nil || err.Error() != "refused" {
		t.Errorf("with a refusal: %v", err)
	}
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatalf("the port is still in use: %v", err)
	}
	l.Close()
}

package app_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sluice/internal/app"
	"sluice/internal/ops"
	"sluice/internal/poll"
	"sluice/internal/ports"
	"sluice/internal/redistest"
)

// logs is a log that a test reads while it is written.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestProgramsWaitForRedis: a program that is started before Redis logs one line, is alive and not ready, and
// starts when Redis answers.
func TestProgramsWaitForRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.Kill()
	opsAddr, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	get := func(page string) (status int, body string) {
		resp, err := http.Get("http://" + opsAddr + page)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	c := reconciler(server.URL(), "prod", formerKey, "")
	c.Ops = opsAddr
	var log logs
	made := make(chan *app.Program)
	go func() {
		p, err := app.NewWorker(t.Context(), c, ops.NewLogger(&log, slog.LevelInfo))
		if err != nil {
			t.Error(err)
		}
		made <- p
	}()
	poll.Until(t, "readiness reports the wait", func() bool {
		status, body := get("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "not ready: waiting for Redis: redis at "+server.Addr)
	})
	if status, _ := get("/livez"); status != http.StatusOK {
		t.Errorf("while it waits it is alive: %d", status)
	}
	select {
	case <-made:
		t.Fatal("it does not wait")
	default:
	}
	server.Restart()
	p := <-made
	if p == nil {
		return
	}
	run(t, p)
	poll.Until(t, "it is ready", func() bool { status, _ := get("/readyz"); return status == http.StatusOK })
	if logged := log.String(); strings.Count(logged, `"msg":"waiting for Redis"`) != 1 || strings.Count(logged, `"msg":"Redis answers, starting"`) != 1 {
		t.Errorf("the log:\n%s", logged)
	}
}

// TestProgramsDoNotWaitForNothing: a program does not wait if Redis refuses it, and a stop ends the wait.
func TestProgramsDoNotWaitForNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	if err := server.Client().ConfigSet(t.Context(), "requirepass", "secret").Err(); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	worker := func(ctx context.Context, url string) error {
		p, err := app.NewWorker(ctx, reconciler(url, "prod", formerKey, ""), log)
		if err == nil {
			p.Close()
		}
		return err
	}
	if err := worker(t.Context(), server.URL()); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without the password: %v", err)
	}
	if err := worker(t.Context(), "redis://:wrong@"+server.Addr); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("with a wrong password: %v", err)
	}
	server.Kill()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := worker(ctx, server.URL()); err == nil {
		t.Error("a stop does not end the wait")
	}
}

// TestEventsMustFit: a worker does not start with more memory for events than Redis can give.
func TestEventsMustFit(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := reconciler(server.URL(), "prod", formerKey, "")
	c.Events.Memory = 300 << 20
	_, err := app.NewWorker(t.Context(), c, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "events.memory: 300 MiB does not fit") {
		t.Errorf("%v", err)
	}
}

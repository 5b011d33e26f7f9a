// Package e2e runs all programs against the simulator and a real Redis, and counts what the
// far side received.
package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/app"
	"sluice/internal/client"
	"sluice/internal/config"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/redistest"
)

// asWorker makes this test binary a worker: a process that can be killed.
const asWorker = "SLUICE_E2E_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		os.Exit(app.Main("worker", app.Worker, os.Args[1:]))
	}
	os.Exit(m.Run())
}

const (
	apiKey    = "e2e-api-key-0123456789abcdef"
	appSecret = "e2e-app-secret"
	verify    = "e2e-verify-token"
)

var numbers = []string{"106540352242922", "106540352242923"}

// world is a Redis, a simulated Meta, and Sluice between them.
type world struct {
	t      *testing.T
	redis  *redistest.Server
	sim    *graphsim.Sim
	graph  string // base URL of the simulator
	hooks  string // URL of the webhook
	config string // path of the configuration file
	api    *client.Client
}

// setup starts everything but workers. Rate 0 is left to Meta. Settings are lines for the end of sluice.yaml.
func setup(t *testing.T, rate int, sim graphsim.Options, settings ...string) *world {
	t.Helper()
	w := &world{t: t, redis: redistest.Start(t, redisUser(t)...)}

	// Meta is told where the webhook is, and the webhook's configuration where Meta is: the
	// simulator's address comes first.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.graph = "http://" + l.Addr().String()
	w.config = w.writeConfig(rate, settings)

	env := func(string) string { return "" }
	args := []string{"--config", w.config}
	hook, err := config.LoadWebhook(args, env)
	if err != nil {
		t.Fatal(err)
	}
	door, err := config.LoadProducer(args, env)
	if err != nil {
		t.Fatal(err)
	}
	door.Console = "127.0.0.1:0"
	hook.Listen, door.Listen, hook.Ops, door.Ops = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	webhook := w.start(app.NewWebhook(t.Context(), hook, slog.New(slog.DiscardHandler)))
	producer := w.start(app.NewProducer(t.Context(), door, slog.New(slog.DiscardHandler)))
	w.hooks = "http://" + webhook.Addr() + "/webhooks/whatsapp/main"
	w.api = &client.Client{Base: "http://" + producer.Addr(), Key: apiKey, HTTP: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 32},
	}}

	sim.Webhook.URL, sim.Webhook.Secret = w.hooks, appSecret
	w.sim = graphsim.New(sim)
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: w.sim.Handler()}}
	srv.Start()
	t.Cleanup(srv.Close)
	ctx, stop := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return w.sim.Run(ctx) })
	t.Cleanup(func() { stop(); g.Wait() })
	return w
}

// redisUser are the arguments of a Redis with the user that docs/configuration.md shows. All
// programs run as that user, so that whatever it may not do is noticed here.
func redisUser(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rule, found := strings.Cut(string(page), "\nuser sluice ")
	rule, _, _ = strings.Cut(rule, "\n")
	if !found {
		t.Fatal("docs/configuration.md shows no user of Redis")
	}
	return append([]string{"--user", "sluice"}, strings.Fields(strings.Replace(rule, "PASSWORD", "redis-password", 1))...)
}

func (w *world) writeConfig(rate int, settings []string) string {
	w.t.Helper()
	dir := w.t.TempDir()
	for name, secret := range map[string]string{
		"token": "e2e-access-token", "secret": appSecret, "verify": verify, "marker": "e2e-marker-key-0123456789",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "environment: e2e\nredis: {url: \"redis://sluice:redis-password@%s\"}\ngraph: {base_url: %s}\nmarker_key_file: marker\nnumbers:\n", w.redis.Addr, w.graph)
	for _, n := range numbers {
		fmt.Fprintf(&b, "  - {id: %q, token_file: token", n)
		if rate > 0 {
			fmt.Fprintf(&b, ", rate: %d", rate)
		}
		b.WriteString("}\n")
	}
	fmt.Fprintf(&b, "apps:\n  - {name: main, secret_file: secret, verify_token_file: verify}\napi_keys:\n  - {name: e2e, sha256: %s, numbers: [\"*\"], scopes: [messages:send, messages:read, messages:cancel, admin]}\n", hash(apiKey))
	b.WriteString(strings.Join(settings, "\n") + "\n")
	path := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// start runs a program in this process until the test ends.
func (w *world) start(p *app.Program, err error) *app.Program {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Errorf("program: %v", err)
		}
	})
	return p
}

// worker is a worker process.
type worker struct {
	cmd  *exec.Cmd
	done chan struct{}
	last atomic.Int64 // Unix nanoseconds at which it last told of an attempt
}

// worker starts a worker process and waits until it works.
func (w *world) worker() *worker {
	w.t.Helper()
	cmd := exec.Command(os.Args[0], "--config", w.config, "--listen-ops", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), asWorker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	logs, err := cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	up, done := make(chan struct{}), make(chan struct{})
	k := &worker{cmd: cmd, done: done}
	go func() {
		defer close(done)
		var tail []string
		var once sync.Once
		lines := bufio.NewScanner(logs)
		for lines.Scan() {
			if strings.Contains(lines.Text(), `"started"`) {
				once.Do(func() { close(up) })
			}
			if strings.Contains(lines.Text(), `"msg":"attempt"`) {
				k.last.Store(time.Now().UnixNano())
			}
			if strings.Contains(lines.Text(), `"ERROR"`) || strings.Contains(lines.Text(), "DATA RACE") || len(tail) > 0 && len(tail) < 40 {
				tail = append(tail, lines.Text())
			}
		}
		cmd.Wait()
		if len(tail) > 0 {
			w.t.Logf("worker %d said:\n%s", cmd.Process.Pid, strings.Join(tail, "\n"))
		}
	}()
	w.t.Cleanup(func() { k.end(syscall.SIGTERM) })
	select {
	case <-up:
	case <-done:
		w.t.Fatal("worker ended at its start")
	}
	return k
}

// end signals the process and waits for its end.
func (k *worker) end(sig syscall.Signal) {
	k.cmd.Process.Signal(sig)
	<-k.done
}

// order sends n messages over the API, over all numbers, and returns their ids.
func (w *world) order(n int, class message.Class) []string {
	w.t.Helper()
	ids := make([]string, n)
	run := rand.Text()[:6]
	var g errgroup.Group
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error {
			object, err := json.Marshal(map[string]any{
				"to": fmt.Sprintf("+1555%07d", 2_200_000+i), "type": "text", "text": map[string]any{"body": "Hello"},
			})
			if err != nil {
				return err
			}
			r, err := w.api.Send(w.t.Context(), client.Order{
				From: numbers[i%len(numbers)], Message: object, Class: class, Key: fmt.Sprintf("%s-%d", run, i),
			})
			ids[i] = r.ID
			return err
		})
	}
	if err := g.Wait(); err != nil {
		w.t.Fatal(err)
	}
	return ids
}

// settled waits until done holds of every message's record and returns the records.
func (w *world) settled(ids []string, limit time.Duration, done func(client.Record) bool) map[string]client.Record {
	w.t.Helper()
	ctx, cancel := context.WithTimeoutCause(w.t.Context(), limit, errors.New("out of patience"))
	defer cancel()
	records := map[string]client.Record{}
	open := ids
	for {
		var still []string
		for _, id := range open {
			r, err := w.api.Get(ctx, id)
			if err != nil && ctx.Err() == nil {
				w.t.Fatal(err)
			}
			records[id] = r
			if !done(r) {
				still = append(still, id)
			}
		}
		if open = still; len(open) == 0 {
			return records
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("%d of %d messages not settled after %s; states: %v; one: %+v", len(open), len(ids), limit, states(records), records[open[0]])
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// await blocks until the simulator has accepted n messages.
func (w *world) await(n int) {
	w.t.Helper()
	for w.sim.Stats().Accepted < n {
		select {
		case <-w.t.Context().Done():
			w.t.Fatal("test ended")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func states(records map[string]client.Record) map[message.State]int {
	by := map[message.State]int{}
	for _, r := range records {
		by[r.State]++
	}
	return by
}

// over tells that nothing more happens to a message by itself.
func over(r client.Record) bool { return r.State.Final() || r.State == message.Parked }

// post sends a raw body to the webhook and returns the status.
func (w *world) post(body []byte, signature string) int {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.hooks, strings.NewReader(string(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("X-Hub-Signature-256", signature)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

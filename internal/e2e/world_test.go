// Package e2e runs all programs with the simulator and a real Redis, and counts what the
// simulator received.
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
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/redistest"
)

// asProgram is an environment variable that makes this test binary a program, a process that can be killed: "worker", or
// "deaf", which ignores SIGTERM.
const asProgram = "SLUICE_E2E_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "worker":
		os.Exit(app.Main("worker", app.Worker, os.Args[1:]))
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		os.Stderr.WriteString(`{"msg":"started"}` + "\n")
		time.Sleep(time.Hour)
	}
	untrust, err := redistest.Trust()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	untrust()
	os.Exit(code)
}

// stopLimit is how long a program may take to stop: longer than a worker waits for its requests.
const stopLimit = 40 * time.Second

// settleLimit is how long messages may take to end, on a busy machine.
const settleLimit = 4 * time.Minute

const (
	apiKey    = "e2e-api-key-0123456789abcdef"
	appSecret = "e2e-app-secret"
	verify    = "e2e-verify-token"
)

var numbers = []string{"106540352242922", "106540352242923"}

// world is a Redis, a simulated Meta, and Sluice between them.
type world struct {
	t       *testing.T
	redis   realRedis
	sim     *graphsim.Sim
	other   atomic.Pointer[graphsim.Sim] // Meta for the second number and its account; nil: sim is for all
	graph   string                       // base URL of the simulator
	hooks   string                       // URL of the webhook
	console string                       // base URL of the console
	ops     map[string]string            // host:port of the metrics, by program; without workers
	config  string                       // path of the configuration file
	api     *client.Client
	open    openRequests
}

// openRequests counts the running requests to Meta by worker. Each worker has another base URL of the Graph API, whose
// path begins with its name.
type openRequests struct {
	workers    atomic.Int64
	generation atomic.Int64 // is raised when only requests that begin later count
	counts     sync.Map     // of *atomic.Int64 by that beginning and generation
	traced     atomic.Int64 // requests with the header traceparent
}

func (o *openRequests) count(of string, generation int64) *atomic.Int64 {
	n, _ := o.counts.LoadOrStore(fmt.Sprint(of, " ", generation), new(atomic.Int64))
	return n.(*atomic.Int64)
}

func (o *openRequests) counted(meta http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Traceparent") != "" {
			o.traced.Add(1)
		}
		of, rest, found := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if !found || !strings.HasPrefix(of, "worker-") {
			meta.ServeHTTP(w, r)
			return
		}
		if strings.HasSuffix(rest, "messages") { // and marketing_messages
			n := o.count(of, o.generation.Load())
			n.Add(1)
			defer n.Add(-1)
		}
		r.URL.Path = "/" + rest
		meta.ServeHTTP(w, r)
	})
}

// amidARequest waits until one of the workers has a running request that began after the call, and returns its index.
// order orders more messages: all others may have been sent already.
func (w *world) amidARequest(workers []*worker, order func()) int {
	w.t.Helper()
	generation := w.open.generation.Add(1)
	order()
	for {
		for i, k := range workers {
			if w.open.count(k.name, generation).Load() > 0 {
				return i
			}
		}
		select {
		case <-w.t.Context().Done():
			w.t.Fatal("test ended")
		case <-time.After(time.Millisecond):
		}
	}
}

// setup starts everything except workers, with the Redis of the suite. With rate 0 Meta decides the rate. settings are
// lines that are added to sluice.yaml.
func setup(t *testing.T, rate int, sim graphsim.Options, settings ...string) *world {
	t.Helper()
	return setupOn(t, suite(), rate, sim, settings...)
}

// setupOn is setup with this kind of Redis.
func setupOn(t *testing.T, on kind, rate int, sim graphsim.Options, settings ...string) *world {
	t.Helper()
	w := &world{t: t, redis: on.start(t)}

	// The simulator needs the URL of the webhook, and the configuration of the webhook program needs the address of
	// the simulator: so the simulator listens first.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.graph = "http://" + l.Addr().String()
	w.config = w.writeConfig(rate, settings)

	env := func(name string) string {
		if strings.HasPrefix(name, "OTEL_") { // a test with traces sets them for the worker processes too
			return os.Getenv(name)
		}
		return ""
	}
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
	w.console = "http://" + producer.ConsoleAddr()
	w.ops = map[string]string{"producer": producer.OpsAddr(), "webhook": webhook.OpsAddr(), "simulator": l.Addr().String()}
	w.api = client.New("http://"+producer.Addr(), apiKey, client.WithRetryFor(w.redis.retry))

	sim.Webhook.URL, sim.Webhook.Secret = w.hooks, appSecret
	w.sim = graphsim.New(sim)
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: w.open.counted(http.HandlerFunc(w.meta))}}
	srv.Start()
	t.Cleanup(srv.Close)
	ctx, stop := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return w.sim.Run(ctx) })
	t.Cleanup(func() { stop(); g.Wait() })
	return w
}

// otherAccount is the WhatsApp Business Account of the second number, if there is a second simulator.
const otherAccount = "901"

// meta answers a call to Meta.
func (w *world) meta(rw http.ResponseWriter, r *http.Request) {
	path := strings.Split(r.URL.Path+"//", "/")
	if other := w.other.Load(); other != nil && (path[2] == numbers[1] || path[2] == otherAccount) {
		other.Handler().ServeHTTP(rw, r)
		return
	}
	w.sim.Handler().ServeHTTP(rw, r)
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
	fmt.Fprintf(&b, "environment: e2e\nredis: {url: %q, durability: %s}\ngraph: {base_url: %s}\nmarker_key_file: marker\n", w.redis.url, w.redis.durability, w.graph)
	fmt.Fprintf(&b, "apps:\n  - {name: main, secret_file: secret, verify_token_file: verify}\napi_keys:\n  - {name: e2e, sha256: %s, phone_number_ids: [\"*\"], scopes: [messages:send, messages:read, messages:cancel, events:read, admin]}\n", hash(apiKey))
	b.WriteString("numbers:\n" + configured(numbers, rate) + "\n" + strings.Join(settings, "\n") + "\n")
	path := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// configured returns the lines of phone numbers in sluice.yaml. As the first settings of setup they add numbers.
func configured(ids []string, rate int) string {
	lines := make([]string, len(ids))
	for i, id := range ids {
		limit := ""
		if rate > 0 {
			limit = fmt.Sprintf(", rate_limit: %d", rate)
		}
		lines[i] = fmt.Sprintf("  - {phone_number_id: %q, token_file: token%s}", id, limit)
	}
	return strings.Join(lines, "\n")
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
		select {
		case err := <-ended:
			if err != nil {
				w.t.Errorf("program: %v", err)
			}
		case <-time.After(stopLimit):
			w.t.Errorf("a program did not stop within %s", stopLimit)
			pprof.Lookup("goroutine").WriteTo(w.t.Output(), 1)
		}
	})
	return p
}

// worker is a worker process.
type worker struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	said string // its last log lines when it has ended, if there was an error
}

// worker starts a worker process, with these further arguments, and waits until it works. It is stopped when the test ends.
func (w *world) worker(args ...string) *worker {
	w.t.Helper()
	k := w.process("worker", args...)
	w.t.Cleanup(func() {
		if err := k.stop(stopLimit); err != nil {
			w.t.Error(err)
		}
	})
	return k
}

func (w *world) process(as string, args ...string) *worker {
	w.t.Helper()
	name := fmt.Sprint("worker-", w.open.workers.Add(1))
	cmd := exec.Command(os.Args[0], append([]string{"--config", w.config, "--listen-ops", "127.0.0.1:0", "--graph-base-url", w.graph + "/" + name}, args...)...)
	cmd.Env = append(os.Environ(), asProgram+"="+as)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	logs, err := cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	up, done := make(chan struct{}), make(chan struct{})
	k := &worker{name: name, cmd: cmd, done: done}
	go func() {
		defer close(done)
		var tail []string
		most := 40 // lines
		var once sync.Once
		lines := bufio.NewScanner(logs)
		for lines.Scan() {
			if strings.Contains(lines.Text(), `"started"`) {
				once.Do(func() { close(up) })
			}
			quits := strings.HasPrefix(lines.Text(), "SIGQUIT")
			if quits {
				most = len(tail) + 1000 // what its goroutines do
			}
			if quits || strings.Contains(lines.Text(), `"ERROR"`) || strings.Contains(lines.Text(), "DATA RACE") || len(tail) > 0 && len(tail) < most {
				tail = append(tail, lines.Text())
			}
		}
		cmd.Wait()
		if len(tail) > 0 {
			k.said = strings.Join(tail, "\n")
			w.t.Logf("worker %d logged:\n%s", cmd.Process.Pid, k.said)
		}
	}()
	select {
	case <-up:
	case <-done:
		w.t.Fatal("worker ended at its start")
	case <-time.After(stopLimit):
		w.t.Fatal(errors.Join(errors.New("worker does not start"), k.stop(0)))
	}
	return k
}

// kill ends the process at once.
func (k *worker) kill() {
	k.cmd.Process.Kill()
	<-k.done
}

// stop sends SIGTERM and waits until the process ends. If it does not end within this time, it prints what its
// goroutines do and is killed, and stop returns an error.
func (k *worker) stop(within time.Duration) error {
	k.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-k.done:
		return nil
	case <-time.After(within):
	}
	k.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-k.done:
	case <-time.After(5 * time.Second):
		k.kill()
	}
	return fmt.Errorf("worker %d did not stop within %s of SIGTERM; above is what it did", k.cmd.Process.Pid, within)
}

// order sends n messages through the API, from all numbers, and returns their ids.
func (w *world) order(n int, class message.Class) []string {
	w.t.Helper()
	return w.orderFrom(numbers, n, class)
}

// orderFrom is order with these numbers.
func (w *world) orderFrom(numbers []string, n int, class message.Class) []string {
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
			r, err := w.api.Send(w.t.Context(), client.Message{
				From: numbers[i%len(numbers)], Content: object, Class: client.Class(class), Key: fmt.Sprintf("%s-%d", run, i),
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

// settled waits until done returns true for the record of each message in turn, and returns the records.
func (w *world) settled(ids []string, done func(client.Record) bool) map[string]client.Record {
	w.t.Helper()
	ctx, cancel := context.WithTimeoutCause(w.t.Context(), settleLimit, errors.New("the time limit of the test is over"))
	defer cancel()
	records := map[string]client.Record{}
	for i, id := range ids {
		for {
			r, err := w.api.Get(ctx, id)
			if err != nil && ctx.Err() == nil {
				w.t.Fatal(err)
			}
			if records[id] = r; done(r) {
				break
			}
			select {
			case <-ctx.Done():
				w.t.Fatalf("%d of %d messages not settled after %s; states before: %v; this one: %+v", len(ids)-i, len(ids), settleLimit, states(records), r)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return records
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

func states(records map[string]client.Record) map[client.State]int {
	by := map[client.State]int{}
	for _, r := range records {
		by[r.State]++
	}
	return by
}

// over reports whether a message changes no more by itself.
func over(r client.Record) bool { return r.Final || r.State == client.StateParked }

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

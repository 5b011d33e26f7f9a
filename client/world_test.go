package client_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/ports"
	"sluice/internal/redistest"
)

const (
	number     = "106540352242922"
	apiKey     = "client-test-api-key-0123456789"
	secretsKey = "client-test-secrets-key-0123456789abcdef"
)

// world is Sluice with a real Redis and the simulator.
type world struct {
	t     testing.TB
	redis *redistest.Server
	addr  string // of the producer
	sim   *graphsim.Sim
	c     config.Common
}

// examples ends what the examples started, after the last of them.
var examples lasting

// lasting is a testing.TB for examples, which have none.
type lasting struct {
	testing.TB
	end []func()
}

func (l *lasting) Helper()                   {}
func (l *lasting) Context() context.Context  { return context.Background() }
func (l *lasting) Failed() bool              { return false }
func (l *lasting) Cleanup(f func())          { l.end = append(l.end, f) }
func (l *lasting) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (l *lasting) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func TestMain(m *testing.M) {
	code := m.Run()
	for _, f := range slices.Backward(examples.end) {
		f()
	}
	os.Exit(code)
}

func build(t testing.TB) *world {
	w := &world{t: t, redis: redistest.Start(t)}
	l, err := net.Listen("tcp", "127.0.0.1:0") // the programs need the address of the simulator, which needs that of the webhook program
	if err != nil {
		t.Fatal(err)
	}
	w.c = config.Common{
		Environment: "test", Shards: int(message.DefaultShards), Ops: "127.0.0.1:0",
		Redis: config.Redis{URL: config.Secret(w.redis.URL()), Durability: config.Relaxed},
		Graph: config.Graph{BaseURL: "http://" + l.Addr().String(), Version: "v25.0"}, Classes: map[string]config.Class{},
		Numbers: []config.Number{{ID: number, Rate: 80}},
	}
	log := slog.New(slog.DiscardHandler)
	webhook, err := app.NewWebhook(context.Background(), config.Webhook{Common: w.c, Listen: "127.0.0.1:0", Apps: []config.App{{
		Name: "main", Secret: "app-secret", VerifyToken: "verify",
	}}}, log)
	w.run(webhook, err)
	worker, err := app.NewWorker(context.Background(), config.Worker{
		Common: w.c, Roles: []string{config.RoleSend, config.RoleReconcile, config.RoleRelay}, MarkerKey: "client-test-marker-key",
		Tokens: config.FixedTokens(map[string]string{number: "token"}), Retry: config.Retry{Base: time.Second, Max: time.Second, Attempts: 5},
		SecretsKey: secretsKey, Relay: config.Relay{PrivateHosts: []string{"127.0.0.1"}},
	}, log)
	w.run(worker, err)
	w.sim = graphsim.New(graphsim.Options{Token: "token", Rate: 80, Webhook: graphsim.Webhook{
		URL: "http://" + webhook.Addr() + "/webhooks/whatsapp/main", Secret: "app-secret",
	}})
	graph := &httptest.Server{Listener: l, Config: &http.Server{Handler: w.sim.Handler()}}
	graph.Start()
	t.Cleanup(graph.Close)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.sim.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	w.addr, _ = w.producer("127.0.0.1:0")
	return w
}

// producer starts a producer, and returns its address and what stops it.
func (w *world) producer(listen string) (addr string, stop func()) {
	p, err := app.NewProducer(context.Background(), config.Producer{
		Common: w.c, Listen: listen, APIKeys: []config.APIKey{{Name: "test", SHA256: sha256.Sum256([]byte(apiKey)), Numbers: []string{"*"}, Scopes: config.Scopes()}},
	}, slog.New(slog.DiscardHandler))
	stop = w.run(p, err)
	return p.Addr(), stop
}

// run runs a program until the end, or until it is stopped.
func (w *world) run(p *app.Program, err error) (stop func()) {
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Fatal(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// client returns a client of the producer.
func (w *world) client(options ...client.Option) *client.Client {
	return client.New("http://"+w.addr, apiKey, options...)
}

// freeAddr returns an address at which a producer can listen, and listen again.
func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

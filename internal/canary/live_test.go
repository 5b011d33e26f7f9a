package canary_test

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/app"
	"sluice/internal/canary"
	"sluice/internal/config"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
)

const (
	number = "106540352242922"
	apiKey = "canary-test-api-key-0123456789"
)

// run runs a program until the end of the test, or until it is stopped.
func run(t *testing.T, p *app.Program, err error) (stop func()) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// TestLive: two producers with a real Redis, a worker, the webhook program and the simulator. Meta gets each canary once, also
// after one of the producers is stopped. Without the webhook program the step sent does not come.
func TestLive(t *testing.T) {
	t.Parallel()
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	l, err := net.Listen("tcp", "127.0.0.1:0") // the programs need the address of the simulator, which needs that of the webhook program
	if err != nil {
		t.Fatal(err)
	}
	c := config.Common{
		Environment: "test", Shards: int(message.DefaultShards), Ops: "127.0.0.1:0",
		Redis: config.Redis{URL: config.Secret(redistest.Start(t).URL()), Durability: config.Relaxed},
		Graph: config.Graph{BaseURL: "http://" + l.Addr().String(), Version: "v25.0"}, Classes: map[string]config.Class{},
		Numbers: []config.Number{{ID: number, Rate: 80}},
	}
	webhook, err := app.NewWebhook(ctx, config.Webhook{Common: c, Listen: "127.0.0.1:0", Apps: []config.App{{Name: "main", Secret: "app-secret", VerifyToken: "verify"}}}, log)
	stopWebhook := run(t, webhook, err)
	worker, err := app.NewWorker(ctx, config.Worker{
		Common: c, Roles: []string{config.RoleSend, config.RoleReconcile}, MarkerKey: "canary-test-marker-key",
		Tokens: config.FixedTokens(map[string]string{number: "token"}), Retry: config.Retry{Base: time.Second, Max: time.Second, Attempts: 5},
	}, log)
	run(t, worker, err)
	sim := graphsim.New(graphsim.Options{Token: "token", Rate: 80, Webhook: graphsim.Webhook{URL: "http://" + webhook.Addr() + "/webhooks/whatsapp/main", Secret: "app-secret"}})
	graph := &httptest.Server{Listener: l, Config: &http.Server{Handler: sim.Handler()}}
	graph.Start()
	t.Cleanup(graph.Close)
	simCtx, stopSim := context.WithCancel(context.Background())
	simEnded := make(chan error)
	go func() { simEnded <- sim.Run(simCtx) }()
	t.Cleanup(func() { stopSim(); <-simEnded })

	producer := func() (addr string, stop func()) {
		p, err := app.NewProducer(ctx, config.Producer{
			Common: c, Listen: "127.0.0.1:0",
			APIKeys:  []config.APIKey{{Name: "test", SHA256: sha256.Sum256([]byte(apiKey)), Numbers: []string{"*"}, Scopes: config.Scopes()}},
			Canaries: []config.Canary{{Number: number, To: "+15551234567", Template: "hello_world/en_US", Every: time.Second, Within: 900 * time.Millisecond}},
		}, log)
		stop = run(t, p, err)
		return p.Addr(), stop
	}
	addr, _ := producer()
	_, stopSecond := producer()
	api := client.New("http://"+addr, apiKey)
	canaries := func() (ids []string) {
		for r, err := range api.List(ctx, client.ListOptions{States: []client.State{client.StateDelivered}, Tag: "canary"}) {
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(ids, r.ID) {
				ids = append(ids, r.ID)
			}
		}
		return ids
	}
	poll.Until(t, "two canaries are delivered", func() bool { return len(canaries()) >= 2 })
	stopSecond()
	poll.Until(t, "a canary is delivered after the stop", func() bool { return len(canaries()) >= 4 })
	received := map[string]int{}
	for _, m := range sim.Accepted() {
		received[m.Marker]++
	}
	if n := len(sim.Accepted()); len(received) != n {
		t.Errorf("Meta got %d messages with %d markers", n, len(received))
	}
	seconds := map[int64]int{}
	for r, err := range api.List(ctx, client.ListOptions{States: []client.State{client.StateDelivered}, Tag: "canary"}) {
		if err != nil {
			t.Fatal(err)
		}
		if seconds[r.ExpiresAt.UnixMilli()]++; seconds[r.ExpiresAt.UnixMilli()] > 1 {
			t.Errorf("two canaries of the same moment: %s", r.ID)
		}
	}

	probe := func(key string, within time.Duration) canary.Result {
		limited, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		return canary.Probe(limited, api, canary.Message(number, canary.Content("+15551234568", "", "hi"), key, time.Now().Add(time.Minute)), nil)
	}
	// Reports may come before the worker has recorded the attempt: then steps are missing in between.
	if r := probe("one", poll.Limit); r.Missing != "" || r.Reached[0].Step != canary.Accepted {
		t.Errorf("%+v", r)
	}
	stopWebhook()
	if r := probe("two", 5*time.Second); r.Missing != canary.Sent || !strings.Contains(r.Problem, "It waits for (awaiting_status)") {
		t.Errorf("without webhooks: %+v", r)
	}
}

// Package sdktest runs SDKs of the Cloud API that others wrote, unmodified, against the simulator and through Sluice, and compares what
// they see and what arrives. The SDKs come from the npm registry: see node/package.json.
package sdktest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
	"sluice/internal/redistest"
)

const (
	apiKey    = "sdktest-api-key-0123456789abcdef"   // of the SDKs
	adminKey  = "sdktest-admin-key-0123456789abcdef" // of the console
	token     = "sdktest-access-token"
	appSecret = "sdktest-app-secret"
	number    = "106540352242922"
	account   = "102290129340398"
)

// templates are those that the SDKs send.
func templates() []graphsim.Template {
	parts := func(json ...string) (all []json.RawMessage) {
		for _, j := range json {
			all = append(all, []byte(j))
		}
		return all
	}
	const card = `{"components":[{"type":"HEADER","format":"IMAGE"},{"type":"BODY","text":"{{1}}"},{"type":"BUTTONS","buttons":[{"type":"QUICK_REPLY"}]}]}`
	return []graphsim.Template{
		{Name: "hello_world"},
		{Name: "order_shipped", Components: parts(`{"type":"BODY","text":"Order {{1}} is on its way."}`)},
		{Name: "order_named", Format: "NAMED", Components: parts(`{"type":"BODY","text":"Order {{order}} is on its way."}`)},
		{Name: "order_money", Components: parts(`{"type":"BODY","text":"{{1}} costs {{2}} until {{3}}."}`)},
		{Name: "login_code", Category: "AUTHENTICATION", Components: parts(`{"type":"BODY"}`, `{"type":"BUTTONS","buttons":[{"type":"OTP"}]}`)},
		{Name: "order_buttons", Components: parts(
			`{"type":"HEADER","format":"IMAGE"}`, `{"type":"BODY","text":"Order {{1}}"}`,
			`{"type":"BUTTONS","buttons":[{"type":"URL","url":"https://example.com/{{1}}"},{"type":"QUICK_REPLY"}]}`)},
		{Name: "order_cards", Category: "MARKETING", Components: parts(`{"type":"BODY","text":"Look, {{1}}"}`,
			`{"type":"CAROUSEL","cards":[`+card+`,`+card+`]}`)},
	}
}

// meta is a simulator that keeps the bodies of the messages that it received.
type meta struct {
	*graphsim.Sim
	url string

	mu     sync.Mutex
	bodies map[string]map[string]any // by recipient
}

// startMeta serves a simulator whose token is given until the test ends.
func startMeta(t *testing.T, token string, webhook graphsim.Webhook) *meta {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveMeta(t, l, token, webhook)
}

func serveMeta(t *testing.T, l net.Listener, token string, webhook graphsim.Webhook) *meta {
	t.Helper()
	m := &meta{url: "http://" + l.Addr().String(), bodies: map[string]map[string]any{}}
	healthy := graphsim.Account{ID: account, Token: graphsim.Token{Value: token}, Numbers: []graphsim.Number{{ID: number}}, Templates: templates()}
	m.Sim = graphsim.New(graphsim.Options{Webhook: webhook, Account: healthy})
	handler := m.Handler()
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/messages") {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // the client left
			}
			m.keep(body)
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		handler.ServeHTTP(w, r)
		if strings.HasSuffix(r.URL.Path, "/deregister") { // the calls that follow are about a number that can send
			if err := m.SetAccount(healthy); err != nil {
				t.Error(err)
			}
		}
	})}}
	srv.Start()
	t.Cleanup(srv.Close)
	ctx, stop := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return m.Run(ctx) })
	t.Cleanup(func() { stop(); g.Wait() })
	return m
}

func (m *meta) keep(body []byte) {
	var object map[string]any
	if json.Unmarshal(body, &object) != nil {
		return
	}
	to, _ := object["to"].(string)
	if to == "" {
		to, _ = object["recipient"].(string)
	}
	if to != "" { // not a mark as read
		m.mu.Lock()
		m.bodies[to] = object
		m.mu.Unlock()
	}
}

// received returns the body of the message to a recipient, without what is different in each run.
func (m *meta) received(to string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	body := m.bodies[to]
	if body == nil {
		return ""
	}
	plain := map[string]any{}
	for name, value := range body {
		plain[name] = value
		if text, ok := value.(string); ok && strings.HasPrefix(text, "[") { // Meta decodes it, and Sluice sends it decoded
			var list []any
			if json.Unmarshal([]byte(text), &list) == nil {
				plain[name] = list
			}
		}
	}
	delete(plain, "biz_opaque_callback_data") // Sluice puts its marker there, and gives the caller's value back in events
	text, err := json.Marshal(plain)
	if err != nil {
		return err.Error()
	}
	return normal(string(text))
}

// sluice is all programs of Sluice in this process, with a Redis, connected to a simulator.
type sluice struct {
	*meta
	base    string // of the API
	console string
}

func startSluice(t *testing.T, settings ...string) *sluice {
	t.Helper()
	redis := redistest.Start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, secret := range map[string]string{
		"token": token, "secret": appSecret, "verify": "sdktest-verify-token",
		"marker": "sdktest-marker-key-012345", "secrets": "sdktest-secrets-key-0123456789",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hash := func(key string) string {
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	path := filepath.Join(dir, "sluice.yaml")
	text := fmt.Sprintf(`environment: sdktest
redis: {url: %q}
graph: {base_url: "http://%s"}
marker_key_file: marker
numbers: [{phone_number_id: %q, token_file: token, rate_limit: 500}]
apps: [{name: main, secret_file: secret, verify_token_file: verify}]
api_keys:
  - {name: sdktest, sha256: %s, phone_number_ids: [%q], scopes: [messages:send, messages:read, account:write]}
  - {name: admin, sha256: %s, phone_number_ids: ["*"], scopes: [admin]}
%s
`, redis.URL(), l.Addr(), number, hash(apiKey), number, hash(adminKey), strings.Join(settings, "\n"))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(string) string { return "" }
	args := []string{"--config", path}
	hook, err1 := config.LoadWebhook(args, env)
	door, err2 := config.LoadProducer(args, env)
	work, err3 := config.LoadWorker(args, env)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const free = "127.0.0.1:0"
	hook.Listen, hook.Ops, door.Listen, door.Console, door.Ops, work.Ops = free, free, free, free, free, free
	log := slog.New(slog.DiscardHandler)
	webhook := run(t)(app.NewWebhook(t.Context(), hook, log))
	producer := run(t)(app.NewProducer(t.Context(), door, log))
	m := serveMeta(t, l, token, graphsim.Webhook{URL: "http://" + webhook.Addr() + "/webhooks/whatsapp/main", Secret: appSecret, Read: 1})
	run(t)(app.NewWorker(t.Context(), work, log))
	return &sluice{meta: m, base: "http://" + producer.Addr(), console: "http://" + producer.ConsoleAddr()}
}

// run runs a program until the test ends.
func run(t *testing.T) func(*app.Program, error) *app.Program {
	t.Helper()
	return func(p *app.Program, err error) *app.Program {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Errorf("program: %v", err)
			}
		})
		return p
	}
}

// settle waits until the simulator has accepted n messages, and its webhooks have been answered.
func (s *sluice) settle(t *testing.T, n int) {
	t.Helper()
	poll.Until(t, fmt.Sprintf("%d messages", n), func() bool { return s.Stats().Accepted >= n })
	if err := s.Drained(t.Context()); err != nil {
		t.Fatal(err)
	}
}

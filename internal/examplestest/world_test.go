// Package examplestest runs the examples of examples/ against the real programs, a real Redis and the simulator, and
// checks the code of the guides. It has tests only.
package examplestest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/internal/buildtest"
	"sluice/internal/graphsim"
	"sluice/internal/ports"
	"sluice/internal/rig"
)

const (
	webhookSecret = "examples-webhook-secret-Ä"
	phoneNumberID = "106540300000000" // the first of rig.Numbers
)

// world is all programs of Sluice, with a Redis and the simulator.
type world struct {
	rig          *rig.Rig
	api, console string // base URLs
	start        string // the cursor before all events
}

func startWorld(t *testing.T) *world {
	t.Helper()
	ctx := t.Context()
	g := must(rig.New(filepath.Join(buildtest.Programs(t), "sluice")))(t)
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range g.Children() {
				t.Logf("%s printed:\n%s", p.Name, p.Printed())
			}
		}
		g.Close()
	})
	hook, console := must(ports.Free())(t), must(ports.Free())(t)
	hash := sha256.Sum256([]byte(rig.APIKey))
	settings := map[string]any{
		"secrets_key_file": "secrets",
		"relay":            map[string]any{"allowed_private_hosts": "127.0.0.1"},
		"api_keys": []map[string]any{{
			"name": "examples", "sha256": hex.EncodeToString(hash[:]), "phone_number_ids": []string{"*"},
			"scopes": []string{"messages:send", "messages:read", "events:read", "admin"},
		}},
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.WriteFile(filepath.Join(g.Dir, "secrets"), []byte("examples-secrets-key-0123456789"), 0o600))
	check(g.StartRedis(ctx, ""))
	check(g.Simulate(ctx, graphsim.Options{Webhook: graphsim.Webhook{Read: 1}}, hook))
	settings["redis"] = map[string]any{"url": "redis://" + g.Redis.Addr}
	check(g.Configure(rig.Numbers(1, 100), settings))
	must(g.Program(ctx, "webhook", hook, nil))(t)
	must(g.Program(ctx, "worker", "", nil))(t)
	producer := must(g.Program(ctx, "producer", "", nil, "--listen-console", console))(t)
	w := &world{rig: g, api: "http://" + producer.Addr, console: "http://" + console}
	w.start = w.call(t, http.MethodGet, w.api+"/v1/events?from=oldest", "")["cursor"].(string)
	return w
}

// must returns the value of a call, or fails the test.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// call makes a request and returns the decoded answer. Every answer but a 2xx fails the test.
func (w *world) call(t *testing.T, method, url, body string) map[string]any {
	t.Helper()
	return w.callAs(t, rig.APIKey, method, url, body)
}

func (w *world) callAs(t *testing.T, key, method, url, body string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.rig.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s %s %v", method, url, resp.Status, answer, err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(answer, &decoded); err != nil {
		t.Fatalf("%s %s: %s: %v", method, url, answer, err)
	}
	return decoded
}

// setTarget makes a relay target. members are further members of the request.
func (w *world) setTarget(t *testing.T, name, url, members string) {
	t.Helper()
	w.call(t, http.MethodPut, w.console+"/v1/relay/targets/"+name, fmt.Sprintf(
		`{"url":%q,"secret":%q,%s,"actor":"test","reason":"example"}`, url, webhookSecret, members))
}

// received counts the messages to a recipient that Meta took.
func (w *world) received(t *testing.T, phone string) (n int) {
	t.Helper()
	for line := range bytes.Lines(must(w.rig.Get(t.Context(), "http://"+w.rig.Sim.Addr+"/_sim/accepted"))(t)) {
		var a graphsim.Accepted
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		if a.To == strings.TrimPrefix(phone, "+") {
			n++
		}
	}
	return n
}

// badNetwork is a proxy before the API. The answer to the first request to send is lost on the way, and the first request
// for events is answered as if the reader had been away for too long.
func (w *world) badNetwork(t *testing.T) string {
	t.Helper()
	var sends, reads atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(must(url.Parse(w.api))(t))
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && sends.Add(1) == 1:
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case r.URL.Path == "/v1/events" && reads.Add(1) == 1:
			rw.Header().Set("Content-Type", "application/problem+json")
			rw.WriteHeader(http.StatusGone)
			fmt.Fprintf(rw, `{"type":"about:blank","title":"Gone","status":410,"detail":"Events after this cursor were dropped.","code":"cursor_too_old","errors":[],"first_cursor":%q}`, w.start)
		default:
			proxy.ServeHTTP(rw, r)
		}
	}))
	s.Config.ErrorLog = proxy.ErrorLog
	t.Cleanup(s.Close)
	return s.URL
}

// Package browsertest uses the console with a real Chromium, against the real programs, a real Redis and the simulator. It has tests only.
package browsertest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/client"
	"sluice/internal/buildtest"
	"sluice/internal/graphsim"
	"sluice/internal/pgtest"
	"sluice/internal/poll"
	"sluice/internal/ports"
	"sluice/internal/redistest"
	"sluice/internal/rig"
)

const readOnlyKey = "browsertest-key-that-only-reads"

// world is all programs of Sluice, with a Redis and the simulator.
type world struct {
	rig     *rig.Rig
	browser context.Context
	api     *client.Client
	console string // base URL
	numbers []string
}

// startWorld starts a world whose messages end soon: two attempts, and short windows.
func startWorld(t *testing.T) *world {
	t.Helper()
	ctx := t.Context()
	pg := pgtest.Start(t)
	t.Setenv("TMPDIR", redistest.Dir(t))
	g, err := rig.New(filepath.Join(buildtest.Programs(t), "sluice"))
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range g.Children() {
				t.Logf("%s printed:\n%s", p.Name, p.Printed())
			}
		}
		g.Close()
	})
	hook, err := ports.Free()
	check(t, err)
	console, err := ports.Free()
	check(t, err)
	check(t, g.StartRedis(ctx, ""))
	check(t, g.Simulate(ctx, graphsim.Options{Webhook: graphsim.Webhook{Read: 1}}, hook))
	numbers := rig.Numbers(3, 50)
	classes := map[string]any{}
	for _, c := range []string{"authentication", "service", "utility", "marketing"} {
		classes[c] = map[string]any{"in_doubt_window": "2s", "server_error_window": "1s"}
	}
	check(t, os.WriteFile(filepath.Join(g.Dir, "secrets"), []byte("browsertest-secrets-key-0123456789"), 0o600))
	check(t, os.WriteFile(filepath.Join(g.Dir, "archive"), []byte(pg.URL()), 0o600))
	check(t, g.Configure(numbers, map[string]any{
		"archive":          map[string]any{"database_url_file": "archive"},
		"secrets_key_file": "secrets", // the index of recipients needs it
		"redis":            map[string]any{"url": "redis://" + g.Redis.Addr},
		"classes":          classes,
		"retry":            map[string]any{"base": "100ms", "max": "200ms", "attempts": 2},
		"api_keys": []any{
			apiKey("anna", rig.APIKey, "messages:send", "messages:read", "messages:cancel", "events:read", "admin"),
			apiKey("viewer", readOnlyKey, "messages:read", "console:read"),
		},
	}))
	for _, p := range []struct{ name, addr string }{{"webhook", hook}, {"worker", ""}} {
		_, err := g.Program(ctx, p.name, p.addr, nil)
		check(t, err)
	}
	producer, err := g.Program(ctx, "producer", "", nil, "--listen-console", console)
	check(t, err)
	w := &world{rig: g, browser: startBrowser(t), api: g.API(producer.Addr), console: "http://" + console}
	for _, n := range numbers {
		w.numbers = append(w.numbers, n.ID)
	}
	return w
}

func apiKey(name, token string, scopes ...string) map[string]any {
	hash := sha256.Sum256([]byte(token))
	return map[string]any{"name": name, "sha256": hex.EncodeToString(hash[:]), "phone_number_ids": []string{"*"}, "scopes": scopes}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// order changes an entry of the directory, and returns the API key that it made; empty: none.
func (w *world) order(t *testing.T, path, members string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.console+path, strings.NewReader(`{"actor":"Anna","reason":"test",`+members+`}`))
	check(t, err)
	req.Header.Set("Authorization", "Bearer "+rig.APIKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.rig.HTTP.Do(req)
	check(t, err)
	defer resp.Body.Close()
	var answer struct{ Key, Detail string }
	check(t, json.NewDecoder(resp.Body).Decode(&answer))
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", path, resp.StatusCode, answer.Detail)
	}
	return answer.Key
}

// send sends a text from the n-th number, and returns the id of the message.
func (w *world) send(t *testing.T, n int, to string, class client.Class, ref string) string {
	t.Helper()
	r, err := w.api.Send(t.Context(), client.Message{
		From: w.numbers[n], Class: class, Ref: ref,
		Content: fmt.Appendf(nil, `{"to":%q,"type":"text","text":{"body":"Hello"}}`, to),
	})
	check(t, err)
	return r.ID
}

// accepted counts the messages that Meta took.
func (w *world) accepted(t *testing.T) (n int) {
	t.Helper()
	s, err := w.rig.Stats(t.Context())
	check(t, err)
	return s.Accepted
}

// reaches waits until a message has a state.
func (w *world) reaches(t *testing.T, id string, state client.State) {
	t.Helper()
	poll.Until(t, fmt.Sprintf("message %s is %s", id, state), func() bool {
		r, err := w.api.Get(t.Context(), id)
		check(t, err)
		return r.State == state
	})
}

// campaign sends messages from the first number for a minute, and returns in the middle: pictures of the pages then show something.
func (w *world) campaign(t *testing.T) {
	t.Helper()
	for i := range 60 * 50 {
		w.send(t, 0, fmt.Sprintf("+1555040%04d", i), "marketing", "campaign")
		if i == 100 {
			w.send(t, 0, "+99999900005", "utility", "in-doubt")
		}
	}
	poll.Until(t, "half of it is sent", func() bool { return w.accepted(t) >= 30*50 })
}

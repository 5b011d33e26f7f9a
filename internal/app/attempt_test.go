package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/redistest"
)

// startWorker runs a worker that hands messages to a Meta which takes them all, and returns the
// bodies that Meta gets.
func startWorker(t *testing.T, redisURL string) <-chan []byte {
	t.Helper()
	bodies := make(chan []byte, 10)
	meta := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/messages") {
			http.NotFound(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		io.WriteString(w, `{"messages":[{"id":"wamid.1"}]}`)
		bodies <- body
	}))
	t.Cleanup(meta.Close)
	p, err := app.NewWorker(t.Context(), config.Worker{
		Common: config.Common{
			Environment: "test", Shards: int(message.DefaultShards), Ops: "127.0.0.1:0", Numbers: []config.Number{{ID: number, Rate: 80}},
			Redis: config.Redis{URL: config.Secret(redisURL)}, Graph: config.Graph{BaseURL: meta.URL, Version: "v25.0"},
		},
		Roles: []string{config.RoleSend}, MarkerKey: "0123456789abcdef", Tokens: config.FixedTokens(map[string]string{number: "token"}),
		Retry: config.Retry{Base: time.Second, Max: time.Minute, Attempts: 5},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return bodies
}

// The deadline of an order travels to Meta with a Direct Send message.
func TestDirectSendEndsWithItsDeadline(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	api := "http://" + startProducer(t, srv.URL()).Addr()
	bodies := startWorker(t, srv.URL())
	expires := time.Now().Add(time.Hour)
	call(t, "POST", api+"/v1/messages", fmt.Sprintf(
		`{"from":%q,"key":"k","expires_at":%q,"message":{"to":"+15551234567","category":"utility","type":"text","text":{"body":"hi"}}}`,
		number, expires.Format(time.RFC3339Nano)), 202)
	var got struct {
		TTL int `json:"ttl_seconds"`
	}
	body := <-bodies
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if late := time.Now().Add(time.Duration(got.TTL) * time.Second).Sub(expires); got.TTL < 3500 || late > 0 {
		t.Errorf("ttl_seconds is %d, with %s left: %s", got.TTL, time.Until(expires), body)
	}
}

package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/admission"
	"sluice/internal/config"
	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/ops"
	"sluice/internal/redistest"
)

// manyNumbers is a worker of 2,000 numbers, each with so many waiting messages, and some of them held.
func manyNumbers(t testing.TB, each int) *Program {
	t.Helper()
	ctx := t.Context()
	c := config.Worker{
		Common: config.Common{
			Environment: "test", Redis: config.Redis{URL: config.Secret(redistest.Start(t, "--appendonly", "no").URL()), Durability: "relaxed"},
			Shards: int(message.DefaultShards), Ops: "127.0.0.1:0",
		},
		Roles:     []string{config.RoleSend, config.RoleReconcile, config.RoleRelay},
		MarkerKey: "0123456789abcdef", Tokens: &config.Tokens{},
	}
	var all []message.Message
	for i := range 2000 {
		number := fmt.Sprint(106540352240000 + i)
		c.Numbers = append(c.Numbers, config.Number{ID: number, Rate: 80})
		for k := range each {
			key := fmt.Sprint(k)
			all = append(all, message.Message{
				ID: message.NewID(number, key), From: number, Class: message.Classes()[k%4], Key: key, ExpiresAt: time.Now().Add(time.Hour),
				Payload: []byte(`{"to":"+15551234567","type":"text","text":{"body":"hi"}}`), Content: message.Content{Type: "text", To: "+15551234567"},
			})
		}
	}
	p, err := NewWorker(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if err := admission.NewLoader(p.DB, message.DefaultShards).Load(ctx, all); err != nil {
		t.Fatal(err)
	}
	store := holds.New(p.DB, message.DefaultShards, slog.New(slog.DiscardHandler))
	for _, h := range []message.Hold{
		{Number: c.Numbers[0].ID, Reason: "Test.", By: "ann"},
		{Number: c.Numbers[1].ID, Template: "sale/en", Reason: "Test.", By: "ann"},
		{Tag: "spring", Reason: "Test.", By: "ann"},
	} {
		if _, err := store.Set(ctx, h); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// scrape returns the metrics of a program as Prometheus gets them.
func scrape(t testing.TB, p *Program) string {
	t.Helper()
	w := httptest.NewRecorder()
	ops.Handler(p.Registry, nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// commands is a go-redis hook that counts commands.
type commands struct{ n atomic.Int64 }

func (*commands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.n.Add(1); return next(ctx, cmd) }
}

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.n.Add(int64(len(cmds))); return next(ctx, cmds) }
}

// TestScrapeOfManyNumbers: a scrape of a worker with 2,000 busy numbers sends Redis fewer than 500 commands, the first one
// included, which loads scripts.
func TestScrapeOfManyNumbers(t *testing.T) {
	t.Parallel()
	p := manyNumbers(t, 1)
	var count commands
	p.DB.AddHook(&count)
	text := scrape(t, p)
	if n := count.n.Load(); n == 0 || n >= 500 {
		t.Errorf("%d commands", n)
	} else {
		t.Logf("%d commands, %d bytes", n, len(text))
	}
	for _, want := range []string{
		`sluice_held_messages{reason="operator",scope="number"} 1`,
		`sluice_number_held{phone_number_id="106540352240000",reason="operator"} 1`,
		`sluice_queue_depth{class="authentication",phone_number_id="106540352241999"} 1`,
		`sluice_holds{reason="operator",scope="tag"} 1`,
		`sluice_stream_lag_seconds{group="sluice"} 0`,
		`sluice_in_doubt_oldest_age_seconds{class="utility"} 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}

// BenchmarkScrape is a scrape of a worker with 2,000 numbers and 40,000 waiting messages. Redis is read once in 10 s: run it
// with -benchtime 1x for a scrape that reads, and with 2x for one that does and one that does not.
func BenchmarkScrape(b *testing.B) {
	p := manyNumbers(b, 20)
	for b.Loop() {
		scrape(b, p)
	}
}

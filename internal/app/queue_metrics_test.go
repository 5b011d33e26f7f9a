package app_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/admission"
	"sluice/internal/app"
	"sluice/internal/backlog"
	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/ratelimit"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestWorkerExportsItsQueues: the metrics of a worker on a real Redis, with a rate that an operator set.
func TestWorkerExportsItsQueues(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := redistest.Start(t).URL()
	db, err := store.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	configured := func(string) int { return 80 }
	controller, reader := ratelimit.NewController(db, message.DefaultShards, configured), backlog.New(db, message.DefaultShards, configured)
	loader := admission.NewLoader(db, message.DefaultShards)
	for _, key := range []string{"a", "b", "c"} {
		m := message.Message{
			ID: message.NewID(number, key), From: number, Class: message.Utility, Key: key, ExpiresAt: time.Now().Add(time.Hour),
			Payload: []byte(`{"to":"+15551234567","type":"text","text":{"body":"hi"}}`), Content: message.Content{Type: "text", To: "+15551234567"},
		}
		if key == "c" {
			m.SendAt = time.Now().Add(time.Hour)
		}
		if err := loader.Load(ctx, []message.Message{m}); err != nil {
			t.Fatal(err)
		}
	}
	if err := controller.Set(ctx, number, 20, 0, 0); err != nil {
		t.Fatal(err)
	}
	p, err := app.NewWorker(ctx, config.Worker{
		Common:    config.Common{Environment: "test", Redis: config.Redis{URL: config.Secret(url)}, Shards: int(message.DefaultShards), Ops: "127.0.0.1:0", Numbers: []config.Number{{ID: number, Rate: 80}}},
		Roles:     []string{config.RoleReconcile}, // so that the messages stay
		MarkerKey: "0123456789abcdef", Tokens: &config.Tokens{},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	resp, err := http.Get("http://" + p.OpsAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`sluice_queue_depth{class="utility",phone_number_id="` + number + `"} 2`,
		`sluice_queue_depth{class="authentication",phone_number_id="` + number + `"} 0`,
		`sluice_queue_eta_seconds{class="marketing",phone_number_id="` + number + `"} 0.1`,
		`sluice_number_rate_limit_messages_per_second{phone_number_id="` + number + `"} 20`,
		`sluice_number_effective_rate_messages_per_second{phone_number_id="` + number + `"} 20`,
		`sluice_messages_open{state="queued"} 3`,
	} {
		if !strings.Contains(string(page), want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(string(page)) {
			if strings.HasPrefix(line, "sluice_") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
	all, err := reader.ReadAll(ctx, []string{"1", number})
	if err != nil || all[0].Number != "1" || all[0].Ordered != 0 {
		t.Fatalf("%+v, %v", all, err)
	}
	w := all[1].Waiting[message.Utility.Order()]
	if all[1].Ordered != 20 || w.Pending != 2 || w.Delayed != 1 || w.Active != 0 || w.Done != 0 || w.Age() <= 0 || w.Age() > time.Minute {
		t.Errorf("read %+v", all[1])
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

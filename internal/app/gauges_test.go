package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/config"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

func TestGauges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		var broken error
		g := &gauges{
			paces: func(_ context.Context, numbers []string) ([]queue.Pace, error) {
				reads++
				return []queue.Pace{{
					Number: numbers[0], Configured: 80, Rate: 80, Full: 80,
					Waiting: []queue.Waiting{
						{Class: message.Authentication, Active: 2},
						{Class: message.Marketing, Pending: 160 * reads, Oldest: time.Now().Add(-time.Minute)},
					},
				}}, broken
			},
			unknown: func(_ context.Context, known func(string) bool) ([]queue.Pace, error) {
				if known("8") || !known("7") {
					t.Error("a number is taken for another")
				}
				return []queue.Pace{{Number: "8", Waiting: []queue.Waiting{{Pending: 3, Delayed: 2}, {Active: 1}}}}, nil
			},
			backlog: func(context.Context) (ledger.Backlog, error) {
				return ledger.Backlog{Waiting: 5, InDoubt: 1, Parked: 4, Dead: 5}, nil
			},
			numbers: []string{"7"}, log: slog.New(slog.DiscardHandler),
		}
		want := `
# HELP sluice_dead_letters Messages in the dead-letter list. They can be sent again with sluice replay.
# TYPE sluice_dead_letters gauge
sluice_dead_letters 5
# HELP sluice_messages_open Messages that have not ended, by state. attempting: a worker has fetched the message and sends it within seconds. queued: all other waiting messages, scheduled and held ones included.
# TYPE sluice_messages_open gauge
sluice_messages_open{state="attempting"} 2
sluice_messages_open{state="in_doubt"} 1
sluice_messages_open{state="parked"} 4
sluice_messages_open{state="queued"} 3
# HELP sluice_number_effective_rate_messages_per_second Messages per second that the number sends at most now. It is lower than the rate limit after Meta refused messages because the number was too fast.
# TYPE sluice_number_effective_rate_messages_per_second gauge
sluice_number_effective_rate_messages_per_second{phone_number_id="7"} 80
# HELP sluice_number_rate_limit_messages_per_second Messages per second that the number may send: the configured rate limit, or the one set with sluice rate.
# TYPE sluice_number_rate_limit_messages_per_second gauge
sluice_number_rate_limit_messages_per_second{phone_number_id="7"} 80
# HELP sluice_number_unconfigured_messages Messages that wait for a phone number id that no worker has in its configuration. They are not sent.
# TYPE sluice_number_unconfigured_messages gauge
sluice_number_unconfigured_messages{phone_number_id="8"} 6
# HELP sluice_queue_depth Messages in the queue that wait for a send slot. Scheduled messages, retries and held messages are not counted.
# TYPE sluice_queue_depth gauge
sluice_queue_depth{class="authentication",phone_number_id="7"} 0
sluice_queue_depth{class="marketing",phone_number_id="7"} 160
# HELP sluice_queue_eta_seconds Time until a message that is accepted now is sent.
# TYPE sluice_queue_eta_seconds gauge
sluice_queue_eta_seconds{class="authentication",phone_number_id="7"} 0
sluice_queue_eta_seconds{class="marketing",phone_number_id="7"} 2
# HELP sluice_queue_oldest_age_seconds How long the oldest message in the queue has waited. 0: the queue is empty.
# TYPE sluice_queue_oldest_age_seconds gauge
sluice_queue_oldest_age_seconds{class="authentication",phone_number_id="7"} 0
sluice_queue_oldest_age_seconds{class="marketing",phone_number_id="7"} 60
`
		compare := func(want string) {
			t.Helper()
			if err := testutil.CollectAndCompare(g, strings.NewReader(want)); err != nil {
				t.Error(err)
			}
		}
		compare(want)
		time.Sleep(gaugesFresh - time.Nanosecond)
		compare(want)
		if reads != 1 {
			t.Errorf("%d reads within %v", reads, gaugesFresh)
		}
		time.Sleep(time.Nanosecond)
		compare(strings.NewReplacer("} 160", "} 320", "marketing\",phone_number_id=\"7\"} 2\n", "marketing\",phone_number_id=\"7\"} 4\n").Replace(want))
		broken = errors.New("away")
		time.Sleep(gaugesFresh)
		compare("")
		if problems, err := testutil.CollectAndLint(&gauges{paces: g.paces, unknown: g.unknown, backlog: g.backlog, numbers: g.numbers, log: g.log}); err != nil || len(problems) != 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}

// What a worker tells of a number on a real Redis, and that an order reaches it.
func TestWorkerTellsOfItsNumbers(t *testing.T) {
	t.Parallel()
	const number = "106540352242922"
	ctx := t.Context()
	url := redistest.Start(t).URL()
	db, err := store.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	paces := queue.NewPaces(db, message.DefaultShards, func(string) int { return 80 })
	loader := NewLoader(db, message.DefaultShards)
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
	if err := paces.Order(ctx, number, 20, 0, 0); err != nil {
		t.Fatal(err)
	}
	p, err := NewWorker(ctx, config.Worker{
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
	all, err := paces.ReadAll(ctx, []string{"1", number})
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

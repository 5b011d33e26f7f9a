package app_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// TestNumbersAtRunTime: an installation without numbers sends from numbers that are stored while it runs, and the pace of a number under
// load stays within its limit while others come. A number that is drained is removed after its last message, and one that is
// cancelled after its messages.
func TestNumbersAtRunTime(t *testing.T) {
	t.Parallel()
	const (
		busy, drained, cancelled = "100000000000001", "100000000000002", "100000000000003"
		rate, messages           = 20, 100
		key                      = "a secrets key 1234"
	)
	srv := redistest.Start(t)
	sim := graphsim.New(graphsim.Options{Token: "token", Rate: 80})
	meta := httptest.NewServer(sim.Handler())
	t.Cleanup(meta.Close)
	common := config.Common{
		Environment: "test", Shards: int(message.DefaultShards), Ops: "127.0.0.1:0",
		Redis: config.Redis{URL: config.Secret(srv.URL())}, Graph: config.Graph{BaseURL: meta.URL, Version: "v25.0"},
	}
	log := slog.New(slog.DiscardHandler)
	start := func(p *app.Program, err error) *app.Program {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		run(t, p)
		return p
	}
	api := "http://" + start(app.NewProducer(t.Context(), config.Producer{
		Common: common, Listen: "127.0.0.1:0", SecretsKey: key,
		APIKeys: []config.APIKey{{Name: "verbs", SHA256: sha256.Sum256([]byte("verbs")), Numbers: []string{"*"}, Scopes: config.Scopes()}},
	}, log)).Addr()
	start(app.NewWorker(t.Context(), config.Worker{
		Common: common, SecretsKey: key, Roles: []string{config.RoleSend}, MarkerKey: "0123456789abcdef", Tokens: &config.Tokens{},
		Retry: config.Retry{Base: time.Second, Max: time.Minute, Attempts: 5},
	}, log))

	db, err := store.Open(t.Context(), srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	entries := directory.NewStore(directory.StoreOptions{
		DB: db, Box: secrets.New(key, ""), Unfinished: func(context.Context, string) (int, error) { return 1, nil },
	})
	change := directory.Change{Revision: directory.AnyRevision, Actor: "anna", Reason: "a test"}
	add := func(id string) {
		t.Helper()
		if _, err := entries.Put(t.Context(), directory.Number{PhoneNumberID: id, RateLimit: rate}, directory.Secrets{directory.SecretAccessToken: "token"}, change); err != nil {
			t.Fatal(err)
		}
	}
	ids := map[string][]string{}
	post := func(number, more string) bool {
		status, answer := ask(t, "POST", api+"/v1/messages", fmt.Sprintf(`{"from":%q%s,"message":{"to":"+1555123%04d","type":"text","text":{"body":"hi"}}}`, number, more, len(ids[number])))
		if status == 202 {
			ids[number] = append(ids[number], answer["id"].(string))
		}
		return status == 202
	}
	state := func(id string) any { return call(t, "GET", api+"/v1/messages/"+id, "", 200)["state"] }
	later := fmt.Sprintf(`,"send_at":%q`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	if post(busy, "") {
		t.Fatal("a number that is not configured accepts messages")
	}
	add(busy)
	poll.Until(t, "the number accepts messages", func() bool { return post(busy, "") })
	for len(ids[busy]) < messages {
		if !post(busy, "") {
			t.Fatal("a message is refused")
		}
	}
	soon := fmt.Sprintf(`,"send_at":%q`, time.Now().Add(6*time.Second).UTC().Format(time.RFC3339))
	add(drained)
	add(cancelled)
	poll.Until(t, "the second number accepts messages", func() bool { return post(drained, soon) })
	poll.Until(t, "the third number accepts messages", func() bool { return post(cancelled, later) })
	for number, how := range map[string]string{drained: directory.BacklogDrain, cancelled: directory.BacklogCancel} {
		if _, err := entries.RemoveNumber(t.Context(), number, directory.BacklogRefuse, "", change); err == nil {
			t.Error("a number with a message is removed")
		}
		if _, err := entries.RemoveNumber(t.Context(), number, how, "", change); err != nil {
			t.Fatal(err)
		}
	}
	poll.Until(t, "the numbers that leave accept nothing", func() bool { return !post(drained, "") && !post(cancelled, later) })
	poll.Until(t, "workers removed the numbers", func() bool {
		all, err := entries.List(t.Context())
		return err == nil && len(all.Numbers) == 1
	})
	for _, id := range ids[cancelled] {
		if got := state(id); got != "cancelled" {
			t.Errorf("a message of the cancelled number is %v", got)
		}
	}
	for _, id := range ids[drained] {
		if got := state(id); got != "submitted" {
			t.Errorf("a message of the drained number is %v", got)
		}
	}
	poll.Until(t, "all messages of the first number are sent", func() bool { return sim.Stats().Accepted >= messages })
	// Arrivals on a busy machine vary. `sluice bench clients` counts the moments at which requests are written, and finds no second above the limit.
	if seen := sim.Stats(); seen.Windows[busy] > rate*13/10 || seen.Windows[busy] == 0 {
		t.Errorf("%d messages in a second, the limit is %d", seen.Windows[busy], rate)
	}
}

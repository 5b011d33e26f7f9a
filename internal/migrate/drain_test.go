package migrate_test

import (
	"context"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/ops"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// The secrets of the fixture. They guard nothing.
const (
	token      = "rig-access-token"
	markerKey  = "rig-marker-key-0123456789"
	payloadKey = "fixture-payload-key-fixture-payload-key-"
)

var digits = regexp.MustCompile(`\d+`)

// present moves the times of the fixture to the present. Its programs stopped at a time in Unix
// seconds.
func present(line string, stopped int64) string {
	later := time.Now().Unix() - stopped
	return digits.ReplaceAllStringFunc(line, func(s string) string {
		n, err := strconv.ParseInt(s, 10, 64)
		const day = 24 * 60 * 60
		for _, unit := range []int64{1, 1e3, 1e6, 1e9} {
			if at := n / unit; err == nil && at > stopped-day && at < stopped+8*day {
				return strconv.FormatInt(n+later*unit, 10)
			}
		}
		return s
	})
}

// New programs send each message that waits, once, and none that was sent before.
func TestDrain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	stopped := stoppedAt(t)
	f := loadText(t, server.Client(), present(unzip(t, "store.txt.gz"), stopped))
	f.migrate()
	for _, s := range shards.All() { // end the holds
		f.db.Del(t.Context(), store.Key(s, "holds"))
	}
	waiting, under := map[string]bool{}, map[string]bool{}
	for id, was := range records(t) {
		switch message.State(was["state"].(string)) {
		case message.Queued:
			if was["send_at"] == nil && was["attempt"] == 0.0 && was["to"] != "+15***56" { // the simulator refuses these
				waiting[id] = true
			}
		case message.Attempting:
			under[id] = true
		}
	}
	sim := f.programs(server.URL())
	sent := map[string]int{}
	eventually(t, "everything is sent", func() bool {
		clear(sent)
		for _, a := range sim.Accepted() {
			sent[strings.Split(a.Marker, ".")[2]]++
		}
		for id := range waiting {
			if sent[id] == 0 {
				return false
			}
		}
		return true
	})
	eventually(t, "attempts of the killed worker are in doubt, or Meta reported what became of them", func() bool {
		inDoubt := 0
		for id := range under {
			r, err := f.ledger().Get(t.Context(), id)
			switch {
			case err != nil || r.State == message.Attempting:
				return false
			case r.Reason == message.ReasonWorkerDied:
				inDoubt++
			case r.State.Rank("") < message.Sent.Rank(""):
				t.Fatalf("%s is %s, %s", id, r.State, r.Reason)
			}
		}
		return inDoubt > 0
	})
	before := records(t)
	for id, n := range sent {
		if was := before[id]["state"]; n > 1 || was != "queued" && was != "in_doubt" {
			t.Errorf("%s was %s, and sent %d times", id, was, n)
		}
	}
	// What Meta had reported while no worker ran has been applied.
	eventually(t, "all reports are applied", func() bool {
		for id, was := range before {
			if was["state"] != "submitted" || was["ref"] != "silence" {
				continue
			}
			if r, err := f.ledger().Get(t.Context(), id); err != nil || r.State == message.Submitted {
				return false
			}
		}
		return true
	})
}

// stoppedAt is when the programs of the fixture stopped, in Unix seconds.
func stoppedAt(t *testing.T) int64 {
	t.Helper()
	var last time.Time
	for _, r := range records(t) {
		at, err := time.Parse(time.RFC3339, r["accepted_at"].(string))
		if err != nil {
			t.Fatal(err)
		}
		if at.After(last) {
			last = at
		}
	}
	return last.Unix()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	poll.Until(t, what, ok)
}

// programs runs a worker and a webhook of this version against a new simulator, until the test ends.
func (f fixture) programs(url string) *graphsim.Sim {
	t := f.t
	t.Helper()
	graph, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := config.Common{
		Environment: "rig", Shards: int(shards), Ops: "127.0.0.1:0",
		Redis:   config.Redis{URL: config.Secret(url), Durability: config.Relaxed},
		Graph:   config.Graph{BaseURL: "http://" + graph.Addr().String(), Version: "v25.0"},
		Classes: map[string]config.Class{},
	}
	tokens := map[string]string{}
	for i := range 9 {
		id := "10654030000000" + strconv.Itoa(i)
		c.Numbers = append(c.Numbers, config.Number{ID: id, Rate: 80})
		tokens[id] = token
	}
	for _, class := range message.Classes() {
		c.Classes[string(class)] = config.Class{InDoubtWindow: time.Minute, InDoubtPolicy: "park", ErrorWindow: time.Minute}
	}
	log := slog.New(slog.DiscardHandler)
	webhook, err := app.NewWebhook(t.Context(), config.Webhook{Common: c, Listen: "127.0.0.1:0", Apps: []config.App{{Name: "main", Secret: "secret", VerifyToken: "verify"}}}, log)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := app.NewWorker(t.Context(), config.Worker{
		Common: c, Roles: []string{config.RoleSend, config.RoleReconcile}, MarkerKey: markerKey, PayloadKey: payloadKey,
		Tokens: config.FixedTokens(tokens), Retry: config.Retry{Base: time.Second, Max: time.Second, Attempts: 3},
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	sim := graphsim.New(graphsim.Options{Token: token, Rate: 80, Webhook: graphsim.Webhook{
		URL: "http://" + webhook.Addr() + "/webhooks/whatsapp/main", Secret: "secret",
	}})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	after, stopMeta := context.WithCancel(context.WithoutCancel(t.Context())) // the last requests need answers
	var ours, meta errgroup.Group
	meta.Go(func() error { return ops.Serve(after, graph, sim.Handler(), ops.ServeOptions{Grace: 10 * time.Second}) }) // an unused connection lasts 5 s
	meta.Go(func() error { return sim.Run(after) })
	for _, p := range []*app.Program{webhook, worker} {
		ours.Go(func() error { return p.Run(ctx) })
	}
	t.Cleanup(func() {
		stop()
		if err := ours.Wait(); err != nil {
			t.Error(err)
		}
		stopMeta()
		if err := meta.Wait(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/app"
	"sluice/internal/fleet"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// limitWindow is the window of messaging limits in the tests of this package, and in the simulators that have one.
const limitWindow = 15 * time.Second

// limitRun is an environment variable for a measured run: 12,000 people on a limit of 10,000, with a window of this duration.
const limitRun = "SLUICE_LIMIT_RUN"

// TestMessagingLimit: a campaign to more people than the portfolio may write to at first is sent without a message above the limit at Meta,
// by both numbers of the portfolio and two workers, of which one is killed. The console says when it will end: in a measured run within 5 %.
// The short window of other runs is too coarse to compare it with (TestWaitPredictsTheEnd does so with a clock of its own).
func TestMessagingLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a window of the limit")
	}
	people, limit, tier, window, rate := 300, 250, "TIER_250", limitWindow, 80
	if text := os.Getenv(limitRun); text != "" {
		long, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		people, limit, tier, window, rate = 12_000, 10_000, "TIER_10K", long, 200
		t.Setenv(app.LimitWindowEnv, text)
	} else {
		t.Setenv(app.LimitWindowEnv, limitWindow.String())
	}
	w := setup(t, rate, graphsim.Options{
		Account: graphsim.Account{Tier: tier}, LimitWindow: graphsim.Duration(window), Webhook: graphsim.Webhook{Batch: 50},
	}, "classes: {marketing: {in_doubt_window: 12s, in_doubt_policy: park}}") // for attempts of the killed worker that Meta did not receive
	first := w.worker()
	w.worker()
	console := client.New(w.console, apiKey)
	state := func(number string) (n fleet.Number) {
		if err := console.Call(t.Context(), http.MethodGet, "/v1/numbers/"+number, nil, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	poll.Until(t, "Meta's limit is known", func() bool {
		return state(numbers[0]).Portfolio != nil && state(numbers[1]).Portfolio != nil
	})
	begun := time.Now()
	ids := make([]string, people)
	var g errgroup.Group
	g.SetLimit(32)
	for i := range people {
		g.Go(func() error {
			r, err := w.api.Send(t.Context(), client.Message{From: numbers[i%2], Content: template(i), Class: client.ClassMarketing, Key: fmt.Sprint("campaign-", i)})
			ids[i] = r.ID
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	predicted := time.Now().Add(time.Duration(max(state(numbers[0]).ETA, state(numbers[1]).ETA) * float64(time.Second)))
	first.kill()
	usable := limit - limit/50
	poll.Until(t, "the limit is used", func() bool { return state(numbers[0]).Portfolio.Used >= usable })
	if n := state(numbers[0]); n.Portfolio.Used != usable || n.Portfolio.Limit != limit {
		t.Errorf("portfolio: %+v", n.Portfolio)
	}
	records := w.settled(ids, over)
	by, stats := states(records), w.sim.Stats()
	if by[client.StateDelivered]+by[client.StateParked] != people || by[client.StateParked] > people/10 {
		t.Errorf("%v, want all %d delivered, but for attempts of the killed worker", by, people)
	}
	if stats.OverLimit != 0 || stats.Accepted != by[client.StateDelivered] {
		t.Errorf("Meta took %d messages, %d of them above its limit; %v", stats.Accepted, stats.OverLimit, by)
	}
	var last time.Time
	for _, a := range w.sim.Accepted() {
		if a.Start.After(last) {
			last = a.Start
		}
	}
	off := float64(predicted.Sub(last)) / float64(last.Sub(begun))
	t.Logf("%d people, limit %d in %s: ended after %s, predicted %s, %.1f %% off, %d above Meta's limit", people, limit, window,
		last.Sub(begun).Round(time.Millisecond), predicted.Sub(begun).Round(time.Millisecond), 100*off, stats.OverLimit)
	if window != limitWindow && (off < -.05 || off > .05) {
		t.Errorf("predicted %s after the end", predicted.Sub(last))
	}
}

// template is a template message to the i-th person.
func template(i int) json.RawMessage {
	return fmt.Appendf(nil, `{"to":"+1555%07d","type":"template","template":{"name":"sale","language":{"code":"en"}}}`, 3_300_000+i)
}

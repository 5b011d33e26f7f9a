package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/config"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// template orders n messages of a template, whose keys begin with the prefix, and returns their ids.
func (w *world) template(from, name, prefix string, class client.Class, n int) (ids []string) {
	w.t.Helper()
	messages := func(yield func(client.Message) bool) {
		for i := range n {
			content := fmt.Sprintf(`{"to":"+1555%07d","type":"template","template":{"name":%q,"language":{"code":"en_US"}}}`, 2_200_000+i, name)
			if !yield(client.Message{From: from, Key: fmt.Sprint(prefix, i), Class: class, Content: json.RawMessage(content)}) {
				return
			}
		}
	}
	for result, err := range w.api.SendBatch(w.t.Context(), messages) {
		if err != nil || result.Problem != nil {
			w.t.Fatalf("line %d: %v %v", result.Line, result.Problem, err)
		}
		ids = append(ids, result.ID)
	}
	return ids
}

// known waits until the producer knows the category of a template.
func (w *world) known(from, name string, class client.Class) {
	w.t.Helper()
	content := json.RawMessage(`{"to":"+15552200000","type":"template","template":{"name":"` + name + `","language":{"code":"en_US"}}}`)
	poll.Until(w.t, "the template is known", func() bool {
		checked, err := w.api.Check(w.t.Context(), client.Message{From: from, Content: content})
		return err == nil && checked.Class == class
	})
}

// TestMarketingRoute: messages of a marketing template go to the Marketing Messages API, each exactly once although a worker is killed, and
// those of another template to the Cloud API. The events name the route, and the usage has Meta's category.
func TestMarketingRoute(t *testing.T) {
	t.Parallel()
	faults := graphsim.Faults{Latency: graphsim.Span{Min: 20 * time.Millisecond, Max: 60 * time.Millisecond}}
	w := setup(t, 100, graphsim.Options{
		Token: "e2e-access-token", Faults: faults, Webhook: graphsim.Webhook{Delay: graphsim.Span{Min: 3 * time.Second, Max: 4 * time.Second}, Batch: 20},
		Account: graphsim.Account{NoCloud: true, Templates: []graphsim.Template{{Name: "sale", Category: "MARKETING"}, {Name: "order"}}},
	}, "classes: {marketing: {in_doubt_window: 12s, in_doubt_policy: park}}")
	w.change("/v1/clients", `"name":"shop"`)
	w.change("/v1/numbers", fmt.Sprintf(`"phone_number_id":%q,"rate_limit":100,"client":"shop","marketing_messages":"strict"`, numbers[0]))
	workers := []*worker{w.worker(), w.worker()}
	w.known(numbers[0], "sale", client.ClassMarketing)

	ids := w.template(numbers[0], "sale", "a", "", 100)
	w.await(30)
	w.sim.SetFaults(graphsim.Faults{Latency: graphsim.Span{Min: 5 * time.Second}}) // so that the kill comes before the answer
	victim := w.amidARequest(workers, func() { ids = append(ids, w.template(numbers[0], "sale", "b", "", 50)...) })
	workers[victim].kill()
	w.sim.SetFaults(faults)
	ids = append(ids, w.template(numbers[0], "order", "c", client.ClassMarketing, 5)...)
	records := w.settled(ids, over)
	if by := states(records); by[client.StateDelivered] != len(ids)-by[client.StateParked] {
		t.Errorf("states %v", by)
	}
	taken := map[string]int{}
	for _, a := range w.sim.Accepted() {
		id := idOf(a.Marker)
		taken[id]++
		if sale := strings.HasPrefix(records[id].Template, "sale/"); a.Marketing != sale {
			t.Errorf("%s of template %s: marketing route %t", id, records[id].Template, a.Marketing)
		}
	}
	delivered := map[string]int{}
	for id, r := range records {
		if n := taken[id]; n > 1 || n == 0 && r.State != client.StateParked {
			t.Errorf("%s is %s, and Meta took it %d times", id, r.State, n)
		}
		if r.State == client.StateDelivered {
			delivered[r.Template]++
		}
	}
	var routes int
	page, err := w.api.ReadEvents(t.Context(), client.EventOptions{From: "oldest", Types: []client.EventType{client.EventMessage}, Limit: 1000}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		if e.State.To == client.StateSubmitted {
			if sale := strings.HasPrefix(e.Message.Template, "sale/"); (e.State.Route == "marketing_messages") != sale {
				t.Errorf("%s of template %s: route %q", e.Message.ID, e.Message.Template, e.State.Route)
			}
			routes++
		}
	}
	if routes == 0 {
		t.Error("no event of a submitted message")
	}
	usage, err := w.api.Usage(t.Context(), "", time.Now().Add(-24*time.Hour), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	billed := map[string]int{}
	for _, u := range usage {
		billed[u.Category] += u.Billed
	}
	if billed["marketing_lite"] != delivered["sale/en_US"] || billed["utility"] != delivered["order/en_US"] || billed["marketing"] != 0 {
		t.Errorf("billed %v, delivered %v", billed, delivered)
	}
}

// TestReroute: Meta refuses marketing templates on the Cloud API. The messages of a number that may use the Marketing Messages API go there
// after the first refusals; those of another number wait until its setting allows it.
func TestReroute(t *testing.T) {
	t.Parallel()
	w := setup(t, 50, graphsim.Options{Token: "e2e-access-token", Account: graphsim.Account{NoCloud: true}}, "retry: {base: 200ms, max: 2s}") // without templates: their category is unknown
	w.change("/v1/numbers", fmt.Sprintf(`"phone_number_id":%q,"rate_limit":50,"marketing_messages":"fallback"`, numbers[0]))
	w.worker()
	const each = 40
	allowed := w.template(numbers[0], "sale", "a", client.ClassUtility, each)
	waiting := w.template(numbers[1], "sale", "b", client.ClassUtility, each)
	rerouted := 0
	for id, r := range w.settled(allowed, over) {
		if rerouted += r.Attempt - 1; r.Attempt > 2 {
			t.Errorf("%s needed %d attempts", id, r.Attempt)
		}
	}
	if rerouted == 0 || rerouted > each/2 {
		t.Errorf("%d of %d messages were refused first", rerouted, each)
	}
	stored := w.holds()
	poll.Until(t, "the template of the other number is held", func() bool {
		all, err := stored.List(t.Context())
		return err == nil && len(all) == 1 && all[0].Number == numbers[1] && all[0].Code == 131063
	})
	w.change("/v1/numbers", fmt.Sprintf(`"phone_number_id":%q,"rate_limit":50,"marketing_messages":"fallback"`, numbers[1]))
	w.settled(waiting, over)
	for _, a := range w.sim.Accepted() {
		if !a.Marketing {
			t.Errorf("%s came by the Cloud API", a.Marker)
		}
	}
	if n := w.sim.Stats().Accepted; n != 2*each || w.sim.Duplicates() != 0 {
		t.Errorf("Meta took %d messages", n)
	}
}

// TestGraphVersionCanary: a share of the messages has the version of the canary, also those that Meta refused first.
func TestGraphVersionCanary(t *testing.T) {
	t.Parallel()
	// On a Cluster the start of the webhook program counts as a gap that lasts into the first attempts, because clocks of nodes differ.
	w := setup(t, 100, graphsim.Options{Token: "e2e-access-token", Seed: 5, Faults: graphsim.Faults{ErrorBefore: 0.1}}, "classes: {utility: {server_error_window: 1s, webhook_retry_window: 1s}}", "retry: {base: 100ms}")
	versions := config.GraphVersions{Version: "v24.0", Canary: "v27.0", Share: 20}
	w.change("/v1/numbers", fmt.Sprintf(`"phone_number_id":%q,"rate_limit":100,"graph_version":"v24.0","graph_version_canary":{"version":"v27.0","share":20}`, numbers[0]))
	w.worker()
	const messages = 300
	ids := w.template(numbers[0], "order", "key", client.ClassUtility, messages)
	again := map[string]int{}
	for id, r := range w.settled(ids, over) {
		if r.Attempt > 1 {
			again[versions.Of(id, "")]++
		}
	}
	counts := map[string]int{}
	for _, a := range w.sim.Accepted() {
		counts[a.Version]++
		if want := versions.Of(idOf(a.Marker), ""); a.Version != want {
			t.Errorf("%s has version %s, want %s", a.Marker, a.Version, want)
		}
	}
	if c := counts["v27.0"]; c < messages*14/100 || c > messages*26/100 || c+counts["v24.0"] != messages {
		t.Errorf("versions %v", counts)
	}
	if again["v27.0"] == 0 || again["v24.0"] == 0 {
		t.Errorf("no message of each version needed a second attempt: %v", again)
	}
}

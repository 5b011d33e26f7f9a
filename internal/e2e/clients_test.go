package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
)

// change makes a change over the console, and returns the key that it made.
func (w *world) change(path, members string) string {
	w.t.Helper()
	var stored struct{ Key string }
	body := json.RawMessage(`{` + members + `,"actor":"anna","reason":"test"}`)
	if err := client.New(w.console, apiKey).Call(w.t.Context(), "POST", path, body, &stored); err != nil {
		w.t.Fatalf("%s: %v", path, err)
	}
	return stored.Key
}

// addClients adds clients with an API key each, for whom a number is shared.
func (w *world) addClients(number string, entries ...string) map[string]*client.Client {
	w.t.Helper()
	all, names := map[string]*client.Client{}, []string{}
	for _, entry := range entries {
		var e struct{ Name string }
		if err := json.Unmarshal([]byte(`{`+entry+`}`), &e); err != nil {
			w.t.Fatal(err)
		}
		w.change("/v1/clients", entry)
		names = append(names, `"`+e.Name+`"`)
		all[e.Name] = nil
	}
	w.change("/v1/numbers", fmt.Sprintf(`"phone_number_id":%q,"rate_limit":200,"shared_with":[%s]`, number, strings.Join(names, ",")))
	for name := range all {
		key := w.change("/v1/api-keys", fmt.Sprintf(`"name":%q,"client":%q,"phone_number_ids":["*"],"scopes":["messages:send","messages:read","messages:cancel","events:read"]`, name, name))
		c := client.New(w.api.String(), key, client.WithRetryFor(0))
		all[name] = c
		poll.Until(w.t, "the producer knows the key of "+name, func() bool {
			_, err := c.Check(w.t.Context(), client.Message{From: number, Content: client.Text("+15553000001", "Hello")})
			return err == nil
		})
	}
	return all
}

// load sends n messages of a campaign, to recipients whose numbers have the prefix. On a busy machine Redis may answer too late: then it sends
// them again, with their keys.
func load(t *testing.T, c *client.Client, from, prefix, campaign string, n int) {
	t.Helper()
	messages := func(yield func(client.Message) bool) {
		for i := range n {
			to := fmt.Sprintf("+1555%s%06d", prefix, i)
			if !yield(client.Message{From: from, Key: campaign + to, Class: client.ClassMarketing, Campaign: campaign, Content: client.Text(to, "Hello")}) {
				return
			}
		}
	}
	for again := true; again; {
		again = false
		for result, err := range c.SendBatch(t.Context(), messages) {
			switch {
			case err == nil && result.Problem != nil && result.Problem.Status == http.StatusServiceUnavailable:
				again = true
			case err != nil || result.Problem != nil:
				t.Fatalf("line %d: %v %v", result.Line, result.Problem, err)
			}
		}
	}
}

// TestFloodLeavesOthersTheirShare: one client floods a number that four clients share, and one campaign another number. At Meta arrive the
// shares by weight, within 5 %, as long as all have messages.
func TestFloodLeavesOthersTheirShare(t *testing.T) {
	t.Parallel()
	w := setup(t, 200, graphsim.Options{})
	shared := w.addClients(numbers[0], `"name":"a"`, `"name":"b"`, `"name":"c","weight":2`, `"name":"d","weight":4,"campaign_weights":{"w":4,"y":2}`)
	w.change("/v1/numbers", fmt.Sprintf(`"phone_number_id":%q,"rate_limit":200,"client":"d"`, numbers[1]))
	const measured = 800
	weights := []struct {
		name, prefix string
		weight       int
	}{{"a", "1", 1}, {"b", "2", 1}, {"c", "3", 2}, {"d", "4", 4}}
	campaigns := []string{"v", "x", "y", "w"} // of client d, with the same weights
	for i, one := range weights {
		n := measured * one.weight / 8 * 2
		if i == 0 {
			n = 50 * measured / 8 // the flood
		}
		load(t, shared[one.name], numbers[0], one.prefix, "", n)
	}
	poll.Until(t, "client d may send from its number", func() bool {
		_, err := shared["d"].Check(t.Context(), client.Message{From: numbers[1], Content: client.Text("+15553000001", "Hello")})
		return err == nil
	})
	for i, one := range weights {
		n := measured * one.weight / 8 * 2
		if i == 0 {
			n = 50 * measured / 8
		}
		load(t, shared["d"], numbers[1], one.prefix, campaigns[i], n)
	}
	w.worker()
	for _, number := range numbers {
		counts, total := map[string]int{}, 0
		poll.Until(t, "Meta got enough messages", func() bool {
			clear(counts)
			total = 0
			for _, a := range w.sim.Accepted() {
				if a.Number == number && total < measured {
					counts[a.To[4:5]]++
					total++
				}
			}
			return total == measured
		})
		t.Logf("number %s: of | weight | wanted | measured", number)
		for i, one := range weights {
			share, want := float64(counts[one.prefix])/measured, float64(one.weight)/8
			name := one.name
			if number == numbers[1] {
				name = "campaign " + campaigns[i]
			}
			t.Logf("%s | %d | %.1f %% | %.1f %%", name, one.weight, 100*want, 100*share)
			if d := share/want - 1; d < -.05 || d > .05 {
				t.Errorf("%s has a share of %.3f, want %.3f", name, share, want)
			}
		}
	}
}

// TestClientsSeeOnlyTheirMessages: on a shared number a client reads, lists, finds and cancels its own messages only, two clients may use
// the same key, and a quota refuses what is over it. A repeat of an accepted key is answered all the same.
func TestClientsSeeOnlyTheirMessages(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{})
	shared := w.addClients(numbers[0], `"name":"a","quotas":{"per_day":2,"classes":{"marketing":{"per_month":1}}}`, `"name":"b"`)
	ctx, later := t.Context(), time.Now().Add(24*time.Hour).UTC().Truncate(time.Second)
	order := func(c *client.Client, key string, class message.Class) (client.Accepted, error) {
		return c.Send(ctx, client.Message{From: numbers[0], Key: key, Ref: "r", Class: client.Class(class), Content: client.Text("+15553000001", "Hello"), SendAt: later})
	}
	ours, err := order(shared["a"], "same", message.Marketing)
	theirs, err2 := order(shared["b"], "same", message.Marketing)
	if err := errors.Join(err, err2); err != nil || ours.ID == theirs.ID || theirs.Duplicate {
		t.Fatalf("two clients with one key: %+v, %+v, %v", ours, theirs, err)
	}
	refused := func(what string, err error, code string, status int) {
		t.Helper()
		if p, is := errors.AsType[*client.Problem](err); !is || p.Code != code || p.Status != status {
			t.Errorf("%s: %v, want %d %s", what, err, status, code)
		}
	}
	_, err = shared["a"].Get(ctx, theirs.ID)
	refused("read", err, "not_found", http.StatusNotFound)
	_, err = shared["a"].Explain(ctx, theirs.ID)
	refused("explain", err, "not_found", http.StatusNotFound)
	refused("cancel", shared["a"].Cancel(ctx, theirs.ID), "not_found", http.StatusNotFound)
	for what, body := range map[string]string{"ref": `{"ref":"r"}`, "key": `{"key":"same"}`, "state": `{"state":"queued"}`, "id": `{"id":"` + theirs.ID + `"}`} {
		for name, want := range map[string]string{"a": ours.ID, "b": theirs.ID} {
			var found struct{ Messages []client.Record }
			if err := shared[name].Call(ctx, "POST", "/v1/messages/search", json.RawMessage(body), &found); err != nil {
				t.Fatal(err)
			}
			if what == "id" && name == "a" {
				want = ""
			}
			if got := fmt.Sprint(len(found.Messages)); want == "" && got != "0" || want != "" && (got != "1" || found.Messages[0].ID != want || found.Messages[0].Client != name) {
				t.Errorf("client %s finds by %s: %+v", name, what, found.Messages)
			}
		}
	}
	if r, err := w.api.Get(ctx, theirs.ID); err != nil || r.Client != "b" {
		t.Errorf("an operator reads %+v, %v", r, err)
	}

	_, err = order(shared["a"], "second", message.Marketing)
	refused("marketing over its quota", err, "quota_exceeded", http.StatusTooManyRequests)
	if again, err := order(shared["a"], "same", message.Marketing); err != nil || !again.Duplicate {
		t.Errorf("a repeat: %+v, %v", again, err)
	}
	if _, err := order(shared["a"], "third", message.Utility); err != nil {
		t.Errorf("what the refused and repeated messages left of the quota: %v", err)
	}
	_, err = order(shared["a"], "fourth", message.Utility)
	refused("over the quota of a day", err, "quota_exceeded", http.StatusTooManyRequests)
	used, err := shared["a"].Quotas(ctx, "")
	if err != nil || len(used) != 2 {
		t.Fatalf("quotas of a: %+v, %v", used, err)
	}
	for i, want := range []client.Quota{{Client: "a", Quota: "per_day", Limit: 2, Used: 2, Refused: 1}, {Client: "a", Quota: "marketing.per_month", Limit: 1, Used: 1, Refused: 1}} {
		if want.Until = used[i].Until; used[i] != want || !want.Until.After(time.Now()) {
			t.Errorf("quota %+v, want %+v", used[i], want)
		}
	}
	_, err = shared["a"].Quotas(ctx, "b")
	refused("quotas of another client", err, "client_not_found", http.StatusUnprocessableEntity)
}

// TestUsageEqualsMetasLedger: what is counted of clients is exactly what Meta took, although a worker is killed amid its requests.
func TestUsageEqualsMetasLedger(t *testing.T) {
	t.Parallel()
	w := setup(t, 200, graphsim.Options{Webhook: graphsim.Webhook{Delay: graphsim.Span{Min: 10 * time.Millisecond, Max: 100 * time.Millisecond}}})
	shared := w.addClients(numbers[0], `"name":"a"`, `"name":"b"`)
	workers := []*worker{w.worker(), w.worker()}
	load(t, shared["a"], numbers[0], "1", "", 150)
	workers[w.amidARequest(workers, func() { load(t, shared["b"], numbers[0], "2", "", 150) })].kill()
	w.worker()
	usage := func(c *client.Client) map[string]int {
		var answer struct{ Usage []message.Usage }
		if err := c.Call(t.Context(), "GET", "/v1/usage", nil, &answer); err != nil {
			t.Fatal(err)
		}
		taken := map[string]int{}
		for _, u := range answer.Usage {
			taken[u.Client] += u.Taken
			if u.Number != numbers[0] || u.Category != string(message.Marketing) {
				t.Errorf("usage of %+v", u)
			}
		}
		return taken
	}
	atMeta := func() map[string]int {
		taken := map[string]int{}
		for _, a := range w.sim.Accepted() {
			taken[map[string]string{"1": "a", "2": "b"}[a.To[4:5]]]++
		}
		return taken
	}
	poll.Until(t, "no message waits, and each is counted as often as Meta took it", func() bool {
		var waiting struct{ Messages []client.Record }
		if err := w.api.Call(t.Context(), "POST", "/v1/messages/search", json.RawMessage(`{"state":"queued,attempting"}`), &waiting); err != nil {
			t.Fatal(err)
		}
		counted, taken := usage(w.api), atMeta()
		return len(waiting.Messages) == 0 && taken["a"]+taken["b"] > 200 && fmt.Sprint(counted) == fmt.Sprint(taken)
	})
	if got, want := usage(shared["a"]), atMeta(); len(got) != 1 || got["a"] != want["a"] {
		t.Errorf("client a sees %v, want its own %d", got, want["a"])
	}
}

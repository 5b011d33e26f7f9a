package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestBudget: of the messages of a client, from two numbers by two workers, only as many leave as its budget of the day allows, and the
// others say why they wait. What is not delivered costs nothing. With a higher budget the others are sent. A campaign and a check say for how many
// messages the budget does not suffice.
func TestBudget(t *testing.T) {
	t.Parallel()
	priced := filepath.Join(t.TempDir(), "prices.yaml")
	if err := os.WriteFile(priced, []byte(`{currency: EUR, prices: [{market: US, prefixes: ["1"], category: utility, from: 2026-01-01, price: "0.10"}, {market: Test, prefixes: ["9999"], category: utility, from: 2026-01-01, price: "0.10"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	w := setup(t, 200, graphsim.Options{}, "prices_file: "+priced, `clients: [{name: shop}]`)
	for _, number := range numbers {
		w.change("/v1/numbers", fmt.Sprintf(`"phone_number_id":%q,"rate_limit":200,"client":"shop"`, number))
	}
	ask := func(number, to string) client.Message {
		return client.Message{From: number, Content: client.Template("+"+to, "order_update", "en")}
	}
	poll.Until(t, "the numbers are those of the client", func() bool {
		for _, number := range numbers {
			if m, err := w.api.Check(t.Context(), ask(number, "15551230001")); err != nil || m.Client != "shop" || m.Cost == nil || *m.Cost != (client.Cost{Amount: "0.10", Currency: "EUR"}) {
				return false
			}
		}
		return true
	})
	budget := func(limit string) {
		t.Helper()
		stored := w.operate("GET", "/v1/clients", "")["clients"].([]any)[0].(map[string]any)
		members := fmt.Sprintf(`"name":"shop","budgets":{"per_day":%q}`, limit)
		if revision, is := stored["revision"]; is {
			members += fmt.Sprintf(`,"revision":%.0f`, revision)
		}
		w.change("/v1/clients", members)
	}
	spent := func() string {
		t.Helper()
		all, err := w.api.Budgets(t.Context(), "shop")
		if err != nil || len(all) == 0 {
			return fmt.Sprint(err)
		}
		return all[0].Spent + " of " + all[0].Limit
	}
	budget("0.55")
	poll.Until(t, "the budget", func() bool { return spent() == "0.00 of 0.55" })
	var ids []string
	for i := range 9 {
		to := fmt.Sprint("1555123000", i)
		if i < 2 {
			to = "99999131026" // Meta reports that it failed
		}
		a, err := w.api.Send(t.Context(), ask(numbers[i%2], to))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.ID)
	}
	workers := []*worker{w.worker(), w.worker()}
	waiting := func() (left []string) {
		for _, id := range ids {
			if r, err := w.api.Get(t.Context(), id); err != nil || r.State == client.StateQueued {
				left = append(left, id)
			}
		}
		return left
	}
	var left []string
	poll.Until(t, "the messages over the budget", func() bool {
		left = nil
		for _, id := range ids {
			if e, err := w.api.Explain(t.Context(), id); err == nil && e.Rule == "budget" && !e.Until.IsZero() {
				left = append(left, id)
			}
		}
		return len(left) == 2 && len(waiting()) == 2 && spent() == "0.50 of 0.55"
	})
	if n := len(w.sim.Accepted()); n != 7 {
		t.Errorf("Meta took %d messages, want 7: two fail, and the budget allows five", n)
	}
	budget("5.00")
	w.settled(ids, over)
	poll.Until(t, "what is spent", func() bool { return spent() == "0.70 of 5.00" })
	for _, k := range workers { // others know the budget when they start
		k.kill()
	}
	w.operate("PUT", "/v1/campaigns/spring/settings", `{"client":"shop","budget":"0.25","actor":"anna","reason":"test"}`)
	var spring []string
	for i := range 3 {
		m := ask(numbers[0], fmt.Sprint("1555123001", i))
		m.Campaign = "spring"
		a, err := w.api.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		spring = append(spring, a.ID)
	}
	w.worker()
	w.worker()
	poll.Until(t, "the budget of the campaign", func() bool {
		c, err := w.api.Campaign(t.Context(), "shop", "spring")
		if err != nil || c.Delivered != 2 || c.Settings == nil || c.Settings.Spent == nil || *c.Settings.Spent != "0.20" {
			return false
		}
		if len(c.OverBudgets) != 1 || c.OverBudgets[0] != (client.OverBudget{Budget: "campaign", Limit: "0.25", Spent: "0.20", Messages: 1}) || !c.PendingDoneBy.IsZero() {
			return false
		}
		return slices.ContainsFunc(spring, func(id string) bool {
			e, err := w.api.Explain(t.Context(), id)
			return err == nil && e.Rule == "budget"
		})
	})
	m := ask(numbers[0], "15551230019")
	m.Campaign = "spring"
	if c, err := w.api.Check(t.Context(), m); err != nil || len(c.OverBudgets) != 1 || c.OverBudgets[0].Budget != "campaign" || !c.SentAbout.IsZero() {
		t.Errorf("a check over the budget: %+v, %v", c, err)
	}
	m.Campaign = "autumn"
	if c, err := w.api.Check(t.Context(), m); err != nil || c.OverBudgets != nil || c.SentAbout.IsZero() {
		t.Errorf("a check within the budgets: %+v, %v", c, err)
	}
}

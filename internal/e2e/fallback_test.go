package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestFallbackAndPacing: when Meta pauses a template, the messages that wait for it are sent with their fallback template, each
// once, and their records say so; those without one wait. A message of a paced template waits at Meta, and goes on or fails when
// Meta has assessed the template.
func TestFallbackAndPacing(t *testing.T) {
	t.Parallel()
	w := setup(t, 5, graphsim.Options{Token: "e2e-access-token", Account: graphsim.Account{
		Templates: []graphsim.Template{{Name: "sale"}, {Name: "sale_2"}, {Name: "news", Paced: true}, {Name: "offer", Paced: true}},
	}}, "template_sync: 1h")
	w.worker()
	named := func(name string) map[string]any {
		return map[string]any{"name": name, "language": map[string]any{"code": "en_US"}}
	}
	send := func(name, to string, fallback any) string {
		t.Helper()
		content, err := json.Marshal(map[string]any{"to": to, "type": "template", "template": named(name)})
		if err != nil {
			t.Fatal(err)
		}
		a, err := w.api.Send(t.Context(), client.Message{From: numbers[0], Content: json.RawMessage(content), FallbackTemplate: fallback})
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	record := func(id string) client.Record {
		t.Helper()
		r, err := w.api.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}

	going, dropped := send("news", "+15552200998", nil), send("offer", "+15552200999", nil)
	for _, id := range []string{going, dropped} {
		poll.Until(t, "Meta holds the message of a paced template", func() bool {
			r := record(id)
			return r.State == client.StateSubmitted && r.Reason == "held_for_quality_assessment"
		})
	}
	w.simulate("PATCH", "templates/news/en_US", `{"paced":false}`)
	w.simulate("PATCH", "templates/offer/en_US", `{"status":"PAUSED"}`)
	poll.Until(t, "the message of the good template is delivered", func() bool { return record(going).State == client.StateDelivered })
	poll.Until(t, "the message of the paused template has failed", func() bool {
		r := record(dropped)
		return r.State == client.StateDead && r.Code == 132015
	})

	const all = 20
	before := w.sim.Stats().Accepted
	var ids []string
	for i := range all {
		ids = append(ids, send("sale", fmt.Sprintf("+1555%07d", 2_200_000+i), named("sale_2")))
	}
	without := send("sale", "+15552200900", nil)
	w.simulate("PATCH", "templates/sale/en_US", `{"status":"PAUSED"}`)
	poll.Until(t, "all messages with a fallback template are sent", func() bool { return w.sim.Stats().Accepted >= before+all })
	replaced := 0
	for _, id := range ids {
		poll.Until(t, "a message is delivered", func() bool { return record(id).State == client.StateDelivered })
		switch r := record(id); {
		case r.Template == "sale_2/en_US" && r.FallbackFor == "sale/en_US":
			replaced++
		case r.Template != "sale/en_US" || r.FallbackFor != "":
			t.Errorf("%+v", r)
		}
	}
	if replaced == 0 || w.sim.Duplicates() != 0 || w.sim.Stats().Accepted != before+all {
		t.Errorf("%d of %d messages have their fallback template, %d duplicates, %d accepted", replaced, all, w.sim.Duplicates(), w.sim.Stats().Accepted-before)
	}
	if r := record(without); r.State != client.StateQueued || r.Template != "sale/en_US" {
		t.Errorf("a message without a fallback template: %+v", r)
	}
	if e, err := w.api.Explain(t.Context(), without); err != nil || e.Rule != "hold" || e.Until.After(time.Now().Add(24*time.Hour)) {
		t.Errorf("%+v, %v", e, err)
	}
}

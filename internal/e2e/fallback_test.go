package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/cloudapi"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestFallbackAfterStatus: Meta takes a free-form message, and reports only later that its customer service window is closed: its fallback template is
// sent, once, and its only final event is that of the template. Without a fallback template the message fails.
func TestFallbackAfterStatus(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{})
	w.worker()
	send := func(fallback any) string {
		t.Helper()
		a, err := w.api.Send(t.Context(), client.Message{From: numbers[0], Content: client.Text("+99999131047", "Hello"), FallbackTemplate: fallback})
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	replaced, failed := send(map[string]any{"name": "order", "language": map[string]any{"code": "en"}}), send(nil)
	all := w.settled([]string{replaced, failed}, over)
	if r := all[replaced]; r.State != client.StateDelivered || r.Type != "template" || r.Template != "order/en" || r.FallbackFor != "text" || r.Attempt != 2 || r.Duplicates != 0 {
		t.Errorf("%+v", r)
	}
	if r := all[failed]; r.State != client.StateFailed || r.Code != 131047 || r.Attempt != 1 {
		t.Errorf("without a fallback template: %+v", r)
	}
	if n := w.sim.Stats().Accepted; n != 3 {
		t.Errorf("Meta took %d messages", n)
	}
	page, err := w.api.ReadEvents(t.Context(), client.EventOptions{From: "oldest", Types: []client.EventType{client.EventMessage, client.EventFinal}, Limit: 1000}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, e := range page.Events {
		switch {
		case e.Message.ID != replaced:
		case e.Final != nil:
			seen = append(seen, string("final "+e.Final.State))
		case e.State.To == client.StateQueued || e.State.To == client.StateFailed:
			seen = append(seen, strings.TrimSpace(string(e.State.To)+" "+e.State.Reason))
		}
	}
	if want := []string{"queued", "queued fallback_template", "final delivered"}; !slices.Equal(seen, want) {
		t.Errorf("events %q, want %q", seen, want)
	}
}

// TestFallbackOfCancelledCampaign: when Meta reports after the cancel of a campaign, or after the removal of a number, that a message failed, its
// fallback template is not sent. The workers may have started since.
func TestFallbackOfCancelledCampaign(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{Webhook: graphsim.Webhook{Delay: graphsim.Span{Min: time.Hour, Max: time.Hour}}})
	first := w.worker()
	var ids []string
	from := map[string]string{"spring": numbers[0], "summer": numbers[0], "autumn": numbers[1]}
	for _, campaign := range []string{"spring", "summer", "autumn"} {
		a, err := w.api.Send(t.Context(), client.Message{
			From: from[campaign], Campaign: campaign, Content: client.Text("+15552200001", "Hello"),
			FallbackTemplate: map[string]any{"name": "order", "language": map[string]any{"code": "en"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.ID)
	}
	w.settled(ids, func(r client.Record) bool { return r.State == client.StateSubmitted })
	w.operate("POST", "/v1/campaigns/spring/cancel", `{"actor":"anna","reason":"wrong price"}`)
	poll.Until(t, "the cancel is done", func() bool {
		holds, _ := w.operate("GET", "/v1/holds", "")["holds"].([]any)
		return len(holds) == 0
	})
	w.operate("POST", "/v1/numbers/"+numbers[1]+"/remove", `{"actor":"anna","reason":"closed"}`)
	first.kill()
	w.worker()
	for _, sent := range w.sim.Accepted() {
		body := fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{
			"messaging_product":"whatsapp","metadata":{"phone_number_id":%q},
			"statuses":[{"id":%q,"status":"failed","timestamp":"%d","recipient_id":"15552200001","biz_opaque_callback_data":%q,"errors":[{"code":131047}]}]}}]}]}`,
			sent.Number, sent.WAMID, time.Now().Unix(), sent.Marker)
		if got := w.post(body, cloudapi.Sign(appSecret, body)); got != http.StatusOK {
			t.Fatalf("the webhook is answered %d", got)
		}
	}
	all := w.settled(ids, func(r client.Record) bool { return r.Final || r.State == client.StateSubmitted && r.Attempt == 2 })
	for _, id := range []string{ids[0], ids[2]} {
		if r := all[id]; r.State != client.StateFailed || r.Code != 131047 {
			t.Errorf("of the cancelled campaign, or of the removed number: %+v", r)
		}
	}
	if r := all[ids[1]]; r.State != client.StateSubmitted || r.FallbackFor != "text" {
		t.Errorf("of the other campaign: %+v", r)
	}
}

// TestFallbackAndPacing: when Meta pauses a template, the messages that wait for it are sent with their fallback template, each
// once, and their records say so; those without one wait. A message of a paced template waits at Meta, and goes on or fails when
// Meta has assessed the template.
func TestFallbackAndPacing(t *testing.T) {
	t.Parallel()
	w := setup(t, 5, graphsim.Options{Token: "e2e-access-token", Account: graphsim.Account{
		Templates: []graphsim.Template{{Name: "sale"}, {Name: "sale_2"}, {Name: "news", Paced: true}, {Name: "offer", Paced: true}},
	}}, "template_sync: 1h")
	worker := w.worker()
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

	going, dropped, other := send("news", "+15552200998", nil), send("offer", "+15552200999", nil), send("offer", "+15552200997", named("sale_2"))
	for _, id := range []string{going, dropped, other} {
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
	poll.Until(t, "the other message of the paused template is delivered with its fallback template", func() bool {
		r := record(other)
		return r.State == client.StateDelivered && r.Template == "sale_2/en_US" && r.FallbackFor == "offer/en_US" && r.Attempt == 2
	})

	const all = 20
	before, twice := w.sim.Stats().Accepted, w.sim.Duplicates() // the message that Meta dropped was taken twice
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
	if replaced == 0 || twice != 1 || w.sim.Duplicates() != twice || w.sim.Stats().Accepted != before+all {
		t.Errorf("%d of %d messages have their fallback template, %d duplicates, %d accepted", replaced, all, w.sim.Duplicates(), w.sim.Stats().Accepted-before)
	}
	if r := record(without); r.State != client.StateQueued || r.Template != "sale/en_US" {
		t.Errorf("a message without a fallback template: %+v", r)
	}
	if e, err := w.api.Explain(t.Context(), without); err != nil || e.Rule != "hold" || e.Until.After(time.Now().Add(24*time.Hour)) {
		t.Errorf("%+v, %v", e, err)
	}

	if err := worker.stop(stopLimit); err != nil {
		t.Error(err)
	}
	sent, err := w.redis.admin.HKeys(t.Context(), "sluice:templates:sent:"+numbers[0]).Result()
	if err != nil || !slices.Contains(sent, "sale_2/en_US") || !slices.Contains(sent, "news/en_US") {
		t.Errorf("the days of the last messages are stored of %q, %v", sent, err)
	}
}

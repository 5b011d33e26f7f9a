package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestTemplateStates: two accounts have a template of one name. When Meta pauses that of one account, its backlog is held and new
// messages are refused; the other account sends on. When Meta approves it, the backlog is sent. A new category changes the class
// of later messages. An archived template, one above a limit and a deleted one are held. All this happens by webhook, and without
// webhooks by the sync.
func TestTemplateStates(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string][]string{"by webhook": nil, "by sync": {"messages"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			templateStates(t, fields)
		})
	}
}

func templateStates(t *testing.T, fields []string) {
	every := "template_sync: 1h"
	if fields != nil {
		every = "template_sync: 1s"
	}
	at := func(account, sale string) graphsim.Options {
		return graphsim.Options{Token: "e2e-access-token", Account: graphsim.Account{
			ID: account, App: graphsim.App{Fields: fields}, Templates: []graphsim.Template{{Name: "sale", Category: "UTILITY", Status: sale}, {Name: "order"}},
		}}
	}
	w := setup(t, 5, at("900", "PENDING"), every)
	second := at(otherAccount, "APPROVED")
	second.Webhook.URL, second.Webhook.Secret = w.hooks, appSecret
	other := graphsim.New(second)
	ctx, stop := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return other.Run(ctx) })
	t.Cleanup(func() { stop(); g.Wait() })
	w.other.Store(other)
	w.worker()

	check := func(number, template string) (checked struct{ Class, Code string }) { // sends nothing
		t.Helper()
		body := fmt.Sprintf(`{"from":%q,"message":{"to":"+15552200000","type":"template","template":{"name":%q,"language":{"code":"en_US"}}}}`, number, template)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.api.String()+"/v1/messages/check", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+apiKey)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&checked); err != nil {
			t.Fatal(err)
		}
		return checked
	}
	refusal := func(number, template string) string { return check(number, template).Code }
	within := func(what string, is func() bool) {
		t.Helper()
		start := time.Now()
		poll.Until(t, what, is)
		t.Logf("%s: after %s", what, time.Since(start).Round(10*time.Millisecond)) // within 5 s, on a machine that is not busy
	}
	stored := w.holds()
	holds := func() string {
		t.Helper()
		all, err := stored.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, h := range all {
			text = append(text, h.On()+": "+h.Reason)
		}
		return strings.Join(text, ", ")
	}
	poll.Until(t, "the templates of both accounts are known", func() bool {
		return refusal(numbers[0], "unknown") == "template_unknown" && refusal(numbers[1], "unknown") == "template_unknown"
	})

	if code := refusal(numbers[0], "sale"); code != "template_not_approved" {
		t.Errorf("a template that Meta has not approved: %q", code)
	}
	w.simulate("PATCH", "templates/sale/en_US", `{"status":"APPROVED"}`)
	within("the template is approved", func() bool { return refusal(numbers[0], "sale") == "" })

	const each = 30
	for i := range each {
		for _, number := range numbers {
			content := fmt.Sprintf(`{"to":"+1555%07d","type":"template","template":{"name":"sale","language":{"code":"en_US"}}}`, 2_200_000+i)
			if _, err := w.api.Send(t.Context(), client.Message{From: number, Key: fmt.Sprint(number, i), Content: json.RawMessage(content)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := "template sale/en_US of number " + numbers[0] + ": Meta announced for the template: "
	w.simulate("PATCH", "templates/sale/en_US", `{"status":"PAUSED"}`)
	within("the template of the first account is held", func() bool { return holds() == held+"PAUSED" })
	within("its new messages are refused", func() bool { return refusal(numbers[0], "sale") == "template_paused" })
	poll.Until(t, "the other account has sent all", func() bool { return other.Stats().Accepted == each })
	if n := w.sim.Stats().Accepted; n >= each {
		t.Errorf("Meta took %d messages of the paused template", n)
	}
	w.simulate("PATCH", "templates/sale/en_US", `{"status":"APPROVED","category":"MARKETING"}`)
	within("the hold is released", func() bool { return holds() == "" })
	within("new messages have the new category", func() bool {
		return check(numbers[0], "sale").Class == string(client.ClassMarketing)
	})
	poll.Until(t, "the first account has sent all", func() bool { return w.sim.Stats().Accepted == each })
	for _, status := range []string{"ARCHIVED", "LIMIT_EXCEEDED", "PENDING_DELETION"} { // a read of the list finds the last one as DELETED
		w.simulate("PATCH", "templates/sale/en_US", `{"status":"`+status+`"}`)
		within(status+": the template is held", func() bool {
			return strings.HasPrefix(status, "PENDING") && strings.HasPrefix(holds(), held) || holds() == held+status
		})
		within(status+": its new messages are refused", func() bool { return refusal(numbers[0], "sale") != "" })
		if status != "PENDING_DELETION" {
			w.simulate("PATCH", "templates/sale/en_US", `{"status":"APPROVED"}`)
			within(status+": the hold is released", func() bool { return holds() == "" })
		}
	}
	if code := refusal(numbers[1], "sale"); code != "" {
		t.Errorf("the template of the other account: %s", code)
	}
}

// TestAccountIsLocked: an account that Meta disables holds exactly its numbers, and its reinstatement releases them.
func TestAccountIsLocked(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{Token: "e2e-access-token", Account: graphsim.Account{ID: "900"}})
	w.other.Store(graphsim.New(graphsim.Options{Token: "e2e-access-token", Account: graphsim.Account{ID: otherAccount}}))
	w.worker()
	poll.Until(t, "the accounts of both numbers are known", func() bool {
		of, err := w.redis.admin.HGetAll(t.Context(), "sluice:accounts").Result()
		return err == nil && of[numbers[0]] == "900" && of[numbers[1]] == otherAccount
	})
	stored := w.holds()
	held := func() (numbers []string) {
		all, err := stored.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range all {
			numbers = append(numbers, h.Number)
		}
		return numbers
	}
	w.simulate("PATCH", "account", `{"refuse":131031}`)
	poll.Until(t, "the number of the account is held", func() bool { h := held(); return len(h) == 1 && h[0] == numbers[0] })
	w.simulate("PATCH", "account", `{"refuse":0}`)
	poll.Until(t, "it is released", func() bool { return len(held()) == 0 })
}

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/cloudapi"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
)

// TestClientIsAddedWhileSending: a client, its number, app and API key are added over the console while all programs run. A message
// through the new key is sent with the new token, and a status that the new app secret signs is applied. Then the key and the app secret
// are replaced: the old ones work too until their time is over.
func TestClientIsAddedWhileSending(t *testing.T) {
	t.Parallel()
	const number, token, secret = "106540352242955", "a-token-that-only-the-store-has", "an-app-secret-that-only-the-store-has"
	w := setup(t, 80, graphsim.Options{Token: token, Webhook: graphsim.Webhook{Delay: graphsim.Span{Min: time.Hour, Max: time.Hour}}}, "secrets_key_file: marker")
	w.worker()
	console := client.New(w.console, apiKey)
	var stored struct{ Key string }
	change := func(path string, members string) {
		t.Helper()
		body := json.RawMessage(`{` + members + `"actor":"anna","reason":"new client"}`)
		if err := console.Call(t.Context(), "POST", path, body, &stored); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	change("/v1/clients", `"name":"acme",`)
	change("/v1/numbers", `"phone_number_id":"`+number+`","client":"acme","access_token":"`+token+`",`)
	change("/v1/apps", `"name":"acme","secret":"`+secret+`","verify_token":"0123456789abcdef",`)
	change("/v1/api-keys", `"name":"acme","phone_number_ids":["*"],"scopes":["messages:send","messages:read"],"client":"acme",`)

	theirs := client.New(w.api.String(), stored.Key, client.WithRetryFor(0))
	order := client.Message{From: number, Content: client.Text("+15552200001", "Hello"), Class: client.Class(message.Utility), Key: "first"}
	var sent client.Record
	poll.Until(t, "the new key may send from the new number", func() bool {
		r, err := theirs.Send(t.Context(), order)
		if p, ok := err.(*client.Problem); err != nil && (!ok || p.Status != http.StatusUnauthorized && p.Status != http.StatusNotFound) {
			t.Fatal(err)
		}
		sent.ID = r.ID
		return err == nil
	})
	if _, err := theirs.Send(t.Context(), client.Message{From: numbers[0], Content: client.Text("+15552200001", "Hello"), Key: "other"}); err == nil {
		t.Error("the key of a client sends from a number of another")
	}
	submitted := func(r client.Record) bool { return r.State == client.StateSubmitted }
	sent = w.settled([]string{sent.ID}, submitted)[sent.ID]

	w.hooks = strings.Replace(w.hooks, "/main", "/acme", 1)
	status := func(secret, status, wamid string) int {
		body := fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{
			"messaging_product":"whatsapp","metadata":{"phone_number_id":%q},
			"statuses":[{"id":%q,"status":%q,"timestamp":"%d","recipient_id":"15552200001"}]}}]}]}`, number, wamid, status, time.Now().Unix())
		return w.post(body, cloudapi.Sign(secret, body))
	}
	if got := status(appSecret, "read", sent.WAMID); got != http.StatusUnauthorized {
		t.Errorf("a status that the secret of another app signs: %d", got)
	}
	poll.Until(t, "the webhook program knows the app", func() bool { return status(secret, "delivered", sent.WAMID) == http.StatusOK })
	w.settled([]string{sent.ID}, func(r client.Record) bool { return r.State == client.StateDelivered })

	old := theirs
	change("/v1/api-keys/acme/rotate", "")
	change("/v1/apps/acme/rotate", `"secret":"the-next-app-secret",`)
	theirs = client.New(w.api.String(), stored.Key, client.WithRetryFor(0))
	poll.Until(t, "the next key works", func() bool {
		_, err := theirs.Get(t.Context(), sent.ID)
		return err == nil
	})
	if _, err := old.Get(t.Context(), sent.ID); err != nil {
		t.Errorf("the previous key: %v", err)
	}
	poll.Until(t, "the next app secret works", func() bool { return status("the-next-app-secret", "read", sent.WAMID) == http.StatusOK })
	if got := status(secret, "read", sent.WAMID); got != http.StatusOK {
		t.Errorf("the previous app secret: %d", got)
	}
	w.settled([]string{sent.ID}, func(r client.Record) bool { return r.State == client.StateRead })

	var log struct {
		Entries []struct{ Action, Target string }
	}
	if err := console.Call(t.Context(), "GET", "/v1/audit", nil, &log); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(log.Entries)
	for _, want := range []string{"client-set acme", "number-set " + number, "app-set acme", "key-set acme"} {
		if !strings.Contains(text, want) {
			t.Errorf("the audit log has no %q: %s", want, text)
		}
	}
	for _, secret := range []string{token, secret, stored.Key, "the-next-app-secret"} {
		if strings.Contains(text, secret) {
			t.Error("the audit log has a secret")
		}
	}
}

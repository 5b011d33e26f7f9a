package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/onboarding"
	"sluice/internal/poll"
)

// TestFromTheCodeToDelivered: one call connects a number after an Embedded Signup while all programs run, and its first message is delivered.
func TestFromTheCodeToDelivered(t *testing.T) {
	t.Parallel()
	const number, account, app = "106540352242966", "102290129340398", "670843887433847"
	w := setup(t, 80, graphsim.Options{Account: graphsim.Account{
		App: graphsim.App{Unsubscribed: true, Code: "the-code"},
		Numbers: []graphsim.Number{
			{ID: numbers[0]}, {ID: numbers[1]}, {ID: number, Status: "PENDING", Platform: "NOT_APPLICABLE", PIN: "123456"},
		},
	}}, "secrets_key_file: marker")
	w.worker()
	console := client.New(w.console, apiKey)
	const signed = `,"actor":"anna","reason":"a new client"}`
	call := func(path, body string, into any) {
		t.Helper()
		if err := console.Call(t.Context(), "POST", path, json.RawMessage(body+signed), into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	var nothing struct{}
	call("/v1/clients", `{"name":"acme"`, &nothing)
	call("/v1/apps", `{"name":"signup","secret":"`+appSecret+`","verify_token":"0123456789abcdef"`, &nothing)
	connect := `{"app":"signup","app_id":"` + app + `","code":"the-code","waba_id":"` + account + `","phone_number_id":"` + number + `","pin":"123456","client":"acme"`
	var got onboarding.Result
	call("/v1/onboarding", connect, &got)
	if !got.Ready {
		t.Fatalf("%+v", got)
	}
	var key struct{ Key string }
	call("/v1/api-keys", `{"name":"acme","phone_number_ids":["*"],"scopes":["messages:send","messages:read"],"client":"acme"`, &key)
	theirs := client.New(w.api.String(), key.Key, client.WithRetryFor(0))
	var sent client.Record
	poll.Until(t, "the number accepts messages", func() (accepted bool) {
		r, err := theirs.Send(t.Context(), client.Message{From: number, Content: client.Text("+15552200001", "Hello"), Key: "first"})
		if p, ok := err.(*client.Problem); err != nil && (!ok || p.Status != http.StatusUnauthorized && p.Status != http.StatusNotFound) {
			t.Fatal(err)
		}
		sent.ID = r.ID
		return err == nil
	})
	w.settled([]string{sent.ID}, func(r client.Record) bool { return r.State == client.StateDelivered || r.State == client.StateRead })

	call("/v1/onboarding", connect, &got)
	for _, s := range got.Steps {
		if s.State == onboarding.Done && !slices.Contains([]string{"templates", "number", "doctor"}, s.Name) {
			t.Errorf("the same request again did %s: %s", s.Name, s.Says)
		}
	}
}

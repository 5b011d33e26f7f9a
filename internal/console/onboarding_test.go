package console_test

import (
	"context"
	"strings"
	"testing"

	"sluice/internal/onboarding"
)

// fakeOnboarding keeps what it is asked for.
type fakeOnboarding struct {
	asked  onboarding.Request
	number string
	change onboarding.Registration
}

func (f *fakeOnboarding) Run(_ context.Context, q onboarding.Request) onboarding.Result {
	f.asked = q
	return onboarding.Result{Ready: true, Steps: []onboarding.Step{{Name: "token", State: onboarding.Done, Says: "x", Fix: "y"}}}
}

func (f *fakeOnboarding) Change(_ context.Context, number string, do onboarding.Registration) onboarding.Step {
	f.number, f.change = number, do
	return onboarding.Step{Name: do.Action, State: onboarding.Failed, Says: "x", Fix: "y"}
}

func TestOnboard(t *testing.T) {
	t.Parallel()
	d := setup(t)
	const body = `{"app":"main","app_id":"67","code":"AQBx","waba_id":"10","phone_number_id":"106","pin":"123456","client":"acme","rate_limit":20,
		"number_callback":{"url":"https://acme.example/hook","verify_token":"the-verify-token"},"actor":"anna","reason":"a new client"}`
	if status, answer := d.ask(t, "wide", "POST", "/v1/onboarding", body); status != 200 || answer["ready"] != true {
		t.Fatalf("%d %v", status, answer)
	}
	got := d.onboarding.asked
	if got.App != "main" || got.AppID != "67" || got.Code != "AQBx" || got.Account != "10" || got.Number != "106" || got.PIN != "123456" || got.Client != "acme" || got.RateLimit != 20 ||
		got.NumberHook != (onboarding.Callback{URL: "https://acme.example/hook", VerifyToken: "the-verify-token"}) || got.AccountHook != (onboarding.Callback{}) ||
		got.Change.Actor != "anna" || got.Change.Key != "key-wide" {
		t.Errorf("%+v", got)
	}
	if last := d.store.noted[len(d.store.noted)-1]; last.Verb != "onboard" || last.On != "number 106 of account 10" || last.Reason != "a new client" {
		t.Errorf("audit log: %+v", last)
	}
	for wrong, path := range map[string]string{
		`"app":"main"|"app":""`: "app", `"app_id":"67",|`: "app_id", `"waba_id":"10"|"waba_id":"x"`: "waba_id", `"pin":"123456"|"pin":"12345"`: "pin",
		`,"verify_token":"the-verify-token"|`: "number_callback",
	} {
		from, to, _ := strings.Cut(wrong, "|")
		status, _, text := d.do(t, "wide", "POST", "/v1/onboarding", strings.NewReader(strings.Replace(body, from, to, 1)), nil)
		if status != 422 && status != 400 || !strings.Contains(text, `"`+path+`"`) {
			t.Errorf("%s: %d %s", wrong, status, text)
		}
		if strings.Contains(text, "AQBx") || strings.Contains(text, "12345") {
			t.Errorf("a refusal quotes a secret: %s", text)
		}
	}
	if status, _ := d.ask(t, "admin", "POST", "/v1/onboarding", body); status != 403 {
		t.Errorf("a key for some numbers: %d", status)
	}
}

func TestChangeRegistration(t *testing.T) {
	t.Parallel()
	d := setup(t)
	path := "/v1/numbers/" + ours + "/registration"
	status, answer := d.ask(t, "admin", "POST", path, `{"action":"request-code",`+signed+`}`)
	if status != 200 || answer["state"] != "failed" || answer["fix"] != "y" {
		t.Errorf("%d %v", status, answer)
	}
	if want := (onboarding.Registration{Action: "request-code", Method: "SMS", Language: "en_US"}); d.onboarding.number != ours || d.onboarding.change != want {
		t.Errorf("%s %+v", d.onboarding.number, d.onboarding.change)
	}
	for _, body := range []string{`"action":"other"`, `"action":"register"`, `"action":"set-pin","pin":"abcdef"`, `"action":"verify-code"`, `"action":"request-code","method":"FAX"`} {
		if status, answer := d.ask(t, "admin", "POST", path, `{`+body+`,`+signed+`}`); status != 422 && status != 400 {
			t.Errorf("%s: %d %v", body, status, answer)
		}
	}
	if last := d.store.noted[len(d.store.noted)-1]; len(d.store.noted) != 1 || last.Verb != "registration" || last.On != "number "+ours+": request-code" {
		t.Errorf("audit log: %+v", d.store.noted)
	}
}

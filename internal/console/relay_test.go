package console_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

// fakeTargets keeps relay targets in memory.
type fakeTargets struct {
	*fakeStore
	all    map[string]message.RelayStatus
	secret string
	orders []string
	noKey  bool
}

func (f *fakeTargets) CanEncrypt() bool { return !f.noKey }

func (f *fakeTargets) Set(_ context.Context, t message.RelayTarget, secret string) (bool, error) {
	f.secret = secret
	_, was := f.all[t.Name]
	t.Encrypted = "ciphertext"
	f.all[t.Name] = message.RelayStatus{
		RelayTarget: t, State: message.RelayFailing, Since: time.Now(), Error: "status_500", NextTry: time.Now(), Lag: time.Second, SetAside: 1, Dead: 2,
	}
	return !was, f.err
}

func (f *fakeTargets) List(context.Context) (all []message.RelayStatus, err error) {
	for _, t := range f.all {
		all = append(all, t)
	}
	return all, f.err
}

func (f *fakeTargets) Dead(context.Context, string, int) ([]message.RelayDeadLetter, error) {
	return []message.RelayDeadLetter{{At: time.Now(), Event: `{"v":2}`, Tries: 12, Error: "status_400"}}, f.err
}

func (f *fakeTargets) order(what, name string) (bool, error) {
	f.orders = append(f.orders, what+" "+name)
	_, there := f.all[name]
	return there, f.err
}

func (f *fakeTargets) Remove(_ context.Context, name string) (bool, error) {
	return f.order("remove", name)
}

func (f *fakeTargets) Hold(_ context.Context, name, by, reason string) (bool, error) {
	return f.order("hold by "+by+" for "+reason, name)
}

func (f *fakeTargets) Release(_ context.Context, name string) (bool, error) {
	return f.order("release", name)
}

func (f *fakeTargets) Replay(_ context.Context, name string, from time.Time) (bool, error) {
	return f.order("replay since "+from.Format(time.RFC3339), name)
}

func (f *fakeTargets) ReplayDead(_ context.Context, name string) (bool, error) {
	return f.order("replay dead letters of", name)
}

func (f *fakeTargets) DropDead(_ context.Context, name string) (bool, error) {
	return f.order("drop dead letters of", name)
}

// TestRelayTargets: orders about targets are checked, carried out and written to the audit log, without the secret.
func TestRelayTargets(t *testing.T) {
	t.Parallel()
	d := setup(t)
	const path = "/v1/relay/targets/crm"
	set := func(members string) (int, map[string]any) {
		return d.ask(t, "wide", "PUT", path, `{`+members+signed+`}`)
	}
	for _, c := range []struct{ members, code string }{
		{`"url":"https://crm.example/hook?token=canary","secret":"canary-secret","format":"sluice","phone_number_ids":["` + ours + `"],"types":["status","final"],"batch":10,"give_up_after":"2h",`, ""},
		{``, "relay_url_invalid"},
		{`"url":"ftp://crm.example",`, "relay_url_invalid"},
		{`"url":"https://user@crm.example",`, "relay_url_invalid"},
		{`"url":"https://crm.example/#a",`, "relay_url_invalid"},
		{`"url":"https:///hook",`, "relay_url_invalid"},
		{`"url":"https://crm.example","format":"xml",`, "relay_format_unknown"},
		{`"url":"https://crm.example","message_ids":"both",`, "relay_format_unknown"},
		{`"url":"https://crm.example","batch":101,`, "relay_limit_invalid"},
		{`"url":"https://crm.example","concurrency":0,`, "relay_limit_invalid"},
		{`"url":"https://crm.example","give_up_after":"soon",`, "duration_invalid"},
		{`"url":"https://crm.example","secret":"short",`, "relay_secret_invalid"},
		{`"url":"https://crm.example","types":["sms"],`, "relay_type_unknown"},
		{`"url":"https://crm.example","waba_ids":["x"],`, "phone_number_id_invalid"},
	} {
		status, answer := set(c.members)
		if c.code == "" && (status != http.StatusOK || answer["added"] != true) || c.code != "" && (status != 422 || answer["code"] != c.code) {
			t.Errorf("%s: %d %v, want %s", c.members, status, answer, c.code)
		}
		if text := fmt.Sprint(answer); strings.Contains(text, "canary") {
			t.Errorf("the answer shows a secret: %s", text)
		}
	}
	if status, answer := d.ask(t, "wide", "PUT", "/v1/relay/targets/Crm", `{"url":"https://crm.example",`+signed+`}`); status != 422 || answer["code"] != "relay_name_invalid" {
		t.Errorf("a name with a capital: %d %v", status, answer)
	}
	status, answer := d.ask(t, "wide", "GET", "/v1/relay/targets", "")
	list, _ := answer["targets"].([]any)
	if text := fmt.Sprint(answer); status != 200 || len(list) != 1 || strings.Contains(text, "canary") || strings.Contains(text, "ciphertext") || !strings.Contains(text, "https://crm.example/hook?...") {
		t.Errorf("list: %d %v", status, answer)
	}
	for _, order := range []struct{ what, body string }{
		{"hold", ""}, {"release", ""}, {"replay", `"since":"2026-11-29T12:00:00Z",`}, {"replay", `"dead_letters":true,`}, {"drop", ""}, {"remove", ""},
	} {
		if status, answer := d.ask(t, "wide", "POST", path+"/"+order.what, `{`+order.body+signed+`}`); status != 200 || answer["done"] != true {
			t.Errorf("%s: %d %v", order.what, status, answer)
		}
	}
	for _, body := range []string{"", `"since":"2026-11-29T12:00:00Z","dead_letters":true,`} {
		if status, answer := d.ask(t, "wide", "POST", path+"/replay", `{`+body+signed+`}`); status != 422 || answer["code"] != "relay_replay_unclear" {
			t.Errorf("an unclear replay %s: %d %v", body, status, answer)
		}
	}
	if status, answer := d.ask(t, "admin", "POST", path+"/hold", `{`+signed+`}`); status != 403 || answer["code"] != "all_numbers_required" {
		t.Errorf("a key for one number: %d %v", status, answer)
	}
	var noted []string
	for _, e := range d.store.noted {
		noted = append(noted, e.Verb+" "+e.On)
	}
	if got := strings.Join(noted, ", "); got != "relay-set relay target crm, hold relay target crm, release relay target crm, replay relay target crm, replay relay target crm, relay-drop relay target crm, relay-remove relay target crm" {
		t.Errorf("audit log: %s", got)
	}
	d.store.err = errors.New("away")
	if status, answer := d.ask(t, "wide", "GET", "/v1/relay/targets", ""); status != 503 {
		t.Errorf("without a store: %d %v", status, answer)
	}
}

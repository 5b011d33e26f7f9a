package graphsim_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// scenario reads options from the text of a scenario file.
func scenario(t *testing.T, text string) (o graphsim.Options, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "scenario.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return o, graphsim.ReadScenario(file, &o)
}

func template(name string) string {
	return `"type":"template","template":{"name":"` + name + `","language":{"code":"en_US"}}`
}

func TestStepsTakeMessagesInTurn(t *testing.T) {
	t.Parallel()
	o, err := scenario(t, `
steps:
  - name: first twice
    on: {to: "0001"}
    times: 2
    answer: {code: 131016}
  - name: then lost
    on: {to: "0001"}
    answer: {ending: lost, taken: true}
  - name: a template, from its second message on
    on: {template: promo, number: "106540352242922"}
    skip: 1
    times: -1
    answer: {code: 132015}
  - name: another number's
    on: {number: "1"}
    answer: {code: 1}
  - name: held
    on: {template: news/en_US, type: template}
    answer: {status: held_for_quality_assessment}
  - name: tomorrow
    at: 24h
    on: {}
    answer: {code: 2}
`)
	if err != nil {
		t.Fatal(err)
	}
	b := setup(t, o)
	for i, c := range []struct{ members, want string }{
		{text("+16505550001", ""), "131016"},
		{text("+16505550002", ""), "200"},
		{text("+16505550001", ""), "131016"},
		{text("+16505550001", ""), "EOF"},
		{text("+16505550001", ""), "200"},
		{`"to":"+16505550002",` + template("promo"), "200"},
		{`"to":"+16505550002",` + template("promo"), "132015"},
		{`"to":"+16505550002",` + template("other"), "200"},
		{`"to":"+16505550002",` + template("promo"), "132015"},
		{`"to":"+16505550002",` + template("news"), "held_for_quality_assessment"},
	} {
		a, err := b.call(t.Context(), "POST", "/v25.0/"+number+"/messages", `{"messaging_product":"whatsapp",`+c.members+`}`)
		got := strconv.Itoa(a.Status)
		switch {
		case err != nil:
			got = "EOF"
		case a.Error.Code != 0:
			got = strconv.Itoa(a.Error.Code)
		case len(a.Messages) > 0 && a.Messages[0].Status != "" && a.Messages[0].Status != "accepted":
			got = a.Messages[0].Status
		}
		if got != c.want {
			t.Errorf("message %d: %s, want %s", i, got, c.want)
		}
	}
	if got := len(b.Accepted()); got != 6 { // what was lost after taking is among them
		t.Errorf("%d taken, want 6", got)
	}
	if got, want := b.Unused(), []string{"another number's", "tomorrow"}; !slices.Equal(got, want) {
		t.Errorf("unused: %q, want %q", got, want)
	}
	if s := b.Stats().Steps; len(s) != 6 || s[0].Name != "first twice" || s[0].Used != 2 || s[2].Used != 2 {
		t.Errorf("%+v", s)
	}
}

func TestStepsChangeTheSetUp(t *testing.T) {
	t.Parallel()
	o, err := scenario(t, `
account:
  token: {value: token}
  numbers: [{id: "106540352242922"}]
  templates:
    - name: promo
      components: [{type: BODY, text: "Hello {{1}}"}]
    - name: receipt
steps:
  - name: pause
    on: {template: promo}
    skip: 2
    templates: {promo/en_US: {status: PAUSED}}
  - name: upgrade begins
    at: 10ms
    numbers: {"106540352242922": {refuse: 131057}}
  - name: upgraded
    at: 20ms
    numbers: {"106540352242922": {refuse: 0, rate: 1000}}
  - name: violation
    at: 30ms
    webhooks:
      - field: account_update
        value: {event: ACCOUNT_VIOLATION, violation_info: {violation_type: SPAM}}
`)
	if err != nil {
		t.Fatal(err)
	}
	r := newNotices(t)
	o.Webhook = graphsim.Webhook{URL: r.URL, Secret: secret, Senders: 1}
	b := setup(t, o)
	b.run()
	waitFor(t, func() bool { return len(b.Unused()) == 1 })
	promo := `"to":"+16505550002","type":"template","template":{"name":"promo","language":{"code":"en_US"},"components":[` + texts("body", "x") + `]}`
	for i, code := range []int{0, 0, 132015, 132015} {
		if a := b.send(promo); a.Error.Code != code {
			t.Errorf("promo %d: %d, want %d", i, a.Error.Code, code)
		}
	}
	b.drained()
	if unused := b.Unused(); len(unused) != 0 {
		t.Errorf("unused: %q", unused)
	}
	want := []string{
		`{"field":"phone_number_quality_update","value":{"current_limit":"TIER_UNLIMITED","display_phone_number":"15552242922","event":"THROUGHPUT_UPGRADE","max_daily_conversations_per_business":"TIER_UNLIMITED"}}`,
		`{"field":"account_update","value":{"event":"ACCOUNT_VIOLATION","violation_info":{"violation_type":"SPAM"}}}`,
		`"event":"PAUSED","message_template_category":"UTILITY"`,
	}
	got := r.received()
	if len(got) != len(want) {
		t.Fatalf("webhooks %q", got)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("webhook %d: %s, want %s", i, got[i], want[i])
		}
	}
	if a := b.do("GET", "/v25.0/"+number+"?fields=throughput", ""); !strings.Contains(a.Raw, `"level":"HIGH"`) {
		t.Errorf("throughput: %s", a.Raw)
	}
}

// TestChangesAreAnnounced: every change of a set-up that Meta announces is announced.
func TestChangesAreAnnounced(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, body, want string }{
		{"account", `{"refuse":131031}`, `"waba_ban_state":"DISABLE"},"event":"DISABLED_UPDATE"`},
		{"account", `{"account_review_status":"REJECTED"}`, `"field":"account_review_update","value":{"decision":"REJECTED"}`},
		{"account", `{"messaging_limit":"TIER_2K"}`, `"field":"business_capability_update","value":{"max_daily_conversations_per_business":"TIER_2K"`},
		{"numbers/" + number, `{"status":"FLAGGED"}`, `"event":"FLAGGED"`},
		{"numbers/" + number, `{"throughput":"HIGH"}`, `"event":"THROUGHPUT_UPGRADE"`},
		{"numbers/" + number, `{"name_status":"DECLINED"}`, `"field":"phone_number_name_update","value":{"decision":"REJECTED"`},
		{"templates/promo/en_US", `{"status":"DISABLED"}`, `"event":"DISABLED"`},
		{"templates/promo/en_US", `{"quality_score":"RED"}`, `"field":"message_template_quality_update"`},
		{"templates/promo/en_US", `{"category":"MARKETING"}`, `"field":"template_category_update"`},
		{"templates/new/en_US", `{}`, `"event":"APPROVED"`},
		{"account", `{"token":{"revoked":true}}`, ""},
		{"account", `{"app":{"unsubscribed":true},"refuse":368}`, ""},
	} {
		r := newNotices(t)
		b := setup(t, graphsim.Options{
			Webhook: graphsim.Webhook{URL: r.URL, Secret: secret},
			Account: graphsim.Account{Numbers: []graphsim.Number{{ID: number}}, Templates: []graphsim.Template{{Name: "promo"}}},
		})
		b.run()
		if a := b.do("PATCH", "/_sim/"+c.path, c.body); a.Status != 200 {
			t.Fatalf("%s: %d %s", c.path, a.Status, a.Raw)
		}
		b.drained()
		got := r.received()
		if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s %s is announced as %q, want %s", c.path, c.body, got, c.want)
		}
	}
}

func TestWrongScenarios(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"steps: [":                                              "scenario.yaml",
		"stepps: []":                                            "the member stepps is unknown",
		"steps: [{on: {}, answer: {code: 7}}]":                  "steps[0]: answer.code: 7 is no error code",
		"steps: [{answer: {code: 2}}]":                          "select them with on",
		"steps: [{on: {}, times: -2}]":                          "must not be negative",
		"steps: [{on: {}, answer: {ending: soon}}]":             `answer.ending "soon" is none of`,
		"steps: [{on: {}, answer: {ending: lost, code: 2}}]":    "not both",
		"steps: [{at: 1s, webhooks: [{field: security}]}]":      "needs a field and a value",
		"steps: [{at: 1s, templates: {a: {}}}]":                 "write name/language",
		"steps: [{at: 1s, account: {tokn: {}}}]":                "the member tokn is unknown",
		"account: {Token: {}}":                                  "the member Token is spelled token",
		"account: {numbers: [{id: \"1\", ID: \"2\"}]}":          "the member ID is spelled id",
		"steps: [{at: 1s, numbers: {\"1\": {statuss: x}}}]":     "numbers.1: the member statuss is unknown",
		"steps: [{at: 1s, numbers: {1: {}}}]":                   "keys must be text",
		"steps: [{at: 1s, faults: {lost: 2}}]":                  "fault rate 2",
		"account: {messaging_limit: TIER_7}":                    "none of Meta's tiers",
		"account: {templates: [{name: a, components: [\"\"]}]}": "templates[0]: components[0]",
	} {
		if _, err := scenario(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"", "steps: []", "account: {}"} {
		if _, err := scenario(t, text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestStepsByControl(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	b.run()
	if a := b.do("PUT", "/_sim/steps", `[{"on":{},"answer":{"code":7}}]`); a.Status != 400 {
		t.Errorf("wrong steps: %d %s", a.Status, a.Raw)
	}
	if a := b.do("PUT", "/_sim/steps", `[{"name":"x","on":{},"answer":{"code":131016,"latency":"1ms..2ms"}},{"outage":false,"at":"1ms"}]`); a.Status != 200 {
		t.Fatalf("steps: %d %s", a.Status, a.Raw)
	}
	if a := b.send(text("+16505551234", "")); a.Error.Code != 131016 {
		t.Errorf("%d %s", a.Status, a.Raw)
	}
	waitFor(t, func() bool { return len(b.Unused()) == 0 })
	var s graphsim.Stats
	if err := json.Unmarshal([]byte(b.do("GET", "/_sim/stats", "").Raw), &s); err != nil || len(s.Steps) != 2 || s.Steps[0].Used != 1 {
		t.Errorf("%+v, %v", s.Steps, err)
	}
}

// The limits of recipients, as messages meet them.
func TestLimitsAboutPeople(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	b := setup(t, graphsim.Options{
		Window: true, PairLimit: true,
		Webhook: graphsim.Webhook{URL: r.URL, Secret: secret, Senders: 1},
		Account: graphsim.Account{Tier: "TIER_250"},
	})
	b.run()
	last := func() update {
		b.drained()
		all := r.received()
		return all[len(all)-1]
	}
	b.send(text("+16505551234", ""))
	if u := last(); u.Status != "failed" || u.Errors[0].Code != 131047 {
		t.Errorf("a recipient that has not written: %+v", u)
	}
	b.do("POST", "/_sim/inbound", `{"from":"16505551234","to":"`+number+`","text":"hi"}`)
	b.send(text("+16505551234", ""))
	if u := last(); u.Status != "delivered" {
		t.Errorf("a recipient that has written: %+v", u)
	}
	for range 43 {
		b.send(text("+16505551234", ""))
	}
	if a := b.send(text("+16505551234", "")); a.Status != 400 || a.Error.Code != 131056 {
		t.Errorf("46th message at once: %d %s", a.Status, a.Raw)
	}
	for i := range 250 {
		b.send(`"to":"+1650444` + strconv.Itoa(1000+i) + `",` + template("a"))
	}
	if u := last(); u.Status != "delivered" {
		t.Errorf("250th person: %+v", u)
	}
	b.send(`"to":"+16504449999",` + template("a"))
	if u := last(); u.Status != "failed" || u.Errors[0].Code != 131048 {
		t.Errorf("251st person: %+v", u)
	}
}

func TestLinkThatMetaCannotFetchFails(t *testing.T) {
	t.Parallel()
	b, r := hooked(t, graphsim.Webhook{Senders: 1})
	b.run()
	b.send(`"to":"+16505551234","type":"image","image":{"link":"https://10.0.0.1/a.png"}`)
	b.drained()
	if got := r.received(); len(got) != 1 || got[0].Status != "failed" || got[0].Errors[0].Code != 131053 {
		t.Errorf("reported %+v", got)
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	poll.Until(t, "it happens", done)
}

package intake_test

import (
	"strings"
	"testing"

	"sluice/internal/intake"
	"sluice/internal/message"
)

// TestFallbackTemplate: if Meta does not send the template of a message now, the message is accepted with its fallback template,
// and the answer says so. Otherwise the fallback template is stored beside it. Mistakes in it are refused with their place.
func TestFallbackTemplate(t *testing.T) {
	t.Parallel()
	all := &fakeTemplates{problems: map[string]string{"gone": "template_unknown", "paused": "template_paused", "resting": "template_not_approved", "count": "template_parameter_count"}}
	store := &fakeStore{messages: map[string]message.Message{}, records: map[string]message.Record{}}
	ask := direct(intake.Options{Acceptor: store, Reader: store, Templates: all})
	request := func(name, fallback, key string) string {
		return `{"from":"` + ours + `","key":"` + key + `","message":{"to":"+15551234567","type":"template","template":{"name":"` + name + `","language":{"code":"en"}}},"fallback_template":` + fallback + `}`
	}
	named := func(name string) string { return `{"name":"` + name + `","language":{"code":"en"}}` }
	for _, c := range []struct {
		name, body     string
		status         int
		want           string
		template       string // of the message, when it is accepted
		fallback, inst string
	}{
		{"the template is good", request("good", named("other"), "1"), 202, `"state":"queued"`, "good/en", "other/en", ""},
		{"it is paused", request("paused", named("other"), "2"), 202, `"code":"fallback_used"`, "other/en", "", "paused/en"},
		{"it is not approved", request("resting", named("other"), "3"), 202, `"code":"fallback_used"`, "other/en", "", "resting/en"},
		{"the fallback is paused, and not needed", request("good", named("paused"), "4"), 202, `"state":"queued"`, "good/en", "paused/en", ""},
		{"both are paused", request("paused", named("resting"), "5"), 422, `"path":"fallback_template.name","code":"template_not_approved"`, "", "", ""},
		{"the template is unknown", request("gone", named("other"), "6"), 422, `"path":"message.template.name","code":"template_unknown"`, "", "", ""},
		{"a wrong template", request("count", named("other"), "7"), 422, `"code":"template_parameter_count"`, "", "", ""},
		{"a wrong fallback", request("good", named("count"), "8"), 422, `"path":"fallback_template.name","code":"template_parameter_count"`, "", "", ""},
		{"without a language", request("good", `{"name":"other"}`, "9"), 422, `"path":"fallback_template.language`, "", "", ""},
		{"the same template", request("good", named("good"), "10"), 422, `"path":"fallback_template","code":"fallback_not_allowed"`, "", "", ""},
		{"not an object", request("good", `"other"`, "11"), 422, `"path":"fallback_template","code":"type_mismatch"`, "", "", ""},
		{"of Direct Send", strings.Replace(envelope(`,"fallback_template":`+named("other")), `"type"`, `"category":"utility","type"`, 1), 422, `"path":"fallback_template","code":"fallback_not_allowed"`, "", "", ""},
		{"of a group", strings.Replace(envelope(`,"fallback_template":`+named("other")), `"type"`, `"recipient_type":"group","type"`, 1), 422, `"path":"fallback_template","code":"fallback_not_allowed"`, "", "", ""},
	} {
		clear(store.messages)
		clear(store.records)
		w := ask("POST", "/v1/messages", c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s; want %d with %s", c.name, w.Code, w.Body, c.status, c.want)
		}
		for _, m := range store.messages {
			got := m.Context()
			if got.Template != c.template || got.Fallback != c.fallback || got.Instead != c.inst || !strings.Contains(string(m.Payload), `"template":{"name":"`+strings.TrimSuffix(c.template, "/en")+`"`) {
				t.Errorf("%s: %+v %s", c.name, got, m.Payload)
			}
			if (string(m.Fallback.Payload) == "") != (c.fallback == "") {
				t.Errorf("%s: the payload of the fallback is %s", c.name, m.Fallback.Payload)
			}
		}
		if (c.template == "") != (len(store.messages) == 0) {
			t.Errorf("%s: %d messages are stored", c.name, len(store.messages))
		}
	}

	// The same request is the same message, whichever template it has got.
	if w := ask("POST", "/v1/messages", request("good", named("other"), "again")); w.Code != 202 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	all.problems["good"] = "template_paused"
	if w := ask("POST", "/v1/messages", request("good", named("other"), "again")); w.Code != 200 || !strings.Contains(w.Body.String(), `"duplicate":true`) {
		t.Errorf("a repeated request: %d %s", w.Code, w.Body)
	}
	if w := ask("POST", "/v1/messages", request("good", named("third"), "again")); !strings.Contains(w.Body.String(), "idempotency_key_reused") {
		t.Errorf("with another fallback: %d %s", w.Code, w.Body)
	}
}

package intake_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/message"
)

// No part of a request is ignored silently.
func TestNothingIsIgnored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := func(name string, values ...string) func(*http.Request) { return withHeader(name, values...) }
	lines := func(more func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) { at("Content-Type", "application/x-ndjson")(r); more(r) }
	}
	nothing := func(*http.Request) {}
	for name, tt := range map[string]struct {
		method, path, body string
		change             func(*http.Request)
		code               string
	}{
		"a query of an order":      {"POST", "/v1/messages?dry_run=true", envelope(""), nothing, "query_unknown"},
		"a blank wait":             {"POST", "/v1/messages?wait=", envelope(""), nothing, "query_invalid"},
		"two waits":                {"POST", "/v1/messages?wait=submitted&wait=read", envelope(""), nothing, "query_invalid"},
		"a query of a batch":       {"POST", "/v1/messages/batch?limit=1", envelope(""), lines(nothing), "query_unknown"},
		"a limit of a search":      {"GET", "/v1/messages?phone_number_id=" + ours + "&ref=1&limit=5", "", nothing, "filter_unclear"},
		"a cursor of a search":     {"GET", "/v1/messages?phone_number_id=" + ours + "&ref=1&after=x", "", nothing, "query_unknown"},
		"a query of a record":      {"GET", "/v1/messages/" + ours + "-a?fields=state", "", nothing, "query_unknown"},
		"a blank key of a batch":   {"POST", "/v1/messages/batch", envelope(""), lines(at("Idempotency-Key", "")), "idempotency_key_not_allowed"},
		"a blank key":              {"POST", "/v1/messages", envelope(""), at("Idempotency-Key", ""), "idempotency_key_invalid"},
		"a key of blanks":          {"POST", "/v1/messages", envelope(`,"key":"   "`), nothing, "idempotency_key_invalid"},
		"another charset":          {"POST", "/v1/messages", envelope(""), at("Content-Type", "application/json; charset=utf-16"), "charset_not_supported"},
		"another charset of lines": {"POST", "/v1/messages/batch", envelope(""), at("Content-Type", "application/x-ndjson; charset=latin1"), "charset_not_supported"},
		"two types of the body":    {"POST", "/v1/messages", envelope(""), at("Content-Type", "application/json", "text/plain"), "unsupported_media_type"},
	} {
		r := b.do(t, tt.method, tt.path, tt.body, tt.change)
		if p := r.problem(t); r.status < 400 || p.Code != tt.code {
			t.Errorf("%s: %d %s, want %s", name, r.status, r.body, tt.code)
		}
	}
	for name, header := range map[string][]string{
		"class": {"Sluice-Class", ""}, "ref": {"Sluice-Ref", ""}, "tags": {"Sluice-Tags", ""}, "time": {"Sluice-Send-At", ""}, "deadline": {"Sluice-Expires-At", ""},
		"two classes": {"Sluice-Class", "utility", "marketing"},
	} {
		r := b.do(t, "POST", metas, `{"messaging_product":"whatsapp",`+hello[1:], at(header[0], header[1:]...))
		if r.status != 400 || !strings.Contains(r.body, header[0]) {
			t.Errorf("a blank header for the %s: %d %s", name, r.status, r.body)
		}
	}
	if len(b.store.messages) > 0 {
		t.Error("a message was accepted")
	}
	for _, charset := range []string{"application/json; charset=utf-8", "application/json;charset=UTF-8", `application/json; charset="utf8"`} {
		if r := b.do(t, "POST", "/v1/messages", envelope(""), at("Content-Type", charset)); r.status != 202 {
			t.Errorf("%s: %d %s", charset, r.status, r.body)
		}
	}
}

// A message of an unknown type is accepted with a warning, or refused if the number is configured so. A name that
// cannot be a type of Meta is always refused.
func TestUnknownTypes(t *testing.T) {
	t.Parallel()
	const (
		poll = `{"to":"+15551234567","type":"poll","poll":{"question":"?"}}`
		kind = `{"to":"+15551234567","type":"interactive","interactive":{"type":"poll","body":{"text":"?"},"action":{}}}`
	)
	wrap := func(object string) string { return `{"from":"` + ours + `","message":` + object + `}` }
	b := setup(t)
	var a struct {
		ID       string
		Warnings []message.Problem
	}
	for object, path := range map[string]string{poll: "message.type", kind: "message.interactive.type"} {
		r := b.post(t, wrap(object))
		if err := json.Unmarshal([]byte(r.body), &a); err != nil || r.status != 202 || len(a.Warnings) != 1 || a.Warnings[0].Code != "type_unknown" || a.Warnings[0].Path != path {
			t.Errorf("%s: %d %s", object, r.status, r.body)
		}
		r = b.do(t, "POST", "/v1/messages/batch", wrap(object), withHeader("Content-Type", "application/x-ndjson"))
		if err := json.Unmarshal([]byte(r.body), &a); err != nil || len(a.Warnings) != 1 || !strings.Contains(r.body, `"status":202`) {
			t.Errorf("in a batch: %s", r.body)
		}
		r = b.do(t, "POST", metas, `{"messaging_product":"whatsapp",`+object[1:], nil)
		if r.status != 200 || r.header.Get("Sluice-Warning") != "type_unknown" {
			t.Errorf("on Meta's path: %d %s %s", r.status, r.header, r.body)
		}
	}
	if r := b.post(t, envelope("")); strings.Contains(r.body, "warnings") {
		t.Errorf("a warning of a text: %s", r.body)
	}
	if m := b.store.messages[a.ID]; !strings.Contains(string(m.Payload), "poll") {
		t.Errorf("kept %s", m.Payload)
	}
	// Other mistakes in such a message are refused.
	for object, code := range map[string]string{
		strings.Replace(poll, `"+1555`, `"1555`, 1):                "recipient_needs_plus",
		strings.Replace(poll, `"type":"poll"`, `"type":"Text"`, 1): "content_missing",
		strings.Replace(poll, `"type":"poll"`, `"type":"a b"`, 1):  "kind_invalid",
		strings.Replace(poll, `"type":"poll"`, `"type":""`, 1):     "type_missing",
	} {
		if r := b.post(t, wrap(object)); r.status != 422 || r.problem(t).Code != code {
			t.Errorf("%s: %d %s, want %s", object, r.status, r.body, code)
		}
	}
	b.refuse = true
	for object, code := range map[string]string{poll: "type_unknown", kind: "interactive_type_unknown"} {
		if r := b.post(t, wrap(object)); r.status != 422 || r.problem(t).Code != code {
			t.Errorf("refused: %d %s, want %s", r.status, r.body, code)
		}
	}
}

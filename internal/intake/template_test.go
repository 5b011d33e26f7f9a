package intake_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"sluice/internal/intake"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// fakeTemplates know the problem of each template's messages.
type fakeTemplates struct {
	mu       sync.Mutex
	problems map[string]string // by name, the code
	wanted   []string          // the numbers whose templates were asked for
}

func (f *fakeTemplates) Check(_ string, _ jsondoc.Value, c message.Content) ([]message.Problem, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if code := f.problems[c.Template]; code != "" {
		return []message.Problem{{Path: "template.name", Code: code, Detail: "It is wrong.", Fix: "Correct it."}}, false
	}
	return nil, c.Template == "stale"
}

func (f *fakeTemplates) Want(_ context.Context, number string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = append(f.wanted, number)
	return nil
}

// taken returns the numbers whose templates were asked for since the last call.
func (f *fakeTemplates) taken() (numbers []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	numbers, f.wanted = f.wanted, nil
	return numbers
}

// TestTemplates: every way in refuses a message that does not fit its template, with the member, and on Meta's own path with
// Meta's code. A repeated request is answered with its message all the same. A template that cannot be checked passes with a
// warning.
func TestTemplates(t *testing.T) {
	t.Parallel()
	all := &fakeTemplates{problems: map[string]string{"gone": "template_unknown", "paused": "template_paused", "count": "template_parameter_count"}}
	store := &fakeStore{messages: map[string]message.Message{}, records: map[string]message.Record{}}
	ask := direct(intake.Options{Acceptor: store, Reader: store, Templates: all})
	object := func(name string) string {
		return `"to":"+15551234567","type":"template","template":{"name":"` + name + `","language":{"code":"en"}}`
	}
	own := func(name, more string) string {
		return `{"from":"` + ours + `","message":{` + object(name) + `}` + more + `}`
	}
	for _, tt := range []struct {
		name, path, body string
		status           int
		want             []string
	}{
		{"our path", "/v1/messages", own("gone", ""), 422, []string{`"code":"template_unknown"`, `"path":"message.template.name"`}},
		{"a check", "/v1/messages/check", own("paused", ""), 422, []string{`"code":"template_paused"`}},
		{"a batch", "/v1/messages/batch", own("good", "") + "\n" + own("count", "") + "\n", 200, []string{`"line":1,"status":202`, `"line":2,"status":422`, `"code":"template_parameter_count"`}},
		{"Meta's path, unknown", metas, metaProduct + object("gone") + "}", 404, []string{`"code":132001`, `template.name: It is wrong. Correct it.`}},
		{"Meta's path, paused", metas, metaProduct + object("paused") + "}", 400, []string{`"code":132015`}},
		{"Meta's path, parameters", metas, metaProduct + object("count") + "}", 400, []string{`"code":132000`}},
		{"not checked", "/v1/messages", own("stale", ""), 202, []string{`"warnings":[{"path":"message.template","code":"template_unchecked"`}},
	} {
		w := ask("POST", tt.path, tt.body)
		for _, want := range tt.want {
			if w.Code != tt.status || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: %d %s; want %d with %s", tt.name, w.Code, w.Body, tt.status, want)
			}
		}
	}
	if w := ask("POST", metas, metaProduct+object("stale")+"}"); w.Code != 200 || w.Header().Get("Sluice-Warning") != "template_unchecked" {
		t.Errorf("%d %s, %v", w.Code, w.Body, w.Header())
	}
	if w := ask("POST", "/v1/messages", own("good", `,"key":"k"`)); w.Code != 202 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	all.problems["good"] = "template_paused"
	if w := ask("POST", "/v1/messages", own("good", `,"key":"k"`)); w.Code != 200 || !strings.Contains(w.Body.String(), `"duplicate":true`) {
		t.Errorf("a repeated request: %d %s", w.Code, w.Body)
	}
	if w := ask("POST", "/v1/messages", own("good", `,"key":"other"`)); w.Code != 422 {
		t.Errorf("another key: %d %s", w.Code, w.Body)
	}
}

// TestTemplateCalls: calls on Meta's path that create, edit or delete templates go to Meta, and let the workers read the templates of
// the account. Other calls do not.
func TestTemplateCalls(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.accounts[ours], b.accounts[theirs] = "900", "900"
	b.meta.objects = map[string]string{"88": "900"}
	for call, reads := range map[string]bool{
		"POST /v25.0/900/message_templates {}":          true,
		"POST /900/message_templates {}":                true,
		"POST /v25.0/900/upsert_message_templates {}":   true,
		"POST /v25.0/88 {}":                             true,
		"POST /88 {}":                                   true,
		"DELETE /v25.0/900/message_templates?name=sale": true,
		"GET /v25.0/900/message_templates":              false,
		"POST /v25.0/900/flows {}":                      false,
		"POST /v25.0/88/publish {}":                     false,
	} {
		parts := append(strings.SplitN(call, " ", 3), "")
		r := b.do(t, parts[0], parts[1], parts[2], withHeader("Authorization", "Bearer "+b.wide))
		if got, wanted := b.meta.taken(), b.known.taken(); r.status != 200 || !strings.Contains(got, parts[0]+" ") || (len(wanted) == 1) != reads {
			t.Errorf("%s: %d %s; Meta got %q, a read was asked for: %q", call, r.status, r.body, got, wanted)
		}
	}
}

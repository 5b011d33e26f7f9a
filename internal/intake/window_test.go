package intake_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

// TestOutsideWindow: a free-form message outside the customer service window is refused with its field and what to do, also in a batch, in a
// check and on Meta's path. With a fallback template, that is sent in its place, and all that was not about the content stays. Templates pass, and so do
// later messages and repeated requests.
func TestOutsideWindow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.known.problems = map[string]string{"paused": "template_paused", "count": "template_parameter_count"}
	first := b.post(t, envelope(`,"key":"before"`)).accepted(t)
	b.outside = map[string]bool{"+15551234567": true, "US.1": true}
	to := func(object string) string { return `{"from":"` + ours + `","message":` + object + `}` }
	fallback := func(name string) string {
		return envelope(`,"fallback_template":{"name":"` + name + `","language":{"code":"en"}}`)
	}
	const refused, used = `"code":"service_window_closed"`, `"code":"fallback_used"`
	for name, c := range map[string]struct {
		body   string
		status int
		want   string
	}{
		"text":                     {envelope(""), 422, `"path":"message.to",` + refused},
		"reaction to a user id":    {to(`{"recipient":"US.1","type":"reaction","reaction":{"message_id":"wamid.A","emoji":"👍"}}`), 422, `"path":"message.recipient",` + refused},
		"to another person":        {to(`{"to":"+15551230000","type":"text","text":{"body":"hi"}}`), 202, `"queued"`},
		"template":                 {to(`{"to":"+15551234567","type":"template","template":{"name":"sale","language":{"code":"en"}}}`), 202, `"queued"`},
		"Direct Send, utility":     {to(`{"to":"+15551234567","type":"text","text":{"body":"hi"},"category":"utility"}`), 202, `"queued"`},
		"scheduled":                {envelope(`,"send_at":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"`), 202, `"queued"`},
		"repeated":                 {envelope(`,"key":"before"`), 200, `"duplicate":true`},
		"another one with the key": {envelope(`,"key":"after"`), 422, refused},
		"with a fallback template": {fallback("other"), 202, used},
		"the fallback is paused":   {fallback("paused"), 422, `"path":"fallback_template.name","code":"template_paused"`},
		"the fallback is wrong":    {fallback("count"), 422, `"path":"fallback_template.name","code":"template_parameter_count"`},
	} {
		for _, path := range []string{"/v1/messages", "/v1/messages/check"} {
			want, says := c.status, c.want
			if path == "/v1/messages/check" && want < 300 {
				if want = 200; says == `"queued"` {
					says = `"payload"`
				}
			}
			if r := b.do(t, http.MethodPost, path, c.body, nil); r.status != want || !strings.Contains(r.body, says) || strings.Contains(r.body, refused) && !strings.Contains(r.body, "fallback_template: Sluice then sends it") {
				t.Errorf("%s %s: %d %s", path, name, r.status, r.body)
			}
		}
	}

	const object = `{"to":"+15551234567","biz_opaque_callback_data":"mine","messaging_account_id":"333","context":{"message_id":"wamid.A"},"type":"image","image":{"link":"https://example.com/a.png"}}`
	with := strings.TrimSuffix(to(object), "}") + `,"fallback_template":{"name":"other","language":{"code":"en"}}}`
	m := b.store.messages[b.post(t, with).accepted(t).ID]
	if got := m.Context(); got.Type != "template" || got.Template != "other/en" || got.Instead != "image" || got.Fallback != "" || got.Callback != "mine" || got.Account != "333" || got.Class != message.Service {
		t.Errorf("%+v", got)
	}
	const payload = `{"messaging_product":"whatsapp","to":"+15551234567","type":"template","messaging_account_id":"333","template":{"name":"other","language":{"code":"en"}}}`
	if string(m.Payload) != payload {
		t.Errorf("it has the content %s, want %s", m.Payload, payload)
	}

	if r := b.do(t, http.MethodPost, "/v25.0/"+ours+"/messages", strings.Replace(hello, "{", `{"messaging_product":"whatsapp",`, 1), nil); r.status != 400 || !strings.Contains(r.body, `"code":131047`) {
		t.Errorf("Meta's path: %d %s", r.status, r.body)
	}
	b.closed = nil
	batch := b.batch(t)
	batch.line(envelope(""))
	batch.line(to(`{"to":"+15551230001","type":"text","text":{"body":"hi"}}`))
	batch.line(fallback("other"))
	batch.line(envelope(`,"key":"before"`))
	batch.Close()
	for i, want := range []int{422, 202, 202, 200} {
		a, _ := batch.next()
		if a.Status != want || want == 200 && a.ID != first.ID || want == 422 && a.Problem.Code != "service_window_closed" || (i == 2) != (len(a.Warnings) == 1) {
			t.Errorf("line %d: %+v", i+1, a)
		}
	}
	counted := map[bool]int{}
	for _, replaced := range b.closed {
		counted[replaced]++
	}
	if counted[true] != 1 || counted[false] != 1 {
		t.Errorf("counted %v", counted)
	}

	// While the window is open, the fallback template is stored beside the message.
	b.outside = nil
	m = b.store.messages[b.post(t, with).accepted(t).ID]
	if got := m.Context(); got.Type != "image" || got.Template != "" || got.Fallback != "other/en" || got.Instead != "" || string(m.Fallback.Payload) != payload {
		t.Errorf("%+v, %s", got, m.Fallback.Payload)
	}
}

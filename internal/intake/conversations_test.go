package intake_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestConversationsOfOtherApps: a service message in the conversation of another app is refused with its field and what to do, also in
// a batch, in a check and on Meta's path. Templates pass, and so do later messages and repeated requests.
func TestConversationsOfOtherApps(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.post(t, envelope(`,"key":"before"`)).accepted(t)
	b.elsewhere = map[string]time.Time{"+15551234567": time.Now().Add(time.Hour), "US.1": time.Now().Add(time.Hour)}
	to := func(object string) string { return `{"from":"` + ours + `","message":` + object + `}` }
	for name, c := range map[string]struct{ body, path string }{
		"service message":          {envelope(""), "message.to"},
		"to a user id":             {to(`{"recipient":"US.1","type":"text","text":{"body":"hi"}}`), "message.recipient"},
		"Direct Send, service":     {to(`{"to":"+15551234567","type":"text","text":{"body":"hi"},"category":"service"}`), "message.to"},
		"to another person":        {to(`{"to":"+15551230000","type":"text","text":{"body":"hi"}}`), ""},
		"template":                 {to(`{"to":"+15551234567","type":"template","template":{"name":"sale","language":{"code":"en"}}}`), ""},
		"Direct Send, utility":     {to(`{"to":"+15551234567","type":"text","text":{"body":"hi"},"category":"utility"}`), ""},
		"scheduled":                {envelope(`,"send_at":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"`), ""},
		"repeated":                 {envelope(`,"key":"before"`), ""},
		"another one with the key": {envelope(`,"key":"after"`), "message.to"},
	} {
		for _, path := range []string{"/v1/messages", "/v1/messages/check"} {
			r := b.do(t, http.MethodPost, path, c.body, nil)
			if c.path == "" {
				if r.status >= 300 {
					t.Errorf("%s: %d %s", name, r.status, r.body)
				}
				continue
			}
			p := r.problem(t)
			if r.status != http.StatusConflict || p.Code != "conversation_of_other_app" || p.Errors[0].Path != c.path || !strings.Contains(p.Errors[0].Fix, "other_app_conversations: wait") ||
				!strings.HasPrefix(r.header.Get("Retry-After"), "3") {
				t.Errorf("%s: %d %s, Retry-After %q", name, r.status, r.body, r.header.Get("Retry-After"))
			}
		}
	}
	if r := b.do(t, http.MethodPost, "/v25.0/"+ours+"/messages", strings.Replace(hello, "{", `{"messaging_product":"whatsapp",`, 1), nil); r.status != 400 || !strings.Contains(r.body, "Another app owns") {
		t.Errorf("Meta's path: %d %s", r.status, r.body)
	}
	batch := b.batch(t)
	batch.line(envelope(""))
	batch.line(to(`{"to":"+15551230001","type":"text","text":{"body":"hi"}}`))
	batch.line(envelope(`,"key":"before"`))
	batch.Close()
	for i, want := range []int{409, 202, 200} {
		if a, _ := batch.next(); a.Status != want || want == 200 && a.ID != first.ID || want == 409 && a.Problem.Code != "conversation_of_other_app" {
			t.Errorf("line %d: %+v", i+1, a)
		}
	}
}

// TestMessagingAccount: the account of a message is that of its object, else that of the API key, else that of the number.
func TestMessagingAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	own := strings.Replace(envelope(""), `"to"`, `"messaging_account_id":"333","to"`, 1)
	for _, c := range []struct{ number, key, body, want string }{
		{"", b.narrow, envelope(""), ""}, {"111", b.narrow, envelope(""), "111"}, {"111", b.billed, envelope(""), "222"}, {"111", b.billed, own, "333"},
	} {
		b.account = c.number
		id := b.do(t, http.MethodPost, "/v1/messages", c.body, withHeader("Authorization", "Bearer "+c.key)).accepted(t).ID
		m := b.store.messages[id]
		if got := m.Context().Account; got != c.want || strings.Contains(string(m.Payload), "messaging_account_id") != (c.body == own) {
			t.Errorf("number %q: account %q, want %q; %s", c.number, got, c.want, m.Payload)
		}
	}
}

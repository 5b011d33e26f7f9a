package intake_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

func TestGet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600))
	id := message.NewID(ours, "k")
	b.store.records[id] = message.Record{
		Context: message.Context{
			ID: id, From: ours, Class: message.Utility, Type: "template", To: "+15***67",
			Ref: "7", Tags: []string{"vip"}, Callback: "theirs",
		},
		State: message.Failed, Reason: "code 131026", Code: 131026, Attempt: 2, WAMID: "wamid.x",
		AcceptedAt: at, SendAt: at, ExpiresAt: at, NextAt: at, Duplicates: 1,
		Timeline: []message.Step{{At: at, State: message.Queued}, {At: at, State: message.Failed, Attempt: 2, Code: 131026, Reason: "code 131026"}},
	}
	bare := message.NewID(ours, "bare")
	b.store.records[bare] = message.Record{Context: message.Context{ID: bare, From: ours, Class: message.Service, Type: "text", To: "***"}, State: message.Queued}
	for id, want := range map[string]string{
		id: `{"id":"` + id + `","phone_number_id":"` + ours + `","class":"utility","type":"template","to":"+15***67","ref":"7","tags":["vip"],` +
			`"callback_data":"theirs","state":"failed","final":true,"reason":"code 131026","code":131026,` +
			`"error":{"code":131026,"title":"Undeliverable","advice":"Ask for another number."},"attempt":2,"wamid":"wamid.x",` +
			`"accepted_at":"2026-01-02T02:04:05.006Z","send_at":"2026-01-02T02:04:05.006Z","expires_at":"2026-01-02T02:04:05.006Z","next_at":"2026-01-02T02:04:05.006Z",` +
			`"duplicates":1,"timeline":[{"at":"2026-01-02T02:04:05.006Z","state":"queued"},` +
			`{"at":"2026-01-02T02:04:05.006Z","state":"failed","attempt":2,"code":131026,"title":"Undeliverable","reason":"code 131026"}]}`,
		bare: `{"id":"` + bare + `","phone_number_id":"` + ours + `","class":"service","type":"text","to":"***","state":"queued","final":false,"attempt":0,"duplicates":0,"timeline":[]}`,
	} {
		r := b.do(t, "GET", "/v1/messages/"+id, "", withHeader("Authorization", "Bearer "+b.readOnly))
		if r.status != http.StatusOK || strings.TrimSpace(r.body) != want {
			t.Errorf("got  %d %s\nwant 200 %s", r.status, r.body, want)
		}
	}
}

func TestNotThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store.records[message.NewID(theirs, "k")] = message.Record{State: message.Queued}
	cases := []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/v1/messages/" + message.NewID(ours, "none"), 404, "not_found", ""},
		{"GET", "/v1/messages/" + message.NewID(theirs, "k"), 404, "not_found", ""},
		{"GET", "/v1/messages/../../x", 404, "not_found", ""},
		{"GET", "/v1/messages/..%2F..%2Fx", 404, "not_found", ""},
		{"GET", "/v1/messages/%00", 404, "not_found", ""},
		{"GET", "/v1/messages/" + strings.Repeat("a", 300), 404, "not_found", ""},
		{"GET", "/v1//messages", 404, "not_found", ""},
		{"GET", "/v1/messages/", 404, "not_found", ""},
		{"GET", "/other", 404, "not_found", ""},
		{"PUT", "/v1/messages", 405, "method_not_allowed", "GET, HEAD, POST"},
		{"GET", "/v1/messages/" + message.NewID(ours, "k") + "/cancel", 405, "method_not_allowed", "POST"},
		{"DELETE", "/v1/messages/" + message.NewID(ours, "k"), 405, "method_not_allowed", "GET, HEAD"},
	}
	for _, c := range cases {
		r := b.do(t, c.method, c.path, "", nil)
		if p := r.problem(t); r.status != c.status || p.Code != c.code || r.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: got %d %s, Allow %q", c.method, c.path, r.status, p.Code, r.header.Get("Allow"))
		}
	}
	r := b.do(t, "GET", "/v1/messages/"+message.NewID(theirs, "k"), "", withHeader("Authorization", "Bearer "+b.wide))
	if r.status != http.StatusOK {
		t.Errorf("a key for all numbers: %d %s", r.status, r.body)
	}
	r = b.do(t, "GET", "/v1/messages/"+message.NewID(ours, "k"), "", func(r *http.Request) { r.Header.Del("Authorization") })
	if r.status != http.StatusUnauthorized {
		t.Errorf("without a key: %d", r.status)
	}
}

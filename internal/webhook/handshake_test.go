package webhook_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestHandshake(t *testing.T) {
	t.Parallel()
	query := func(kv ...string) string {
		q := url.Values{}
		for i := 0; i < len(kv); i += 2 {
			q.Add(kv[i], kv[i+1])
		}
		return q.Encode()
	}
	for _, tt := range []struct {
		name, app, query string
		status           int
		result           string
	}{
		{"right", "shop", query("hub.mode", "subscribe", "hub.verify_token", token, "hub.challenge", "1158201444"), 200, "handshake"},
		{"77 no mode", "shop", query("hub.verify_token", token, "hub.challenge", "1158201444"), 403, "handshake_refused"},
		{"77 another mode", "shop", query("hub.mode", "unsubscribe", "hub.verify_token", token, "hub.challenge", "1158201444"), 403, "handshake_refused"},
		{"77 wrong token", "shop", query("hub.mode", "subscribe", "hub.verify_token", token+"x", "hub.challenge", "1158201444"), 403, "handshake_refused"},
		{"77 no token", "shop", query("hub.mode", "subscribe", "hub.challenge", "1158201444"), 403, "handshake_refused"},
		{"77 token twice", "shop", query("hub.mode", "subscribe", "hub.verify_token", token, "hub.verify_token", token, "hub.challenge", "1158201444"), 403, "handshake_refused"},
		{"another app's token", "shop", query("hub.mode", "subscribe", "hub.verify_token", "another-token", "hub.challenge", "1158201444"), 403, "handshake_refused"},
		{"an app without a token", "bare", query("hub.mode", "subscribe", "hub.verify_token", "", "hub.challenge", "1158201444"), 403, "handshake_refused"},
		{"78 long challenge", "shop", query("hub.mode", "subscribe", "hub.verify_token", token, "hub.challenge", strings.Repeat("1", 5<<10)), 400, "challenge_bad"},
		{"78 script", "shop", query("hub.mode", "subscribe", "hub.verify_token", token, "hub.challenge", "<script>alert(1)</script>"), 400, "challenge_bad"},
		{"78 a line break at the end", "shop", query("hub.mode", "subscribe", "hub.verify_token", token, "hub.challenge", "1158201444\n"), 400, "challenge_bad"},
		{"no challenge", "shop", query("hub.mode", "subscribe", "hub.verify_token", token), 400, "challenge_bad"},
		{"an unknown app", "unknown", query("hub.mode", "subscribe", "hub.verify_token", token, "hub.challenge", "1158201444"), 404, "unknown_app"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			res, err := http.Get(s.url + tt.app + "?" + tt.query)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			want := ""
			if tt.status == 200 {
				want = "1158201444"
				if ct := res.Header.Get("Content-Type"); ct != "text/plain; charset=utf-8" {
					t.Errorf("content type %q", ct)
				}
			}
			if res.StatusCode != tt.status || string(body) != want {
				t.Errorf("%d %q, want %d %q", res.StatusCode, body, tt.status, want)
			}
			if res.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("nosniff is missing")
			}
			if got := s.count(t, "sluice_webhook_requests_total", tt.result); got != 1 {
				t.Errorf("counted %v as %s, want 1", got, tt.result)
			}
		})
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	t.Parallel()
	s := setup(t)
	req, err := http.NewRequestWithContext(t.Context(), "PUT", s.url+"shop", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("%d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
}

package cloudapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

func TestDebugToken(t *testing.T) {
	t.Parallel()
	const secret = "EAAB+secret"
	for answer, want := range map[string]cloudapi.Token{
		`{"data":{"is_valid":true,"expires_at":0,"data_access_expires_at":0}}`:                   {Valid: true},
		`{"data":{"is_valid":true,"expires_at":1800000000,"data_access_expires_at":0}}`:          {Valid: true, Expires: time.Unix(1800000000, 0)},
		`{"data":{"is_valid":true,"expires_at":1800000000,"data_access_expires_at":1700000000}}`: {Valid: true, Expires: time.Unix(1700000000, 0)},
		`{"data":{"is_valid":false,"error":{"code":190}}}`:                                       {},
		`{"error":{"code":190,"message":"expired"}}`:                                             {},
		`{"error":{"code":2}}`: {},
		`<html>`:               {},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v25.0/debug_token" || r.URL.Query().Get("input_token") != secret || r.Header.Get("Authorization") != "Bearer "+secret {
				t.Errorf("asked %s %v", r.URL, r.Header)
			}
			io.WriteString(w, answer)
		}))
		c := cloudapi.NewClient(cloudapi.Options{BaseURL: srv.URL, Token: func(string) (string, error) { return secret, nil }})
		got, err := c.DebugToken(t.Context(), "1")
		bad := strings.Contains(answer, `"code":2`) || answer == "<html>"
		if got != want || (err != nil) != bad || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %+v, %v, want %+v", answer, got, err, want)
		}
		c.Close()
		srv.Close()
		if _, err := c.DebugToken(t.Context(), "1"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("nobody answers: %v", err)
		}
	}
}

func TestMended(t *testing.T) {
	t.Parallel()
	const named = `,"message_template_name":"sale","message_template_language":"en-US"}`
	for _, tt := range []struct {
		field, meta, template string
		account               bool
	}{
		{"message_template_status_update", `{"event":"APPROVED"` + named, "sale/en_US", false},
		{"message_template_status_update", `{"event":"REINSTATED"` + named, "sale/en_US", false},
		{"message_template_status_update", `{"event":"FLAGGED","other_info":{"title":"UNPAUSE"}` + named, "sale/en_US", false},
		{"message_template_status_update", `{"event":"PAUSED","other_info":{"title":"FIRST_PAUSE"}` + named, "", false},
		{"account_update", `{"event":"ACCOUNT_RECONNECTED"}`, "", true},
		{"account_update", `{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":["REINSTATE"]}}`, "", true},
		{"account_update", `{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":["DISABLE"]}}`, "", false},
		{"flows", `{"event":"APPROVED"` + named, "", false},
		{"account_update", `7`, "", false},
	} {
		template, account := cloudapi.Mended(message.Event{Field: tt.field, Meta: json.RawMessage(tt.meta)})
		if template != tt.template || account != tt.account {
			t.Errorf("%s %s: %q, %t", tt.field, tt.meta, template, account)
		}
	}
}

func TestThroughput(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]int{
		`{"throughput":{"level":"STANDARD"},"id":"1"}`: 80,
		`{"throughput":{"level":"HIGH"},"id":"1"}`:     1000,
		`{"throughput":{"level":"NOT_APPLICABLE"}}`:    0,
		`{"id":"1"}`: 0,
		`<html>`:     -1,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RequestURI() != "/v25.0/1?fields=throughput" {
				t.Errorf("asked %s", r.URL)
			}
			io.WriteString(w, answer)
		}))
		c := cloudapi.NewClient(cloudapi.Options{BaseURL: srv.URL, Token: func(string) (string, error) { return "secret", nil }})
		got, err := c.Throughput(t.Context(), "1")
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%s: %d, %v", answer, got, err)
		}
		c.Close()
		srv.Close()
	}
}

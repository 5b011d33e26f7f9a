package cloudapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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
		c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v25.0/debug_token" || r.URL.Query().Get("input_token") != secret || r.Header.Get("Authorization") != "Bearer "+secret {
				t.Errorf("asked %s %v", r.URL, r.Header)
			}
			io.WriteString(w, answer)
		}, func(o *cloudapi.Options) { o.Token = func(string) (string, error) { return secret, nil } })
		got, err := c.DebugToken(t.Context(), "1")
		bad := strings.Contains(answer, `"code":2`) || answer == "<html>"
		if got != want || (err != nil) != bad || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %+v, %v, want %+v", answer, got, err, want)
		}
	}
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "", false) },
		func(o *cloudapi.Options) { o.Token = func(string) (string, error) { return secret, nil } })
	if _, err := c.DebugToken(t.Context(), "1"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("nobody answers: %v", err)
	}
}

func TestGrant(t *testing.T) {
	t.Parallel()
	const scopes = `"scopes":["whatsapp_business_messaging","business_management"]`
	for answer, want := range map[string]cloudapi.Grant{
		`{"data":{"is_valid":true,"type":"SYSTEM_USER","app_id":"7",` + scopes + `}}`: {
			Token: cloudapi.Token{Valid: true}, Type: "SYSTEM_USER", App: "7",
			Scopes: []string{"whatsapp_business_messaging", "business_management"},
		},
		`{"data":{"is_valid":false,"error":{"code":190,"subcode":463}}}`: {Expired: true},
		`{"data":{"is_valid":false,"error":{"code":190,"subcode":460}}}`: {},
		`{"error":{"code":190,"error_subcode":463}}`:                     {Expired: true},
	} {
		got, err := answering(t, "/v25.0/debug_token?input_token="+token, "Bearer "+token, 200, answer).Grant(t.Context(), "1")
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: %+v, %v, want %+v", answer, got, err, want)
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

// Levels that we do not know say nothing.
func TestThroughput(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]int{"STANDARD": 80, "HIGH": 1000, "NOT_APPLICABLE": 0} {
		q := questions["throughput"]
		got, err := q.ask(t.Context(), answering(t, q.uri, q.auth, 200, `{"throughput":{"level":"`+level+`"},"id":"100"}`))
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", level, got, err)
		}
	}
}

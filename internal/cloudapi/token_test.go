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
		t.Errorf("without a server: %v", err)
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

func TestAnnounced(t *testing.T) {
	t.Parallel()
	const named, template, account = `,"message_template_name":"sale","message_template_language":"en-US"}`, "message_template_status_update", "account_update"
	const restricted = `{"event":"ACCOUNT_RESTRICTION","restriction_info":[{"restriction_type":"RESTRICTED_BIZ_INITIATED_MESSAGING","expiration":`
	now := time.Unix(1_800_000_000, 0)
	type a = cloudapi.Announcement
	for _, tt := range []struct {
		field, meta string
		want        *a // nil: it says nothing
	}{
		{template, `{"event":"APPROVED"` + named, &a{Template: "sale/en_US", Event: "APPROVED"}},
		{template, `{"event":"REINSTATED"` + named, &a{Template: "sale/en_US", Event: "REINSTATED"}},
		{template, `{"event":"FLAGGED","other_info":{"title":"UNPAUSE"}` + named, &a{Template: "sale/en_US", Event: "FLAGGED"}},
		{template, `{"event":"FLAGGED"` + named, nil},
		{template, `{"event":"APPROVED"}`, nil},
		{template, `{"event":"PAUSED","other_info":{"title":"FIRST_PAUSE"}` + named, &a{Template: "sale/en_US", Hold: true, For: 3 * time.Hour, Event: "PAUSED"}},
		{template, `{"event":"PAUSED","other_info":{"title":"SECOND_PAUSE"}` + named, &a{Template: "sale/en_US", Hold: true, For: 6 * time.Hour, Event: "PAUSED"}},
		{template, `{"event":"PAUSED"` + named, &a{Template: "sale/en_US", Hold: true, For: 30 * time.Minute, Event: "PAUSED"}},
		{template, `{"event":"DISABLED"` + named, &a{Template: "sale/en_US", Hold: true, Event: "DISABLED"}},
		{template, `{"event":"REJECTED"` + named, &a{Template: "sale/en_US", Hold: true, Event: "REJECTED"}},
		{template, `{"event":"ARCHIVED"` + named, &a{Template: "sale/en_US", Hold: true, Event: "ARCHIVED"}},
		{template, `{"event":"PENDING_DELETION"` + named, &a{Template: "sale/en_US", Hold: true, Event: "PENDING_DELETION"}},
		{account, `{"event":"ACCOUNT_RECONNECTED"}`, &a{Event: "ACCOUNT_RECONNECTED"}},
		{account, `{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":["REINSTATE"]}}`, &a{Event: "DISABLED_UPDATE"}},
		{account, `{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":["DISABLE"]}}`, &a{Hold: true, Event: "DISABLED_UPDATE"}},
		{account, `{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":["SCHEDULE_FOR_DISABLE"]}}`, nil},
		{account, `{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":"DISABLE"}}`, &a{Hold: true, Event: "DISABLED_UPDATE"}},
		{account, `{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":{"0":"REINSTATE"}}}`, &a{Event: "DISABLED_UPDATE"}},
		{account, `{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":7}}`, nil},
		{account, `{"event":"ACCOUNT_DELETED"}`, &a{Hold: true, Event: "ACCOUNT_DELETED"}},
		{account, `{"event":"PARTNER_REMOVED"}`, &a{Hold: true, Event: "PARTNER_REMOVED"}},
		{account, `{"event":"ACCOUNT_VIOLATION","violation_info":{"violation_type":"SPAM"}}`, &a{Hold: true, For: time.Minute, Event: "ACCOUNT_VIOLATION"}},
		{account, `{"event":"ACCOUNT_RESTRICTION","restriction_info":[{"restriction_type":"RESTRICTED_BIZ_INITIATED_MESSAGING","expiration":1800003600}]}`, &a{Hold: true, For: time.Hour, Event: "ACCOUNT_RESTRICTION"}},
		{account, `{"event":"ACCOUNT_RESTRICTION","restriction_info":[{"restriction_type":"RESTRICTED_BIZ_INITIATED_MESSAGING"}]}`, &a{Hold: true, Event: "ACCOUNT_RESTRICTION"}},
		{account, `{"event":"ACCOUNT_RESTRICTION","restriction_info":[{"restriction_type":"RESTRICTED_ADD_PHONE_NUMBER_ACTION","expiration":"1800003600"}]}`, nil},
		{account, restricted + `1800003600000}]}`, &a{Hold: true, For: time.Hour, Event: "ACCOUNT_RESTRICTION"}}, // milliseconds
		{account, restricted + `"1800003600"}]}`, &a{Hold: true, For: time.Hour, Event: "ACCOUNT_RESTRICTION"}},
		{account, restricted + `1700000000}]}`, &a{Hold: true, For: time.Second, Event: "ACCOUNT_RESTRICTION"}}, // past
		{account, restricted + `-9223372036854775808}]}`, &a{Hold: true, For: time.Second, Event: "ACCOUNT_RESTRICTION"}},
		{account, restricted + `99999999999}]}`, &a{Hold: true, For: 90 * 24 * time.Hour, Event: "ACCOUNT_RESTRICTION"}}, // the year 5138
		{account, restricted + `9223372036854775807}]}`, &a{Hold: true, For: 90 * 24 * time.Hour, Event: "ACCOUNT_RESTRICTION"}},
		{account, restricted + `99999999999999999999}]}`, &a{Hold: true, For: 90 * 24 * time.Hour, Event: "ACCOUNT_RESTRICTION"}},
		{account, restricted + `0}]}`, &a{Hold: true, Event: "ACCOUNT_RESTRICTION"}},
		{account, restricted + `null}]}`, &a{Hold: true, Event: "ACCOUNT_RESTRICTION"}},
		{account, restricted + `"soon"}]}`, &a{Hold: true, Event: "ACCOUNT_RESTRICTION"}},
		{account, restricted + `{}},{"restriction_type":"RESTRICTED_CUSTOMER_INITIATED_MESSAGING","expiration":1800003600}]}`, &a{Hold: true, Event: "ACCOUNT_RESTRICTION"}},
		{account, restricted + `1800000060},{"restriction_type":"RESTRICTED_CUSTOMER_INITIATED_MESSAGING","expiration":1800003600}]}`, &a{Hold: true, For: time.Hour, Event: "ACCOUNT_RESTRICTION"}},
		{account, `{"event":"PARTNER_ADDED"}`, &a{Event: "PARTNER_ADDED"}},
		{account, `{"event":"MM_LITE_TERMS_SIGNED"}`, nil},
		{account, `7`, nil},
		{"flows", `{"event":"APPROVED"` + named, nil},
	} {
		got, ok := cloudapi.Announced(message.Event{Field: tt.field, Meta: json.RawMessage(tt.meta)}, now)
		if ok != (tt.want != nil) || ok && got != *tt.want {
			t.Errorf("%s %s: %+v, %t", tt.field, tt.meta, got, ok)
		}
	}
}

// An unknown level gives no throughput.
func TestThroughput(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]int{"STANDARD": 80, "HIGH": 1000, "NOT_APPLICABLE": 0} {
		q := questions["profile"]
		got, err := q.ask(t.Context(), answering(t, q.uri, q.auth, 200, `{"throughput":{"level":"`+level+`"},"id":"100"}`))
		if p, ok := got.(cloudapi.Profile); err != nil || !ok || p.Rate != want {
			t.Errorf("%s: %v, %v", level, got, err)
		}
	}
}

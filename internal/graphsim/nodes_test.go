package graphsim_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"sluice/internal/graphsim"
)

const (
	account = "102290129340398"
	app     = "670843887433847"
	fields  = "?fields=status,name_status,account_mode,platform_type,is_official_business_account,is_on_biz_app," +
		"whatsapp_business_manager_messaging_limit,health_status,throughput,quality_rating,code_verification_status"
)

// The answers for a healthy set-up, member by member.
func TestReads(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{Token: "token", Rate: 1000, Webhook: graphsim.Webhook{URL: "https://example.com/hook", Secret: secret}})
	for _, c := range []struct {
		path   string
		shows  []string
		hidden string
	}{
		{"/v25.0/" + number, []string{
			`"id":"106540352242922"`, `"display_phone_number":"+1 555-224-2922"`, `"verified_name":"Simulated Business"`,
			`"quality_rating":"GREEN"`, `"throughput":{"level":"HIGH"}`, `"platform_type":"CLOUD_API"`,
			`"webhook_configuration":{"application":"https://example.com/hook"}`,
		}, `"status"`},
		{"/v25.0/" + number + fields, []string{
			`"id":"106540352242922"`, `"status":"CONNECTED"`, `"name_status":"APPROVED"`, `"account_mode":"LIVE"`, `"is_on_biz_app":false`,
			`"is_official_business_account":false`, `"whatsapp_business_manager_messaging_limit":"TIER_UNLIMITED"`,
			`"can_send_message":"AVAILABLE"`, `"entity_type":"APP"`,
		}, "verified_name"},
		{"/v25.0/" + account, []string{`"id":"102290129340398"`, `"name":"Simulated Business"`}, "review"},
		{"/v25.0/" + account + "?fields=account_review_status", []string{`"account_review_status":"APPROVED"`}, "name"},
		{"/v25.0/" + account + "/phone_numbers?fields=status", []string{`{"data":[{"id":"106540352242922","status":"CONNECTED"}]`}, "verified_name"},
		{"/v25.0/" + account + "/subscribed_apps", []string{`"whatsapp_business_api_data":{"id":"670843887433847"`, `"name":"Simulated App"`}, "override"},
		{"/v25.0/" + account + "/message_templates", []string{`{"data":[]}`}, "paging"},
		{"/v25.0/" + app, []string{`"id":"670843887433847"`, `"name":"Simulated App"`}, ""},
		{"/v25.0/app", []string{`"id":"670843887433847"`}, ""},
		{"/v25.0/debug_token?input_token=token", []string{
			`"app_id":"670843887433847"`, `"type":"SYSTEM_USER"`, `"is_valid":true`, `"expires_at":0`, `"data_access_expires_at":0`,
			`"scopes":["whatsapp_business_management","whatsapp_business_messaging"]`,
			`{"scope":"whatsapp_business_messaging","target_ids":["102290129340398"]}`,
		}, "error"},
		{"/v25.0/debug_token?input_token=foreign", []string{`"is_valid":false`, `"code":190`}, "app_id"},
		{"/v25.0/" + app + "/subscriptions?access_token=" + app + "|app%20secret", []string{
			`"object":"whatsapp_business_account"`, `"callback_url":"https://example.com/hook"`, `"active":true`, `{"name":"messages","version":"v25.0"}`,
		}, "error"},
	} {
		header := "Bearer token"
		if strings.Contains(c.path, "access_token") {
			header = ""
		}
		status, raw := b.get(c.path, header)
		for _, member := range c.shows {
			if !strings.Contains(raw, member) || status != 200 {
				t.Errorf("%s: no %s in %d %s", c.path, member, status, raw)
			}
		}
		if c.hidden != "" && strings.Contains(raw, c.hidden) {
			t.Errorf("%s: shows %s unasked: %s", c.path, c.hidden, raw)
		}
	}
}

// get makes a call with its own Authorization header.
func (b *bundle) get(path, header string) (status int, raw string) {
	b.t.Helper()
	req, err := http.NewRequest("GET", b.server.URL+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if header != "" {
		req.Header.Set("Authorization", header)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Each set-up is broken in one way by the control API, and the call that a careful reader
// makes shows it.
func TestBrokenSetUps(t *testing.T) {
	t.Parallel()
	const message = "POST /v25.0/" + number + "/messages"
	for _, c := range []struct {
		name, patch, body string
		call              string
		status, code      int
		shows             string
	}{
		{"token expired: messages", "account", `{"token":{"expires_in":"-1h"}}`, message, 401, 190, `"error_subcode":463`},
		{"token expired: the token itself", "account", `{"token":{"expires_in":"-1h"}}`, "GET /v25.0/debug_token?input_token=token", 401, 190, "Session has expired"},
		{"token expired: the app reads it", "account", `{"token":{"expires_in":"-1h"}}`, "GET /v25.0/debug_token?input_token=token&app", 200, 0, `"error":{"code":190,`},
		{"token expires", "account", `{"token":{"expires_in":"72h"}}`, "GET /v25.0/debug_token?input_token=token", 200, 0, fmt.Sprintf(`"expires_at":%.6s`, fmt.Sprint(time.Now().Add(72*time.Hour).Unix()))},
		{"token revoked", "account", `{"token":{"revoked":true}}`, message, 401, 190, `"error_subcode":467`},
		{"another token", "account", `{"token":{"value":"other"}}`, message, 401, 190, "Cannot parse access token"},
		{"a person's token", "account", `{"token":{"type":"USER"}}`, "GET /v25.0/debug_token?input_token=token", 200, 0, `"type":"USER"`},
		{"may not send", "account", `{"token":{"scopes":["whatsapp_business_management"]}}`, message, 403, 10, "(#10)"},
		{"may not send: its scopes", "account", `{"token":{"scopes":["whatsapp_business_management"]}}`, "GET /v25.0/debug_token?input_token=token", 200, 0, `"scopes":["whatsapp_business_management"]`},
		{"may not manage", "account", `{"token":{"scopes":["whatsapp_business_messaging"]}}`, "GET /v25.0/" + account + "/subscribed_apps", 403, 200, `"error_subcode":1349174`},
		{"another account's token", "account", `{"token":{"targets":["999"]}}`, message, 400, 100, `"error_subcode":33`},
		{"app not subscribed", "account", `{"app":{"unsubscribed":true}}`, "GET /v25.0/" + account + "/subscribed_apps", 200, 0, `{"data":[]}`},
		{"field not subscribed", "account", `{"app":{"fields":["account_update"]}}`, "GET /v25.0/" + app + "/subscriptions?app", 200, 0, `"fields":[{"name":"account_update","version":"v25.0"}]`},
		{"account not approved", "account", `{"account_review_status":"REJECTED"}`, "GET /v25.0/" + account + "?fields=account_review_status", 200, 0, `"REJECTED"`},
		{"account locked", "account", `{"refuse":131031}`, message, 403, 131031, "(#131031) Account has been locked"},
		{"account locked: health", "account", `{"refuse":131031}`, "GET /v25.0/" + number + "?fields=health_status", 200, 0, `"can_send_message":"BLOCKED"`},
		{"number restricted", "numbers/" + number, `{"status":"RESTRICTED"}`, message, 403, 131031, ""},
		{"number not registered", "numbers/" + number, `{"status":"DISCONNECTED"}`, message, 400, 133010, ""},
		{"number elsewhere", "numbers/" + number, `{"platform_type":"ON_PREMISE"}`, message, 400, 133010, ""},
		{"number of low quality sends", "numbers/" + number, `{"status":"FLAGGED","quality_rating":"RED"}`, message, 200, 0, "wamid"},
		{"number of low quality", "numbers/" + number, `{"quality_rating":"RED"}`, "GET /v25.0/" + number, 200, 0, `"quality_rating":"RED"`},
		{"number in maintenance", "numbers/" + number, `{"refuse":131057}`, message, 500, 131057, ""},
		{"number with the app", "numbers/" + number, `{"is_on_biz_app":true}`, "GET /v25.0/" + number + fields, 200, 0, `"is_on_biz_app":true`},
		{"name declined", "numbers/" + number, `{"name_status":"DECLINED"}`, "GET /v25.0/" + number + fields, 200, 0, `"name_status":"DECLINED"`},
		{"number overrides the callback", "numbers/" + number, `{"callback":"https://example.com/other"}`, "GET /v25.0/" + number, 200, 0, `"phone_number":"https://example.com/other"`},
		{"wrong phone number id", "numbers/1", `{}`, message, 400, 100, `"error_subcode":33`},
		{"wrong phone number id: info", "numbers/1", `{}`, "GET /v25.0/" + number, 400, 100, `"error_subcode":33`},
		{"template paused", "templates/order_shipped/en_US", `{"status":"PAUSED","quality_score":"RED"}`, "GET /v25.0/" + account + "/message_templates?name=order_shipped&fields=status,quality_score", 200, 0, `"quality_score":{"score":"RED"},"status":"PAUSED"`},
		{"small portfolio", "account", `{"messaging_limit":"TIER_250"}`, "GET /v25.0/" + number + fields, 200, 0, `"whatsapp_business_manager_messaging_limit":"TIER_250"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, graphsim.Options{Token: "token", Webhook: graphsim.Webhook{URL: "http://unused.invalid", Secret: secret}})
			if a := b.do("PATCH", "/_sim/"+c.patch, c.body); a.Status != 200 {
				t.Fatalf("control: %d %s", a.Status, a.Raw)
			}
			method, path, _ := strings.Cut(c.call, " ")
			var status int
			var raw string
			if path, app := cutApp(path); app {
				status, raw = b.get(path, "Bearer "+app670())
			} else {
				body := ""
				if method == "POST" {
					body = `{"messaging_product":"whatsapp",` + text("+16505551234", "") + `}`
				}
				a := b.do(method, path, body)
				status, raw = a.Status, a.Raw
				if a.Error.Code != c.code {
					t.Errorf("code %d, want %d", a.Error.Code, c.code)
				}
			}
			if status != c.status || !strings.Contains(raw, c.shows) {
				t.Errorf("%d, want %d with %s: %s", status, c.status, c.shows, raw)
			}
		})
	}
}

// cutApp reports whether a call has the app's own token.
func cutApp(path string) (string, bool) {
	if p, ok := strings.CutSuffix(path, "&app"); ok {
		return p, true
	}
	return strings.CutSuffix(path, "?app")
}

func app670() string { return app + "|" + secret }

func TestControlRefusesWrongAccounts(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	before := b.do("GET", "/_sim/account", "").Raw
	for _, c := range [][2]string{
		{"account", `{"tokn":{}}`},
		{"account", `{"token":{"expires_in":"soon"}}`},
		{"account", `{"messaging_limit":"TIER_7"}`},
		{"account", `{"refuse":7}`},
		{"account", `{"numbers":[{"id":"me"}]}`},
		{"numbers/me", `{}`},
		{"numbers/1", `{"refuse":7}`},
		{"templates/a/en", `{"components":["x"]}`},
	} {
		if a := b.do("PATCH", "/_sim/"+c[0], c[1]); a.Status != 400 {
			t.Errorf("%s %s: %d %s", c[0], c[1], a.Status, a.Raw)
		}
	}
	if after := b.do("GET", "/_sim/account", "").Raw; after != before {
		t.Errorf("changed to %s", after)
	}
}

func TestSubscribing(t *testing.T) {
	t.Parallel()
	b, r := hooked(t, graphsim.Webhook{Senders: 1})
	b.run()
	other := newReceiver(t)
	apps := "/v25.0/" + account + "/subscribed_apps"
	for _, c := range []struct {
		name, method, body string
		here, there        int // reports that arrive
	}{
		{"at first", "GET", "", 2, 0},
		{"not subscribed", "DELETE", "", 0, 0},
		{"subscribed again", "POST", "", 2, 0},
		{"override", "POST", `{"override_callback_uri":"` + other.URL + `","verify_token":"x"}`, 0, 2},
		{"no override", "POST", "", 2, 0},
	} {
		if a := b.do(c.method, apps, c.body); a.Status != 200 || c.method != "GET" && !a.Success {
			t.Fatalf("%s: %d %s", c.name, a.Status, a.Raw)
		}
		b.send(text("+16505551234", ""))
		b.drained()
		if here, there := len(r.received()), len(other.received()); here != c.here || there != c.there {
			t.Errorf("%s: %d reports here and %d there, want %d and %d", c.name, here, there, c.here, c.there)
		}
	}
	if a := b.do("POST", apps, `{"override_callback_uri":"https://example.com"}`); a.Error.Code != 100 {
		t.Errorf("override without verify token: %d %s", a.Status, a.Raw)
	}
	b.do("PATCH", "/_sim/account", `{"app":{"fields":["account_update"]}}`)
	b.send(text("+16505551234", ""))
	b.do("PATCH", "/_sim/account", `{"app":{"fields":null}}`)
	b.do("PATCH", "/_sim/numbers/"+number, `{"callback":"`+other.URL+`"}`)
	b.send(text("+16505551234", ""))
	b.drained()
	if here, there := len(r.received()), len(other.received()); here != 0 || there != 2 {
		t.Errorf("field not subscribed, then override of the number: %d here, %d there", here, there)
	}
}

func TestTemplatesAreListedMadeAndDeleted(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{Account: graphsim.Account{Templates: []graphsim.Template{
		{Name: "hello", Language: "de"}, {Name: "hello", Category: "MARKETING"}, {Name: "bye", Status: "REJECTED"},
	}}})
	path := "/v25.0/" + account + "/message_templates"
	for _, c := range []struct {
		method, query, body string
		status              int
		names               int // templates listed afterwards
	}{
		{"GET", "", "", 200, 3},
		{"GET", "?name=hello", "", 200, 2},
		{"GET", "?name=hello&language=de", "", 200, 1},
		{"GET", "?status=REJECTED", "", 200, 1},
		{"GET", "?category=marketing", "", 200, 1},
		{"GET", "?fields=nonsense", "", 400, 0},
		{"POST", "", `{"name":"new","language":"en_US","category":"UTILITY","components":[{"type":"BODY","text":"Hi {{1}}"}]}`, 200, 4},
		{"POST", "", `{"name":"new","language":"en_US","category":"UTILITY"}`, 400, 4},
		{"POST", "", `{"name":"half"}`, 400, 4},
		{"DELETE", "?name=hello", "", 200, 2},
		{"DELETE", "?name=hello", "", 400, 2},
	} {
		a := b.do(c.method, path+c.query, c.body)
		if a.Status != c.status {
			t.Errorf("%s %s %s: %d %s", c.method, c.query, c.body, a.Status, a.Raw)
		}
		if c.method != "GET" {
			a = b.do("GET", path, "")
		}
		if got := strings.Count(a.Raw, `"language"`); got != c.names {
			t.Errorf("%s %s: %d templates, want %d: %s", c.method, c.query, got, c.names, a.Raw)
		}
	}
}

// upload POSTs a file as a form.
func (b *bundle) upload(kind string, size int, product string) answer {
	b.t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if kind != "" {
		p, _ := w.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {`form-data; name="file"; filename="a"`}, "Content-Type": {kind},
		})
		p.Write(make([]byte, size))
	}
	w.WriteField("messaging_product", product)
	w.Close()
	req, _ := http.NewRequest("POST", b.server.URL+"/v25.0/"+number+"/media", &form)
	req.Header.Set("Authorization", "Bearer token")
	req.Header.Set("Content-Type", w.FormDataContentType())
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	return read(b.t, resp)
}

func TestMediaIsJudged(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	for _, c := range []struct {
		kind, product string
		size          int
		status, code  int
	}{
		{"image/jpeg", "whatsapp", 5<<20 + 1, 400, 131053},
		{"image/webp", "whatsapp", 500 << 10, 200, 0},
		{"image/webp", "whatsapp", 500<<10 + 1, 400, 131053},
		{"audio/ogg; codecs=opus", "whatsapp", 500<<10 + 1, 200, 0},
		{"application/pdf", "whatsapp", 500<<10 + 1, 200, 0},
		{"audio/wav", "whatsapp", 1, 400, 100},
		{"image/gif", "whatsapp", 1, 400, 100},
		{"image/png", "", 1, 400, 100},
		{"", "whatsapp", 0, 400, 100},
	} {
		if a := b.upload(c.kind, c.size, c.product); a.Status != c.status || a.Error.Code != c.code {
			t.Errorf("%s of %d bytes: %d %.300s, want %d, code %d", c.kind, c.size, a.Status, a.Raw, c.status, c.code)
		}
	}
}

func TestMediaComesBack(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	id := b.upload("image/png", 1000, "whatsapp").ID
	info := b.do("GET", "/v25.0/"+id, "")
	if info.Mime != "image/png" || info.Size != "1000" || len(info.SHA256) != 64 || info.ID != id {
		t.Fatalf("info: %s", info.Raw)
	}
	path := strings.TrimPrefix(info.URL, b.server.URL)
	if status, raw := b.get(path, "Bearer token"); status != 200 || len(raw) != 1000 {
		t.Errorf("download: %d, %d bytes", status, len(raw))
	}
	for call, status := range map[string]int{
		path[:strings.Index(path, "ext=")] + "ext=1&hash=" + info.SHA256[:16] + "&mid=" + id: 404, // old
		"/v25.0/" + id + "?phone_number_id=1":                                                400,
		"/v25.0/" + id + "?phone_number_id=" + number:                                        200,
	} {
		if got, raw := b.get(call, "Bearer token"); got != status {
			t.Errorf("%s: %d %s, want %d", call, got, raw, status)
		}
	}
	if got, _ := b.get(path, ""); got != 401 {
		t.Errorf("download without a token: %d", got)
	}
	if a := b.do("DELETE", "/v25.0/"+id, ""); !a.Success {
		t.Errorf("delete: %s", a.Raw)
	}
	if a := b.do("DELETE", "/v25.0/"+id, ""); a.Error.Subcode != 33 {
		t.Errorf("delete again: %s", a.Raw)
	}
	if got, _ := b.get(path, "Bearer token"); got != 404 {
		t.Errorf("deleted media comes: %d", got)
	}
}

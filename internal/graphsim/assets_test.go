package graphsim_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sluice/internal/graphsim"
)

// step is a call and what its answer has. "CODE", "CALL" and "FLOW" in a path or a body stand for the ids of the answers before.
type step struct {
	method, path, body string
	status             int
	shows              string
}

// follow makes the calls of steps in order.
func (b *bundle) follow(steps []step) {
	b.t.Helper()
	var ids []string
	for _, c := range steps {
		known := strings.NewReplacer(ids...)
		a := b.do(c.method, known.Replace(c.path), known.Replace(c.body))
		if a.Status != c.status || !strings.Contains(a.Raw, c.shows) {
			b.t.Errorf("%s %s %s: %d %s, want %d with %s", c.method, c.path, c.body, a.Status, a.Raw, c.status, c.shows)
		}
		for name, mark := range map[string]string{"CODE": `"code":"`, "CALL": `"calls":[{"id":"`, "FLOW": `{"id":"`} {
			if _, rest, ok := strings.Cut(a.Raw, mark); ok && c.method == "POST" {
				id, _, _ := strings.Cut(rest, `"`)
				ids = append(ids, name, id)
			}
		}
	}
}

// What calls change of a number, later calls read.
func TestNumbersKeepWhatCallsChange(t *testing.T) {
	t.Parallel()
	const n, product = "/v25.0/" + number, `{"messaging_product":"whatsapp",`
	for name, steps := range map[string][]step{
		"profile": {
			{"GET", n + "/whatsapp_business_profile", "", 200, `{"data":[{"messaging_product":"whatsapp"}]}`},
			{"POST", n + "/whatsapp_business_profile", product + `"about":"We deliver.","email":"a@example.com","websites":["https://example.com/"],"vertical":"RETAIL"}`, 200, `{"success":true}`},
			{"GET", n + "/whatsapp_business_profile?fields=about,websites", "", 200, `{"data":[{"about":"We deliver.","messaging_product":"whatsapp","websites":["https://example.com/"]}]}`},
			{"GET", n + "/whatsapp_business_profile?fields=nonsense", "", 400, `nonexisting field (nonsense)`},
			{"POST", n + "/whatsapp_business_profile", `{"about":"x"}`, 400, `The parameter messaging_product is required.`},
			{"POST", n + "/whatsapp_business_profile", product + `"about":"` + strings.Repeat("x", 140) + `"}`, 400, `at most 139 characters`},
			{"POST", n + "/whatsapp_business_profile", product + `"vertical":"MAGIC"}`, 400, `must be one of {`},
			{"POST", n + "/whatsapp_business_profile", product + `"websites":["a","b","c"]}`, 400, `at most 2`},
		},
		"blocked users": {
			{"GET", n + "/block_users", "", 200, `{"data":[]}`},
			{"POST", n + "/block_users", product + `"block_users":[{"user":"+1 650 555 1234"},{"user_id":"US.1"}]}`, 200, `"added_users":[{"input":"+1 650 555 1234","wa_id":"16505551234"},{"input":"US.1","user_id":"US.1"}]`},
			{"POST", n + "/block_users", product + `"block_users":[{"user":"16505551234"}]}`, 200, `"added_users"`},
			{"GET", n + "/block_users?limit=1", "", 200, `/block_users?access_token=`}, // of the link to the next page
			{"GET", n + "/block_users?limit=1", "", 200, `{"data":[{"messaging_product":"whatsapp","wa_id":"16505551234"}],"paging":`},
			{"DELETE", n + "/block_users", product + `"block_users":[{"user":"16505551234"}]}`, 200, `"removed_users":[{"input":"16505551234","wa_id":"16505551234"}]`},
			{"GET", n + "/block_users", "", 200, `{"data":[{"messaging_product":"whatsapp","user_id":"US.1"}]`},
			{"POST", n + "/block_users", product + `"block_users":[]}`, 400, `block_users is required`},
		},
		"QR codes": {
			{"POST", n + "/message_qrdls", `{"prefilled_message":"Hello","generate_qr_image":"SVG"}`, 200, `"deep_link_url":"https://wa.me/message/`},
			{"GET", n + "/message_qrdls/CODE", "", 200, `"prefilled_message":"Hello"`},
			{"POST", n + "/message_qrdls", `{"code":"CODE","prefilled_message":"Bye"}`, 200, `"prefilled_message":"Bye"`},
			{"POST", n + "/message_qrdls/CODE?prefilled_message=Query", "", 200, `"prefilled_message":"Query"`},
			{"GET", n + "/message_qrdls", "", 200, `"prefilled_message":"Query"`},
			{"DELETE", n + "/message_qrdls/CODE", "", 200, `{"success":true}`},
			{"DELETE", n + "/message_qrdls/CODE", "", 400, `"code":100`},
			{"GET", n + "/message_qrdls", "", 200, `{"data":[]}`},
			{"POST", n + "/message_qrdls", `{}`, 400, `prefilled_message is required`},
		},
		"settings": {
			{"GET", n + "/settings", "", 200, `"storage_configuration":{"status":"DEFAULT"}`},
			{"POST", n + "/settings", `{"calling":{"status":"ENABLED"}}`, 200, `{"success":true}`},
			{"GET", n + "/settings", "", 200, `"calling":{"call_icon_visibility":"DEFAULT","callback_permission_status":"DISABLED","status":"ENABLED"}`},
			{"POST", n + "/settings", `{}`, 400, `Invalid parameter`},
			{"POST", n + "/whatsapp_commerce_settings?is_cart_enabled=false", "", 200, `{"success":true}`},
			{"GET", n + "/whatsapp_commerce_settings", "", 200, `"is_cart_enabled":false,"is_catalog_visible":false}]`},
			{"POST", n + "/conversational_automation", `{"prompts":["Hi"]}`, 200, `{"success":true}`},
			{"GET", n + "?fields=conversational_automation", "", 200, `"prompts":["Hi"]`},
			{"POST", n + "/whatsapp_business_encryption", `{"business_public_key":"-----BEGIN PUBLIC KEY-----x"}`, 200, `{"success":true}`},
			{"GET", n + "/whatsapp_business_encryption", "", 200, `"business_public_key_signature_status":"VALID"`},
			{"POST", n + "/register", product + `"pin":"123456"}`, 200, `{"success":true}`},
			{"POST", n + "/register", product + `"pin":"1"}`, 400, `Param pin`},
			{"POST", n, `{"pin":"123456"}`, 200, `{"success":true}`},
		},
		"calls": {
			{"POST", n + "/calls", product + `"to":"16505551234","action":"connect","session":{}}`, 200, `"calls":[{"id":"wacid.`},
			{"POST", n + "/calls", product + `"call_id":"CALL","action":"accept"}`, 200, `"success":true`},
			{"POST", n + "/calls", product + `"call_id":"CALL","action":"terminate"}`, 200, `"success":true`},
			{"POST", n + "/calls", product + `"call_id":"CALL","action":"terminate"}`, 400, `"code":138008`},
			{"POST", n + "/calls", product + `"action":"shout"}`, 400, `Param action must be one of`},
			{"GET", n + "/call_permissions?user_wa_id=16505551234", "", 200, `"action_name":"start_call","can_perform_action":true`},
		},
		"flows": {
			{"POST", "/v25.0/" + account + "/flows", `{"name":"a","categories":["OTHER"],"flow_json":"{}"}`, 200, `"validation_errors":[]`},
			{"POST", "/v25.0/" + account + "/flows", `{"name":"a","categories":["OTHER"]}`, 400, `"error_subcode":4016019`},
			{"GET", "/v25.0/" + account + "/flows", "", 200, `"status":"DRAFT"`},
			{"GET", "/v25.0/FLOW?fields=name,preview", "", 200, `"name":"a","preview":{`},
			{"POST", "/v25.0/FLOW", `{"name":"b"}`, 200, `{"success":true}`},
			{"GET", "/v25.0/FLOW/assets", "", 200, `"asset_type":"FLOW_JSON"`},
			{"POST", "/v25.0/FLOW/deprecate", "", 400, `"code":139002`},
			{"POST", "/v25.0/FLOW/publish", "", 200, `{"success":true}`},
			{"DELETE", "/v25.0/FLOW", "", 400, `"code":139004`},
			{"POST", "/v25.0/FLOW/deprecate", "", 200, `{"success":true}`},
			{"GET", "/v25.0/FLOW", "", 200, `"name":"b","status":"DEPRECATED"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, graphsim.Options{})
			b.follow(steps)
		})
	}
}

func TestTemplatesChangeAsAtMeta(t *testing.T) {
	t.Parallel()
	r := newNotices(t)
	b := setup(t, graphsim.Options{
		Webhook: graphsim.Webhook{URL: r.URL, Secret: secret},
		Account: graphsim.Account{Numbers: []graphsim.Number{{ID: number}}, Templates: []graphsim.Template{
			{ID: "77", Name: "promo"}, {ID: "78", Name: "promo", Language: "de"}, {Name: "off", Status: "DISABLED"}, {Name: "bad"},
		}},
	})
	b.run()
	const path = "/v25.0/" + account + "/message_templates"
	b.follow([]step{
		{"GET", "/v25.0/77?fields=name,status", "", 200, `{"id":"77","name":"promo","status":"APPROVED"}`},
		{"POST", "/v25.0/77", `{"category":"MARKETING"}`, 200, `"success":true`},
		{"GET", "/v25.0/77?fields=category", "", 200, `"category":"MARKETING"`},
		{"DELETE", path + "?name=promo&hsm_id=77", "", 200, `{"success":true}`},
		{"GET", "/v25.0/77", "", 400, `"error_subcode":33`},
		{"GET", path + "?name=promo&fields=language", "", 200, `{"data":[{"id":"78","language":"de"}]`},
		{"GET", path + "?status=PENDING_DELETION&fields=status", "", 200, `{"data":[{"id":"77","status":"PENDING_DELETION"}]`},
		{"POST", path, `{"name":"promo","language":"en_US","category":"UTILITY"}`, 400, `"error_subcode":2388023`},
		{"POST", path, `{"name":"promo","language":"de","category":"UTILITY"}`, 400, `"error_subcode":2388024`},
		{"DELETE", path + "?name=unknown", "", 400, `"error_subcode":2593002`},
		{"DELETE", path + "?name=off", "", 400, `"error_subcode":2388094`},
		{"GET", path + "?limit=1&fields=name", "", 200, `"next":"http://`},
		{"GET", path + `?status=["DISABLED"]&fields=name`, "", 200, `"name":"off"`},
		{"PATCH", "/_sim/templates/bad/en_US", `{"status":"REJECTED"}`, 200, ""},
	})
	if a := b.send(`"to":"+16505551234","type":"template","template":{"name":"promo","language":{"code":"en_US"}}`); a.Error.Code != 132001 {
		t.Errorf("a deleted template: %s", a.Raw)
	}
	b.drained()
	got := strings.Join(r.received(), "\n")
	for _, want := range []string{
		`"event":"PENDING_DELETION","message_template_category":"MARKETING","message_template_id":77,"message_template_language":"en_US","message_template_name":"promo","reason":null`,
		`"event":"REJECTED"`, `"reason":"INVALID_FORMAT","rejection_info":{"reason":`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no webhook has %s: %s", want, got)
		}
	}
}

// The Graph API reads a call in several forms.
func TestCallsMayBeForms(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{Token: "token"})
	form := url.Values{
		"messaging_product": {"whatsapp"}, "to": {"+16505551234"}, "type": {"text"}, "text": {`{"body":"hello"}`}, "access_token": {"token"},
	}
	var parts bytes.Buffer
	w := multipart.NewWriter(&parts)
	for name, values := range form {
		w.WriteField(name, values[0])
	}
	w.Close()
	mark := `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}`
	for _, c := range []struct {
		method, path, auth, kind, body string
		status, code                   int
	}{
		{"POST", "/v25.0/" + number + "/messages", "", "application/x-www-form-urlencoded", form.Encode(), 200, 0},
		{"POST", "/" + number + "/messages/", "OAuth token", w.FormDataContentType(), parts.String(), 200, 0},
		{"POST", "//v25.0//" + number + "/messages?access_token=token", "", w.FormDataContentType(), parts.String(), 200, 0},
		{"POST", "/v25.0/" + number + "/messages", "", "application/json", `{"access_token":"token",` + mark[1:], 200, 0},
		{"PUT", "/v25.0/" + number + "/messages", "Bearer token", "application/json", mark, 200, 0},
		{"PUT", "/v25.0/" + number + "/messages", "Bearer token", "application/json", `{"messaging_product":"whatsapp",` + text("+16505551234", "") + `}`, 400, 100},
		{"POST", "/v25.0/" + number + "/messages", "", "application/json", mark, 401, 104},
		{"GET", "/" + number, "Bearer token", "", "", 200, 0},
		{"GET", "/v25.0/" + number + "/nonsense", "Bearer token", "", "", 400, 100},
	} {
		req, err := http.NewRequest(c.method, b.server.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", c.auth)
		req.Header.Set("Content-Type", c.kind)
		resp, err := b.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		a := read(t, resp)
		if a.Status != c.status || a.Error.Code != c.code {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.kind, a.Status, a.Raw)
		}
		if (resp.Header.Get("WWW-Authenticate") == "") != (c.status == 200) || resp.Header.Get("Facebook-Api-Version") != "v25.0" || resp.Header.Get("X-App-Usage") == "" {
			t.Errorf("%s %s: headers %v", c.method, c.path, resp.Header)
		}
	}
	if n := len(b.Accepted()); n != 3 {
		t.Errorf("%d messages accepted", n)
	}
}

func TestMarketingMessages(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{Account: graphsim.Account{Templates: []graphsim.Template{{Name: "sale", Category: "MARKETING"}, {Name: "order"}}}})
	const path, start = "/v25.0/" + number + "/marketing_messages", `{"messaging_product":"whatsapp","to":"+16505551234","type":`
	for body, code := range map[string]int{
		`"template","template":{"name":"sale","language":{"code":"en_US"}},"product_policy":"STRICT"}`: 0,
		`"template","template":{"name":"order","language":{"code":"en_US"}}}`:                          134100,
		`"text","text":{"body":"x"}}`: 131055,
	} {
		if a := b.do("POST", path, start+body); a.Error.Code != code {
			t.Errorf("%s: %s", body, a.Raw)
		}
	}
}

// The history of a message and the numbers of the account are counted from what happened.
func TestHistoryAndAnalytics(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	b := setup(t, graphsim.Options{Webhook: graphsim.Webhook{URL: r.URL, Secret: secret, Read: 1}})
	b.run()
	id := b.send(text("+16505551234", "")).Messages[0].ID
	b.do("POST", "/v25.0/"+number+"/block_users", `{"messaging_product":"whatsapp","block_users":[{"user":"16505551235"}]}`)
	b.send(text("+16505551235", ""))
	b.drained()
	all := r.received()
	if got := strings.Join(statuses(all), " "); strings.Count(got, "failed") != 1 || strings.Count(got, "read") != 1 {
		t.Errorf("statuses: %s", got)
	}
	b.follow([]step{
		{"GET", "/v25.0/" + number + "/message_history?message_id=" + url.QueryEscape(id), "", 200, `"delivery_status":"READ"`},
		{"GET", "/v25.0/" + number + "/message_history", "", 200, `"message_id":"` + id + `"`},
		{"GET", "/v25.0/" + number + "/message_history?message_id=wamid.x", "", 400, "not found"},
		{"GET", "/v25.0/" + account + "?fields=id,analytics.start(1).end(4000000000).granularity(MONTH)", "", 200, `"delivered":1`},
		{"GET", "/v25.0/" + account + "/pricing_analytics?start=1&end=4000000000&granularity=MONTHLY", "", 200, `"volume":2`},
		{"GET", "/v25.0/" + account + "?fields=analytics.start(1)", "", 400, "The parameter end is required"},
	})
}

// Webhooks name each person by both ids, and a status names the user id only of a message that was sent to it.
func TestWebhooksNameUserIDs(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	b := setup(t, graphsim.Options{Webhook: graphsim.Webhook{URL: r.URL, Secret: secret}})
	b.run()
	b.send(text("+16505551234", ""))
	b.send(`"recipient":"US.1349","type":"text","text":{"body":"x"}`)
	b.do("POST", "/_sim/inbound", `{"from":"16505551234","to":"`+number+`","text":"Hi"}`)
	b.drained()
	known := ""
	for _, u := range r.received() {
		switch {
		case u.Status != "" && u.Recipient == "16505551234":
			if !strings.HasPrefix(u.ContactUser, "US.") || u.UserID != "" || known != "" && known != u.ContactUser {
				t.Errorf("%+v", u)
			}
			known = u.ContactUser
		case u.Status != "":
			if u.ContactUser != "US.1349" || u.UserID != "US.1349" || u.Contact != "" || u.Recipient != "" {
				t.Errorf("%+v", u)
			}
		case u.From != "16505551234" || u.FromUser != u.ContactUser || u.FromUser == "":
			t.Errorf("%+v", u)
		}
	}
	if known == "" {
		t.Error("no status came")
	}
}

package intake_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/intake"
	"sluice/internal/message"
)

const metaProduct = `{"messaging_product":"whatsapp",`

// A program that calls Meta writes paths, tokens and bodies in many ways. Sluice reads them as Meta does.
func TestDropInRequests(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bare := func(r *http.Request) { r.Header.Del("Authorization") }
	form := url.Values{"messaging_product": {"whatsapp"}, "to": {"+15551234567"}, "type": {"text"}, "text": {`{"body":"hi","preview_url":true}`}}
	nested := url.Values{"messaging_product": {"whatsapp"}, "to": {"+15551234567"}, "text[body]": {"hi"}, "text[preview_url]": {"1"}}
	list := url.Values{
		"messaging_product": {"whatsapp"}, "to": {"+15551234567"}, "type": {"template"}, "template[name]": {"sale"}, "template[language][code]": {"en"},
		"template[components][0][type]": {"body"}, "template[components][0][parameters][0][type]": {"text"}, "template[components][0][parameters][0][text]": {"Jo"},
	}
	withToken := func(v url.Values) string {
		return v.Encode() + "&access_token=" + url.QueryEscape(b.narrow)
	}
	var parts bytes.Buffer
	multi := multipart.NewWriter(&parts)
	for _, name := range []string{"messaging_product", "to", "type", "text"} {
		if err := multi.WriteField(name, form.Get(name)); err != nil {
			t.Fatal(err)
		}
	}
	multi.Close()
	text, preview := `{"messaging_product":"whatsapp","to":"+15551234567","type":"text","text":{"body":"hi"}}`, `"text":{"body":"hi","preview_url":true}`
	as := func(media string, more ...func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Content-Type", media)
			for _, change := range more {
				change(r)
			}
		}
	}
	const urlencoded = "application/x-www-form-urlencoded"
	for name, c := range map[string]struct {
		path, body string
		change     func(*http.Request)
		stored     string // a part of what is stored
	}{
		"as usual":             {metas, metaProduct + hello[1:], nil, text},
		"no version":           {"/" + ours + "/messages", metaProduct + hello[1:], nil, text},
		"slashes":              {"//v25.0//" + ours + "/messages/", metaProduct + hello[1:], nil, text},
		"OAuth":                {metas, metaProduct + hello[1:], withHeader("Authorization", "OAuth "+b.narrow), text},
		"oauth":                {metas, metaProduct + hello[1:], withHeader("Authorization", "oauth "+b.narrow), text},
		"token in the query":   {metas + "?access_token=" + b.narrow, metaProduct + hello[1:], bare, text},
		"token in the JSON":    {metas, metaProduct + `"access_token":"` + b.narrow + `",` + hello[1:], bare, text},
		"token twice":          {metas + "?access_token=other", metaProduct + hello[1:], nil, text},
		"header and JSON":      {metas, metaProduct + `"access_token":"other",` + hello[1:], nil, text},
		"OAuth and JSON":       {metas, metaProduct + `"access_token":"other",` + hello[1:], withHeader("Authorization", "OAuth "+b.narrow), text},
		"query and JSON":       {metas + "?access_token=" + b.narrow, metaProduct + `"access_token":"other",` + hello[1:], bare, text},
		"no type":              {metas, metaProduct + `"to":"+15551234567","text":{"body":"hi"}}`, nil, `"text":{"body":"hi"}`},
		"capitals":             {metas, metaProduct + `"to":"+15551234567","type":"TEXT","text":{"body":"hi"}}`, nil, `"type":"TEXT","text":{"body":"hi"}`},
		"JSON in a string":     {metas, metaProduct + `"to":"+15551234567","type":"text","text":"{\"body\":\"hi\"}"}`, nil, `"text":{"body":"hi"}`},
		"JSON twice in it":     {metas, metaProduct + `"to":"+15551234567","type":"template","template":"{\"name\":\"sale\",\"language\":\"{\\\"code\\\":\\\"en\\\"}\"}"}`, nil, `"template":{"name":"sale","language":{"code":"en"}}`},
		"a form":               {metas, form.Encode(), as(urlencoded), preview},
		"a form with a token":  {metas, withToken(form), as(urlencoded, bare), preview},
		"a form with brackets": {metas, nested.Encode(), as(urlencoded), preview},
		"a form with a list":   {metas, list.Encode(), as(urlencoded), `"components":[{"parameters":[{"text":"Jo","type":"text"}],"type":"body"}]`},
		"a multipart form":     {metas, parts.String(), as(multi.FormDataContentType()), preview},
		"a token in it":        {metas, tokenField(multi.Boundary(), b.narrow) + parts.String(), as(multi.FormDataContentType(), bare), preview},
		"our own path, no type": {
			"/v1/messages", `{"from":"` + ours + `","message":{"to":"+15551234567","text":{"body":"hi"}}}`, nil, `"text":{"body":"hi"}`,
		},
		"our own path, JSON": {
			"/v1/messages", `{"class":"utility","from":"` + ours + `","message":{"to":"+15551234567","type":"text","text":"{\"body\":\"hi\"}"},"ref":"r"}`, nil, `"text":{"body":"hi"}`,
		},
		"marketing":         {"/v25.0/" + ours + "/marketing_messages", metaProduct + `"to":"+15551234567","type":"template","template":{"name":"sale","language":{"code":"en"}}}`, nil, `{"messaging_product":"whatsapp","product_policy":"CLOUD_API_FALLBACK","to":`},
		"marketing, strict": {"/v25.0/" + ours + "/marketing_messages", metaProduct + `"product_policy":"STRICT","to":"+15551234567","type":"template","template":{"name":"sale","language":{"code":"en"}}}`, nil, `{"messaging_product":"whatsapp","product_policy":"STRICT","to":`},
	} {
		clear(b.store.messages)
		r := b.do(t, "POST", c.path, c.body, c.change)
		if r.status != http.StatusOK && r.status != http.StatusAccepted || len(b.store.messages) != 1 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
			continue
		}
		for _, m := range b.store.messages {
			if !strings.Contains(string(m.Payload), c.stored) || strings.Contains(string(m.Payload), "access_token") {
				t.Errorf("%s: stored %s, want %s", name, m.Payload, c.stored)
			}
			if strings.HasPrefix(name, "marketing") != (m.Class == message.Marketing) {
				t.Errorf("%s: class %s", name, m.Class)
			}
		}
	}
	if strings.Contains(b.log.String(), b.narrow) || strings.Contains(b.log.String(), "other") {
		t.Errorf("a token is in the log: %s", b.log)
	}
}

// tokenField returns the field of a multipart form that has a token.
func tokenField(boundary, token string) string {
	return "--" + boundary + "\r\nContent-Disposition: form-data; name=\"access_token\"\r\n\r\n" + token + "\r\n"
}

// A token in the form of an upload is found if it is before the file. It is not forwarded, also if the header has one, and
// all other bytes are.
func TestTokenInUpload(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.meta.object = map[string]any{}
	const kind = "--x\r\nContent-Disposition: form-data; name=\"type\"\r\n\r\nimage/png\r\n"
	file := "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"access_token\"\r\n\r\n" + strings.Repeat("png\r\n--y", 9_000) + "\r\n"
	token, fileToken := tokenField("x", b.narrow), strings.Replace(tokenField("x", b.narrow), "access_token\"", "access_token\"; filename=\"a\"", 1)
	for name, c := range map[string]struct {
		form, forwarded string
		status          int
	}{
		"first":       {token + kind + file + "--x--\r\n", kind + file + "--x--\r\n", 200},
		"second":      {kind + token + file + "--x--\r\n", kind + file + "--x--\r\n", 200},
		"preamble":    {"before\r\n" + token + file + "--x--\r\n", "before\r\n" + file + "--x--\r\n", 200},
		"small file":  {token + "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\npng\r\n--x--\r\n", "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\npng\r\n--x--\r\n", 200},
		"after it":    {kind + file + token + "--x--\r\n", "", 401},
		"as a file":   {fileToken + file + "--x--\r\n", "", 401},
		"none":        {kind + file + "--x--\r\n", "", 401},
		"not a form":  {"access_token=" + b.narrow, "", 401},
		"wrong token": {tokenField("x", "wrong") + file + "--x--\r\n", "", 401},
	} {
		for _, length := range []string{"known", "unknown", "known, with a header"} {
			if strings.HasSuffix(length, "header") && c.forwarded == "" {
				continue
			}
			r := b.do(t, "POST", "/v25.0/"+ours+"/media", c.form, func(r *http.Request) {
				if !strings.HasSuffix(length, "header") {
					r.Header.Del("Authorization")
				}
				r.Header.Set("Content-Type", `multipart/form-data; boundary="x"`)
				if length == "unknown" {
					r.ContentLength = -1
				}
			})
			want := ""
			if c.forwarded != "" {
				want = strings.TrimSpace(ours + " POST /v25.0/" + ours + "/media " + c.forwarded)
			}
			if got := b.meta.taken(); r.status != c.status || got != want {
				t.Errorf("%s, length %s: %d %s; Meta got %d bytes, want %d", name, length, r.status, r.body, len(got), len(want))
			}
			if c.status == 200 && length != "unknown" && b.meta.length != int64(len(c.forwarded)) {
				t.Errorf("%s: %d bytes announced, want %d", name, b.meta.length, len(c.forwarded))
			}
		}
	}
}

// What Meta refuses is refused with Meta's texts.
func TestDropInRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	object := func(more string) string { return metaProduct + `"to":"+15551234567",` + more + `}` }
	for name, c := range map[string]struct {
		method, path, body string
		change             func(*http.Request)
		status, code       int
		message            string
	}{
		"no token":         {"POST", metas, object(""), func(r *http.Request) { r.Header.Del("Authorization") }, 401, 104, "An access token is required to request this resource."},
		"unknown token":    {"GET", "/v25.0/" + ours + "?access_token=x", "", func(r *http.Request) { r.Header.Del("Authorization") }, 401, 190, "Invalid OAuth access token - Cannot parse access token"},
		"a path":           {"GET", "/v25.0/" + ours + "/nosuch/", "", nil, 400, 100, "Unsupported get request. Object with ID '" + ours + "' does not exist"},
		"a longer path":    {"GET", "/v25.0/" + ours + "/a/b", "", nil, 400, 100, "Unsupported get request."},
		"a method":         {"PATCH", metas, "", nil, 400, 100, "Unsupported patch request."},
		"the root":         {"POST", "/v25.0/", `{"batch":[]}`, nil, 400, 100, "Unsupported post request. Object does not exist"},
		"dots":             {"GET", "/v25.0/" + ours + "/../" + theirs, "", nil, 400, 100, "Unsupported get request."},
		"registration":     {"POST", "/v25.0/" + ours + "/register", "{}", nil, 400, 100, "Unsupported post request."},
		"PUT of a message": {"PUT", metas, object(`"type":"text","text":{"body":"hi"}`), nil, 400, 100, "Unsupported put request."},
		"no product":       {"POST", metas, hello, nil, 400, 100, "(#100) The parameter messaging_product is required."},
		"no recipient":     {"POST", metas, metaProduct + `"type":"text","text":{"body":"hi"}}`, nil, 400, 100, "(#100) The parameter to is required."},
		"unexpected key":   {"POST", metas, object(`"type":"image","image":{"id":"1","filename":"a.png"}`), nil, 400, 100, `(#100) Unexpected key "filename" on param "image".`},
		"caption of audio": {"POST", metas, object(`"type":"audio","audio":{"id":"1","caption":"a"}`), nil, 400, 100, `(#100) Unexpected key "caption" on param "audio".`},
		"a method in it":   {"POST", metas, object(`"type":"text","text":{"body":"hi"},"method":"delete"`), nil, 400, 100, `(#100) Unexpected key "method".`},
		"too long":         {"POST", metas, object(`"type":"text","text":{"body":"` + strings.Repeat("x", 4097) + `"}`), nil, 400, 100, "(#100) Param text['body']: The text body has at most 4096 characters"},
		"wait":             {"POST", metas, object(`"type":"text","text":{"body":"hi"}`), withHeader("Sluice-Wait", "delivered"), 400, 100, "(#100)"},
		"a field twice":    {"POST", metas, "to=1&to=2", withHeader("Content-Type", "application/x-www-form-urlencoded"), 400, 100, "(#100)"},
		"a file":           {"POST", metas, "--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\r\nz\r\n--x--\r\n", withHeader("Content-Type", "multipart/form-data; boundary=x"), 400, 100, "(#100)"},
		"our message":      {"GET", "/v25.0/" + message.NewID(ours, "k"), "", nil, 400, 100, "Unsupported get request. Object does not exist"},
		"marketing, text":  {"POST", "/v25.0/" + ours + "/marketing_messages", object(`"type":"text","text":{"body":"hi"}`), nil, 400, 131055, "(#131055)"},
	} {
		r := b.do(t, c.method, c.path, c.body, c.change)
		f := r.failure(t)
		if r.status != c.status || f.Code != c.code || !strings.HasPrefix(f.Message, c.message) || f.Data.Details == "" || (f.Type == "GraphMethodException") != strings.HasPrefix(c.message, "Unsupported") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if n := len(b.store.messages); n != 0 || b.meta.taken() != "" {
		t.Errorf("%d refused messages were stored, or a refused call was forwarded", n)
	}
}

// An unknown member passes with a warning at both doors.
func TestUnknownMemberWarns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	object := `"to":"+15551234567","type":"text","text":{"body":"hi","prevew_url":true}}`
	if r := b.do(t, "POST", metas, metaProduct+object, nil); r.status != 200 || r.header.Get("Sluice-Warning") != "member_unknown" {
		t.Errorf("%d %v %s", r.status, r.header, r.body)
	}
	if r := b.post(t, `{"from":"`+ours+`","message":{`+object+`}`); r.status != 202 || !strings.Contains(r.body, `"path":"message.text.prevew_url","code":"member_unknown"`) {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// Media without a number: the number of the upload, the only number of the key, or the one that Meta says it is of.
func TestMediaWithoutItsNumber(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.meta.object = map[string]any{"url": "https://lookaside.fbsbx.com/x", "mime_type": "image/png", "id": "77"}
	b.meta.owned = map[string]string{"77": theirs, "78": theirs, "79": ours}
	wide := withHeader("Authorization", "Bearer "+b.wide)
	if r := b.do(t, "POST", "/v25.0/"+theirs+"/media", "form", wide); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	b.meta.taken()
	for _, c := range []struct {
		call   string
		change func(*http.Request)
		status int
		want   string
	}{
		{"GET /v25.0/77", wide, 200, theirs + " media v25.0 77"}, // of the upload
		{"GET /v25.0/78", wide, 200, ours + " media v25.0 78\n" + theirs + " media v25.0 78"},
		{"GET /v25.0/78", wide, 200, theirs + " media v25.0 78"}, // remembered
		{"DELETE /78/", wide, 200, theirs + " media v25.0 78\n" + theirs + " DELETE /v25.0/78"},
		{"GET /v25.0/79/download", nil, 200, ours + " media v25.0 79\n" + ours + " GET /v25.0/79/download"},
		{"GET /v25.0/77", nil, 400, ours + " media v25.0 77"}, // a number that the key does not cover
		{"GET /v25.0/77?phone_number_id=" + theirs, nil, 400, ""},
	} {
		method, path, _ := strings.Cut(c.call, " ")
		r := b.do(t, method, path, "", c.change)
		if got := b.meta.taken(); r.status != c.status || got != c.want {
			t.Errorf("%s: %d %s, Meta got %q, want %q", c.call, r.status, r.body, got, c.want)
		}
	}
}

// Calls of an account need a key for one of its numbers, changes a key for all of them.
func TestAccountCalls(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.accounts[ours], b.accounts[theirs] = "900", "900"
	b.meta.objects = map[string]string{"88": "900", "99": "901"}
	wide := withHeader("Authorization", "Bearer "+b.wide)
	only := func(scope string) func(*http.Request) {
		return withHeader("Authorization", "Bearer "+b.keys[scope])
	}
	for _, c := range []struct {
		call   string
		change func(*http.Request)
		status int
		want   string // what Meta gets
	}{
		{"GET /v25.0/900/message_templates?limit=5", nil, 200, ours + " GET /v25.0/900/message_templates?limit=5"},
		{"GET /900/phone_numbers", nil, 403, ""}, // the key does not cover theirs
		{"GET /900/phone_numbers", wide, 200, ours + " GET /v25.0/900/phone_numbers"},
		{"GET /v25.0/900/pricing_analytics", nil, 403, ""},
		{"GET /v25.0/900?fields=id,analytics.start(1).granularity(DAY)", nil, 403, ""},
		{"GET /v25.0/900?fields=id,phone_numbers", nil, 403, ""},
		{"GET /v25.0/900?fields=id,phone_numbers", wide, 200, ours + " GET /v25.0/900?fields=id,phone_numbers"},
		{"GET /v25.0/900?fields=assigned_users", wide, 400, ""},
		{"GET /v25.0/900/subscribed_apps", nil, 200, ours + " GET /v25.0/900/subscribed_apps"},
		{"GET /v25.0/900?fields=id", nil, 200, ours + " GET /v25.0/900?fields=id"},
		{"GET /v25.0/900/flows", only(httpapi.ScopeSend), 403, ""},
		{"POST /v25.0/900/message_templates {}", nil, 403, ""}, // the key does not cover theirs
		{"POST /v25.0/900/message_templates {}", wide, 200, ours + " POST /v25.0/900/message_templates {}"},
		{"DELETE /v25.0/900/message_templates?name=a", wide, 200, ours + " DELETE /v25.0/900/message_templates?name=a"},
		{"POST /v25.0/900/subscribed_apps {}", wide, 200, ours + " POST /v25.0/900/subscribed_apps"},
		{"POST /v25.0/900/subscribed_apps", wide, 200, ours + " POST /v25.0/900/subscribed_apps"},
		{"POST /v25.0/900/subscribed_apps {}", nil, 403, ""},
		{"POST /v25.0/900/subscribed_apps {\"verify_token\":\"x\"}", wide, 400, ""},
		{"POST /v25.0/900/subscribed_apps?override_callback_uri=https://example.com", wide, 400, ""},
		{"DELETE /v25.0/900/subscribed_apps", wide, 400, ""},
		{"GET /v25.0/message_template_library?search=pay", nil, 200, ours + " GET /v25.0/message_template_library?search=pay"},
		{"GET /message_template_library", nil, 200, ours + " GET /v25.0/message_template_library"},
		{"GET /v25.0/message_template_library", only(httpapi.ScopeSend), 403, ""},
		{"POST /v25.0/message_template_library", nil, 400, ""},
		{"POST /v25.0/900/assigned_users {}", wide, 400, ""},
		{"POST /v25.0/900 {}", wide, 400, ""},
		{"GET /v25.0/901/message_templates", wide, 400, ""},
		{"GET /v25.0/88", nil, 200, ours + " media v25.0 88\n" + ours + " GET /v25.0/88"},
		{"POST /v25.0/88 {}", nil, 403, ""},
		{"POST /v25.0/88 {}", wide, 200, ours + " POST /v25.0/88 {}"},
		{"POST /v25.0/88/publish", wide, 200, ours + " POST /v25.0/88/publish"},
		{"GET /v25.0/88/assets", nil, 200, ours + " GET /v25.0/88/assets"},
		{"POST /v25.0/99 {}", wide, 400, ""},
		{"GET /v25.0/" + ours + "/message_history?message_id=wamid.x", nil, 200, ours + " GET /v25.0/" + ours + "/message_history?message_id=wamid.x"},
		{"POST /v25.0/" + ours + "/settings {}", only(httpapi.ScopeSend), 403, ""},
		{"POST /v25.0/" + ours + "/settings {}", only(httpapi.ScopeAccount), 200, ours + " POST /v25.0/" + ours + "/settings {}"},
		{"DELETE /v25.0/" + ours + "/block_users {}", nil, 200, ours + " DELETE /v25.0/" + ours + "/block_users {}"},
		{"GET /v25.0/" + ours + "/message_qrdls/AB12", nil, 200, ours + " GET /v25.0/" + ours + "/message_qrdls/AB12"},
		{"GET /v25.0/" + theirs + "/block_users", nil, 400, ""},
	} {
		parts := append(strings.SplitN(c.call, " ", 3), "")
		r := b.do(t, parts[0], parts[1], parts[2], c.change)
		if got := b.meta.taken(); r.status != c.status || got != c.want {
			t.Errorf("%s: %d %s, Meta got %q, want %q", c.call, r.status, r.body, got, c.want)
		}
		if r.status != 200 {
			r.failure(t)
		}
	}
	b.meta.overridden = true
	if r := b.do(t, "POST", "/v25.0/900/subscribed_apps", "", wide); r.status != 400 || !strings.Contains(r.failure(t).Data.Details, "override_callback_uri") || b.meta.taken() != "" {
		t.Errorf("it would remove the callback URL of the account: %d %s", r.status, r.body)
	}
}

// Sluice's id of a message becomes Meta's in calls that are forwarded.
func TestForwardedMessageIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	sent, queued := message.NewID(ours, "sent"), message.NewID(ours, "queued")
	b.store.records[sent] = message.Record{State: message.Sent, WAMID: "wamid.A"}
	b.store.records[queued] = message.Record{State: message.Queued}
	mark := func(id string) string { return metaProduct + `"status":"read","message_id":"` + id + `"}` }
	history := "/v25.0/" + ours + "/message_history?limit=3&message_id="
	for _, c := range []struct {
		method, path, body string
		want               string // what Meta gets; empty: the call is refused
	}{
		{"POST", metas, mark(sent), ours + " POST " + metas + ` {"messaging_product":"whatsapp","status":"read","message_id":"wamid.A"}`},
		{"PUT", metas, mark("wamid.x"), ours + " POST " + metas + " " + mark("wamid.x")},
		{"POST", metas, metaProduct + `"status":"READ","message_id":"wamid.x","typing_indicator":"{\"type\":\"text\"}"}`, ours + " POST " + metas + " " + metaProduct + `"status":"READ","message_id":"wamid.x","typing_indicator":{"type":"text"}}`},
		{"POST", metas, mark(queued), ""},
		{"POST", metas, mark(message.NewID(ours, "nosuch")), ""},
		{"POST", metas, mark(message.NewID(theirs, "sent")), ""},
		{"GET", history + sent, "", ours + " GET /v25.0/" + ours + "/message_history?limit=3&message_id=wamid.A"},
		{"GET", history + queued, "", ""},
	} {
		r := b.do(t, c.method, c.path, c.body, nil)
		if got := b.meta.taken(); got != c.want || (r.status == 200) != (c.want != "") {
			t.Errorf("%s %s: %d %s\nMeta got %q\nwant     %q", c.path, c.body, r.status, r.body, got, c.want)
		}
		if c.want == "" && r.failure(t).Code != 131009 {
			t.Errorf("%s: %s", c.body, r.body)
		}
	}
}

// Sluice-Wait: the answer is Meta's.
func TestSluiceWait(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state      message.Record
		status     int
		want, head string
	}{
		"submitted": {message.Record{State: message.Submitted, WAMID: "wamid.x"}, 200, `"messages":[{"id":"wamid.x"}]`, "submitted"},
		"rejected": {
			message.Record{State: message.Rejected, Code: 131009, Detail: message.ErrorDetail{Message: "(#131009) Parameter value is not valid", Details: "Button title length invalid.", Subcode: 7, Trace: "Az8"}},
			400, `{"error":{"message":"(#131009) Parameter value is not valid","type":"OAuthException","code":131009,"error_subcode":7,"error_data":{"messaging_product":"whatsapp","details":"Button title length invalid."},"fbtrace_id":"Az8"}}`, "rejected",
		},
		"expired": {message.Record{State: message.Expired, Reason: message.ReasonDeadline}, 400, `"code":131000`, "expired"},
		"parked":  {message.Record{State: message.Parked}, 200, `"messages":[{"id":"` + ours + `-`, "parked"},
		"never":   {message.Record{State: message.Queued}, 200, `"messages":[{"id":"` + ours + `-`, "queued"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &follower{from: time.Now().Add(300 * time.Millisecond), state: c.state}
				serve := directly(intake.Options{Acceptor: f, Reader: f})
				start := time.Now()
				w := serve("POST", metas, metaProduct+hello[1:], withHeader("Sluice-Wait", "submitted"))
				if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) || w.Header().Get("Sluice-State") != c.head || !strings.HasPrefix(w.Header().Get("Sluice-Message-Id"), ours+"-") {
					t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
				}
				defer time.Sleep(time.Minute) // the polling ends
				if took := time.Since(start); (took > 9*time.Second) != (name == "never") {
					t.Errorf("the answer came after %s", took)
				}
			})
		})
	}
}

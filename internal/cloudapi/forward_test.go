package cloudapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/cloudapi"
	"sluice/internal/version"
)

const ownToken = "canary-token-of-meta"

// forwarding is a Forwarder with a fake of Meta.
type forwarding struct {
	*cloudapi.Forwarder
	url      string
	registry *prometheus.Registry
}

// forwarder returns a Forwarder with a token, by default ownToken.
func forwarder(t *testing.T, meta http.HandlerFunc, token ...string) forwarding {
	t.Helper()
	token = append(token, ownToken)
	s := httptest.NewServer(meta)
	t.Cleanup(s.Close)
	reg := prometheus.NewRegistry()
	f, err := cloudapi.NewForwarder(cloudapi.Options{
		BaseURL: s.URL + "/", Registerer: reg,
		Token: func(number string) (string, error) {
			if number != "100" {
				return "", errors.New("no token")
			}
			return token[0], nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return forwarding{f, s.URL, reg}
}

// callers is the origin of the calls of the tests.
var callers = &url.URL{Scheme: "https", Host: "sluice.example.com"}

// Forward forwards a call that came by callers.
func (f forwarding) Forward(w http.ResponseWriter, r *http.Request, number string) {
	f.Forwarder.Forward(w, r, number, callers)
}

// ask returns a call with many parts that must not be forwarded.
func ask(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for name, value := range map[string]string{
		"Authorization": "Bearer sk_canary-key", "Cookie": "a=b", "X-Forwarded-For": "203.0.113.7", "Idempotency-Key": "k",
		"Connection": "X-Secret", "X-Secret": "s", "Content-Type": "application/json", "Accept": "*/*", "Sluice-Ref": "r", "Te": "trailers",
	} {
		r.Header.Set(name, value)
	}
	return r
}

func TestForward(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	f := forwarder(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("X-App-Usage", "{}")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":{}}`)
	})
	w := httptest.NewRecorder()
	f.Forward(w, ask("POST", "/v25.0/100/whatsapp_business_profile?fields=x&limit=5&phone_numbers[0]=1&access_token=stolen&method=post&Method=GET&access%2Etoken=stolen&ids=7&batch=[]&metadata=1", `{"about":"we"}`), "100")

	if w.Code != http.StatusBadRequest || w.Body.String() != `{"error":{}}` || w.Header().Get("X-App-Usage") == "" || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("answered %d %v %s", w.Code, w.Header(), w.Body)
	}
	if got.Method != "POST" || got.URL.String() != "/v25.0/100/whatsapp_business_profile?fields=x&limit=5&phone_numbers%5B0%5D=1" || string(body) != `{"about":"we"}` {
		t.Errorf("Meta got %s %s %s", got.Method, got.URL, body)
	}
	want := map[string]string{
		"Authorization": "Bearer " + ownToken, "Content-Type": "application/json", "Accept": "*/*", "User-Agent": version.UserAgent,
		"Content-Length": "14",
	}
	for name := range got.Header {
		if got.Header.Get(name) != want[name] && name != "Accept-Encoding" {
			t.Errorf("Meta got the header %s: %v", name, got.Header[name])
		}
	}
	for name := range want {
		if got.Header.Get(name) == "" && name != "Content-Length" {
			t.Errorf("Meta got no header %s", name)
		}
	}
	if err := testutil.GatherAndCompare(f.registry, strings.NewReader(`
# HELP sluice_graph_forwarded_total Other Graph API requests that callers sent through the producer and that it forwarded to Meta, by the class of Meta's HTTP status. none: no answer.
# TYPE sluice_graph_forwarded_total counter
sluice_graph_forwarded_total{status="2xx"} 0
sluice_graph_forwarded_total{status="3xx"} 0
sluice_graph_forwarded_total{status="4xx"} 1
sluice_graph_forwarded_total{status="5xx"} 0
sluice_graph_forwarded_total{status="none"} 0
`), "sluice_graph_forwarded_total"); err != nil {
		t.Error(err)
	}
}

// A call that cannot be forwarded gets an error in Meta's form, without a token.
func TestForwardFails(t *testing.T) {
	t.Parallel()
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			c.Close()
		}
	}
	f := forwarder(t, hangUp)
	for number, name := range map[string]string{"100": "no answer", "200": "no token", "../1": "no number"} {
		w := httptest.NewRecorder()
		f.Forward(w, ask("GET", "/v25.0/100", ""), number)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"code":2`) || strings.Contains(w.Body.String(), "canary") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if object, status, answer := f.Media(ask("GET", "/", ""), number, "v25.0", "77"); object != nil || status != 503 || !strings.Contains(string(answer), `"code":2`) {
			t.Errorf("%s: %v %d %s", name, object, status, answer)
		}
	}
	w := httptest.NewRecorder()
	r := ask("POST", "/v25.0/100/whatsapp_business_profile", strings.Repeat("x", 1<<20))
	r.Body = http.MaxBytesReader(w, r.Body, 1<<10)
	f.Forward(w, r, "100")
	if w.Code != http.StatusBadRequest && w.Code != http.StatusServiceUnavailable {
		t.Errorf("too large: %d %s", w.Code, w.Body)
	}
}

// TestForwardPassesNoOtherPath: no path makes Sluice use its token for other calls than those of the number.
func TestForwardPassesNoOtherPath(t *testing.T) {
	t.Parallel()
	f := forwarder(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("Meta got %s", r.URL) })
	for _, path := range []string{
		"/v25.0/100/messages/a/b", "/v25.0/100/messages/a-b", "/v25.0/100/media/", "/v25.0/100/../200/media", "/v25.0//100/media", "/v25.0/100%2Fmedia/x/y", "/v25.0/me", "/me/accounts",
		"/v25.0/100?fields=id,whatsapp_business_account%7Bphone_numbers%7D", "/v25.0/100?fields=id&fields=x.limit(5)", "/v25.0/100?fields=analytics.start(1){x}", "/v25.0/100?fields=analytics.phone_numbers(x{y})", "/v25.0/100?method=delete", "/v25.0/100/media%2f..%2fregister", "/v25.0/100%2e%2e/media", "/v25.0%2Fme%2F100/media", "/v25.0/100/media;x", "/", "/v25.0/100?x",
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		if path == "/v25.0/100?x" { // a question mark in the path
			u = &url.URL{Path: path}
		}
		r := ask("POST", "/", "{}")
		r.URL = u
		w := httptest.NewRecorder()
		f.Forward(w, r, "100")
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"code":100`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestForwardPassesNoParameter: the Graph API also accepts a token and a method in the body.
func TestForwardPassesNoParameter(t *testing.T) {
	t.Parallel()
	var complete atomic.Bool
	f := forwarder(t, func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			complete.Store(true)
		}
	})
	json := map[string]string{"Content-Type": "application/json"}
	form := func(fields ...string) (string, map[string]string) {
		var b strings.Builder
		m := multipart.NewWriter(&b)
		for _, name := range fields {
			part, err := m.CreateFormField(name)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(part, strings.Repeat("x", 100<<10))
		}
		m.Close()
		return b.String(), map[string]string{"Content-Type": m.FormDataContentType()}
	}
	type call struct {
		path, body string
		header     map[string]string
	}
	calls := map[string]call{
		"token":               {"whatsapp_business_profile", `{"about":"x","access_token":"stolen"}`, json},
		"method":              {"whatsapp_business_profile", `{"method":"delete"}`, json},
		"escaped":             {"whatsapp_business_profile", `{"m\u0065thod":"delete"}`, json},
		"large letters":       {"whatsapp_business_profile", `{"Access_Token":"stolen"}`, json},
		"twice":               {"whatsapp_business_profile", `{"about":"x","about":"y"}`, json},
		"no object":           {"whatsapp_business_profile", `["method"]`, json},
		"no JSON":             {"whatsapp_business_profile", `access_token=stolen`, json},
		"a dotted name":       {"whatsapp_business_profile", `{"access.token":"stolen"}`, json},
		"a list's name":       {"whatsapp_business_profile", `{"batch[0]":"x"}`, json},
		"a form":              {"whatsapp_business_profile", `access_token=stolen`, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}},
		"a form, a method":    {"whatsapp_business_profile", `about=x&method[]=delete`, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}},
		"a form, odd name":    {"whatsapp_business_profile", `about=x&access%00token=y`, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}},
		"no type":             {"whatsapp_business_profile", `access_token=stolen`, map[string]string{"Content-Type": ""}},
		"a mark as read":      {"messages", `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.A","access_token":"stolen"}`, json},
		"media as JSON":       {"media", `{"access_token":"stolen"}`, json},
		"media, no boundary":  {"media", `x`, map[string]string{"Content-Type": "multipart/form-data"}},
		"media, not a form":   {"media", `access_token=stolen`, map[string]string{"Content-Type": "multipart/form-data; boundary=x"}},
		"media, two boundary": {"media", `x`, map[string]string{"Content-Type": "multipart/form-data; boundary=x; boundary=y"}},
	}
	for _, fields := range [][]string{{"access_token"}, {"file", "method"}, {"messaging_product", "type", "file", "access_token"}, {"file", ""}} {
		body, header := form(fields...)
		calls["media with "+strings.Join(fields, ", ")] = call{"media", body, header}
	}
	for _, fields := range [][]string{{"name", "access_token"}, {"method"}, {"flow_json", "a.b"}} {
		body, header := form(fields...)
		calls["assets with "+strings.Join(fields, ", ")] = call{"assets", body, header}
	}
	body, header := form("file", "type")
	calls["media, cut off"] = call{"media", body[:len(body)-4], header}
	for name, c := range calls {
		r := ask("POST", "/v25.0/100/"+c.path, c.body)
		for k, v := range c.header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		f.Forward(w, r, "100")
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"code":100`) || complete.Swap(false) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestForwardMedia: a form with media arrives unchanged, with its length.
func TestForwardMedia(t *testing.T) {
	t.Parallel()
	var form strings.Builder
	m := multipart.NewWriter(&form)
	for name, value := range map[string]string{"messaging_product": "whatsapp", "type": "image/png"} {
		if err := m.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	file, err := m.CreateFormFile("file", "a.png")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(file, strings.Repeat("png\r\n--", 200<<10))
	m.Close()
	var got string
	var length int64
	f := forwarder(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, length = string(b), r.ContentLength
		io.WriteString(w, `{"id":"77"}`)
	})
	r := ask("POST", "/v25.0/100/media", form.String())
	r.Header.Set("Content-Type", m.FormDataContentType())
	w := httptest.NewRecorder()
	f.Forward(w, r, "100")
	if w.Code != http.StatusOK || got != form.String() || length != int64(form.Len()) {
		t.Errorf("%d %s: Meta got %d bytes of %d, announced as %d", w.Code, w.Body, len(got), form.Len(), length)
	}
}

// A call ends with its context, and gets an error in Meta's form.
func TestForwardEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	f := forwarder(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	w := httptest.NewRecorder()
	f.Forward(w, ask("GET", "/v25.0/100", "").WithContext(ctx), "100")
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"code":2`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// No answer has the access token, and links to further pages lead to Sluice.
func TestForwardKeepsTheToken(t *testing.T) {
	t.Parallel()
	const token = ownToken + "|x" // Meta encodes it in links
	var status int
	var answer string
	f := forwarder(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			t.Error("Meta was asked for a part of an answer")
		}
		w.WriteHeader(status)
		io.WriteString(w, strings.ReplaceAll(answer, "HOST", r.Host))
	}, token)
	const own = `https://sluice.example.com/v25.0/7/flows?after=MQ\u0026fields=a%2Cb\u0026limit=2`
	for name, c := range map[string]struct {
		status       int
		answer, want string
	}{
		"a page": {
			200, `{"data":[],"paging":{"cursors":{"after":"MQ"},"next" : "http:\/\/HOST\/v25.0\/7\/flows?access_token=canary-token-of-meta\u00257Cx&limit=2&after=MQ&fields=a%2Cb","previous":"https://graph.example.com/v25.0/7/flows?access_token=canary-token-of-meta|x&limit=2&after=MQ&fields=a,b"}}`,
			`{"data":[],"paging":{"cursors":{"after":"MQ"},"next" : "` + own + `","previous":"` + own + `"}}`,
		},
		"a page in a field": {200, `{"flows":{"paging":{"next":"http://HOST/v25.0/7/flows?limit=2&after=MQ&fields=a,b&method=delete"}}}`, `{"flows":{"paging":{"next":"` + own + `"}}}`},
		"another path":      {200, `{"next":"http://HOST/me/flows?access_token=canary-token-of-meta%7Cx"}`, `{"next":"http://HOST/me/flows?access_token=ACCESS_TOKEN_REMOVED"}`},
		"other values":      {200, ` {"next":null, "previous":"a\u0062", "n":12345678901234567890 ,"a":["\/","next"]}`, ` {"next":null, "previous":"a\u0062", "n":12345678901234567890 ,"a":["\/","next"]}`},
		"an error":          {400, `{"error":{"message":"Malformed access token canary-token\u002dof-meta|x","code":190}}`, `{"error":{"message":"Malformed access token ACCESS_TOKEN_REMOVED","code":190}}`},
		"not JSON":          {502, `<html>canary-token-of-meta|x</html>`, `<html>ACCESS_TOKEN_REMOVED</html>`},
		"nothing":           {204, "", ""},
	} {
		status, answer = c.status, c.answer
		w, r := httptest.NewRecorder(), ask("GET", "/v25.0/7/flows", "")
		r.Header.Set("Range", "bytes=0-9")
		f.Forward(w, r, "100")
		got := strings.ReplaceAll(w.Body.String(), strings.TrimPrefix(f.url, "http://"), "HOST")
		if w.Code != c.status || got != c.want {
			t.Errorf("%s: %d %s\nwant %s", name, w.Code, got, c.want)
		}
		if _, _, got := f.Media(ask("GET", "/v25.0/7", ""), "100", "v25.0", "7"); strings.Contains(string(got), "canary") {
			t.Errorf("%s: Media answers %s", name, got)
		}
	}
	status, answer = 200, strings.Repeat("x", 8<<20+1)
	w := httptest.NewRecorder()
	if f.Forward(w, ask("GET", "/v25.0/7/flows", ""), "100"); w.Code != 400 || !strings.Contains(w.Body.String(), "parameter limit") {
		t.Errorf("a large answer: %d %.200s", w.Code, w.Body)
	}
}

// A redirect is not followed, because its target would get the token.
func TestForwardFollowsNothing(t *testing.T) {
	t.Parallel()
	f := forwarder(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://example.com/", http.StatusFound)
	})
	w := httptest.NewRecorder()
	f.Forward(w, ask("GET", "/v25.0/100", ""), "100")
	if w.Code != http.StatusFound || w.Header().Get("Location") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestMediaAndDownload(t *testing.T) {
	t.Parallel()
	f := forwarder(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+ownToken:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.String() == "/v25.0/77?phone_number_id=100":
			fmt.Fprintf(w, `{"id":"77","url":"http://%s/bytes?a=b","mime_type":"image/png"}`, r.Host)
		case r.URL.String() == "/bytes?a=b":
			io.WriteString(w, "png")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	object, status, answer := f.Media(ask("GET", "/v25.0/77", ""), "100", "v25.0", "77")
	if status != http.StatusOK || object["mime_type"] != "image/png" {
		t.Fatalf("%v %d %s", object, status, answer)
	}
	w := httptest.NewRecorder()
	f.Download(w, ask("GET", "/v25.0/77/download", ""), "100", object["url"].(string))
	if w.Code != http.StatusOK || w.Body.String() != "png" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	here, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, elsewhere := range []string{
		"https://example.com/bytes", "http://lookaside.fbsbx.com/", "https://fbsbx.com.example.com/", "https://u@lookaside.fbsbx.com/",
		"https://lookaside.fbsbx.com:8443/", "https://" + here.Host + "/", "file:///etc/passwd", "://",
	} {
		w := httptest.NewRecorder()
		f.Download(w, ask("GET", "/", ""), "100", elsewhere)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "not on a host of Meta") {
			t.Errorf("%s: %d %s", elsewhere, w.Code, w.Body)
		}
	}
}

// What calls of numbers and accounts need passes: a DELETE with a body, forms, calls without a body, analytics.
func TestForwardPasses(t *testing.T) {
	t.Parallel()
	var got string
	f := forwarder(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.TrimSpace(r.Method + " " + r.URL.String() + " " + r.Header.Get("Content-Type") + " " + string(body))
	})
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct{ method, path, media, body, want string }{
		{"DELETE", "/v25.0/100/block_users", "application/json", `{"block_users":[{"user":"+1"}]}`, `DELETE /v25.0/100/block_users application/json {"block_users":[{"user":"+1"}]}`},
		{"DELETE", "/v25.0/100/message_qrdls/AB12", "", "", "DELETE /v25.0/100/message_qrdls/AB12"},
		{"POST", "/v25.0/7/publish", "", "", "POST /v25.0/7/publish"},
		{"POST", "/v25.0/7/flows", form, "name=a&categories[]=OTHER", "POST /v25.0/7/flows " + form + " name=a&categories[]=OTHER"},
		{"GET", "/v25.0/7?fields=id,analytics.start(1).end(2).granularity(DAY).phone_numbers([%22155%22])", "", "", "GET /v25.0/7?fields=id%2Canalytics.start%281%29.end%282%29.granularity%28DAY%29.phone_numbers%28%5B%22155%22%5D%29"},
		{"GET", "/v25.0/7?fields=id,preview.invalidate(false)", "", "", "GET /v25.0/7?fields=id%2Cpreview.invalidate%28false%29"},
		{"POST", "/v25.0/7/message_templates", "application/json; charset=utf-8", `{"name":"a","id":"7"}`, `POST /v25.0/7/message_templates application/json {"name":"a","id":"7"}`},
	} {
		r := ask(c.method, c.path, c.body)
		r.Header.Set("Content-Type", c.media)
		w := httptest.NewRecorder()
		if f.Forward(w, r, "100"); w.Code != http.StatusOK || got != c.want {
			t.Errorf("%s %s: %d %s\nMeta got %s\nwant     %s", c.method, c.path, w.Code, w.Body, got, c.want)
		}
	}
}

// What an account has is read from Meta. An object belongs to it only if Meta says so.
func TestAccountAndBelongs(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/v25.0/100?fields=health_status":                            `{"health_status":{"entities":[{"entity_type":"WABA","id":"900"}]}}`,
		"/v25.0/1?fields=whatsapp_business_account":                  `{"id":"1","whatsapp_business_account":{"id":"900"}}`,
		"/v25.0/2?fields=whatsapp_business_account":                  `{"id":"2","whatsapp_business_account":{"id":"901"}}`,
		"/v25.0/3?fields=name":                                       `{"id":"3","name":"sale"}`,
		"/v25.0/4?fields=name":                                       `{"id":"4","name":"sale"}`,
		"/v25.0/900/message_templates?fields=id&limit=250&name=sale": `{"data":[{"id":"5"},{"id":"3"}]}`,
		"/v25.0/900/subscribed_apps":                                 `{"data":[{"whatsapp_business_api_data":{"id":"1"}}]}`,
		"/v25.0/901/subscribed_apps":                                 `{"data":[{"whatsapp_business_api_data":{"id":"1"},"override_callback_uri":"https://example.com/hook"}]}`,
	}
	f := forwarder(t, func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.String()]
		if !ok {
			w.WriteHeader(http.StatusBadRequest)
			answer = `{"error":{"code":100,"error_subcode":33}}`
		}
		io.WriteString(w, answer)
	})
	if account, err := f.Account(t.Context(), "100"); account != "900" || err != nil {
		t.Errorf("%q %v", account, err)
	}
	for id, want := range map[string]bool{"1": true, "2": false, "3": true, "4": false, "6": false} {
		if got, err := f.Belongs(t.Context(), "100", "900", id); got != want || err != nil {
			t.Errorf("%s: %t %v", id, got, err)
		}
	}
	for account, want := range map[string]bool{"900": false, "901": true} {
		if got, err := f.Overridden(t.Context(), "100", account); got != want || err != nil {
			t.Errorf("%s: %t %v", account, got, err)
		}
	}
	_, err1 := f.Belongs(t.Context(), "200", "900", "1")
	_, err2 := f.Overridden(t.Context(), "200", "900")
	if err1 == nil || err2 == nil {
		t.Error("a number without a token")
	}
}

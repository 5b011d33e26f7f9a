package intake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/message"
)

// meta is a fake of Meta. It records the forwarded calls.
type meta struct {
	mu     sync.Mutex
	calls  []string // "<number> <method> <path>?<query> <body>"
	object map[string]any
	owned  map[string]string // the number that a media object belongs to; nil: object belongs to every number
	away   bool
	left   []time.Duration // the time limit of each call; 0: none
	length int64           // of the body of the last call, as announced

	objects    map[string]string // the accounts of flows and templates
	overridden bool              // the webhooks of accounts go to URLs of their own
}

func (m *meta) Overridden(context.Context, string, string) (bool, error) { return m.overridden, nil }

func (m *meta) Belongs(_ context.Context, _, account, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[id] == account, nil
}

// limit records the time limit of a call.
func (m *meta) limit(r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var left time.Duration
	if at, ok := r.Context().Deadline(); ok {
		left = time.Until(at)
	}
	m.left = append(m.left, left)
}

// timeLeft returns the time limits since the last call of timeLeft.
func (m *meta) timeLeft() []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() { m.left = nil }()
	return m.left
}

// unless answers like the real forwarder when Meta is unavailable.
func (m *meta) unless(w http.ResponseWriter) bool {
	if m.away {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, failed)
	}
	return m.away
}

const notFound = `{"error":{"message":"x","type":"GraphMethodException","code":100,"error_subcode":33,"fbtrace_id":""}}`

const failed = `{"error":{"message":"x","type":"OAuthException","code":2,"fbtrace_id":""}}`

func (m *meta) note(r *http.Request, number string) {
	m.limit(r)
	body, _ := io.ReadAll(r.Body)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.length = r.ContentLength
	m.calls = append(m.calls, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", number, r.Method, r.URL.RequestURI(), body)))
}

func (m *meta) Forward(w http.ResponseWriter, r *http.Request, number string, origin *url.URL) {
	if m.unless(w) {
		return
	}
	m.note(r, number)
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "/media") {
		io.WriteString(w, `{"id":"77"}`)
		return
	}
	w.Header().Set("Test-Origin", origin.String())
	io.WriteString(w, `{"success":true}`)
}

func (m *meta) Media(r *http.Request, number, version, id string) (map[string]any, int, []byte) {
	if m.away {
		return nil, 503, []byte(failed)
	}
	m.limit(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, number+" media "+version+" "+id)
	if m.owned != nil && m.owned[id] != number {
		return nil, 400, []byte(notFound)
	}
	return m.object, 200, nil
}

func (m *meta) Download(w http.ResponseWriter, r *http.Request, number, url string) {
	if m.unless(w) {
		return
	}
	m.note(r, number)
	w.Header().Set("Content-Type", "image/png")
	io.WriteString(w, "bytes of "+url)
}

// taken returns the calls since the last call of taken.
func (m *meta) taken() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() { m.calls = nil }()
	return strings.Join(m.calls, "\n")
}

// failure returns the error of the answer, in the form of Meta's errors.
func (r reply) failure(t *testing.T) (f struct {
	Message, Type string
	Code          int
	Subcode       int                      `json:"error_subcode"`
	Data          struct{ Details string } `json:"error_data"`
	Trace         string                   `json:"fbtrace_id"`
},
) {
	t.Helper()
	var e struct{ Error *json.RawMessage }
	if err := json.Unmarshal([]byte(r.body), &e); err != nil || e.Error == nil {
		t.Fatalf("not an error in Meta's form: %v in %q", err, r.body)
	}
	if err := json.Unmarshal(*e.Error, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

const metas = "/v25.0/" + ours + "/messages"

func TestGraphSend(t *testing.T) {
	t.Parallel()
	b := setup(t)
	expires := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	body := `{"messaging_product":"whatsapp","to":"+1 (555) 123-4567","type":"template","template":{"name":"shipped","language":{"code":"en_US"}}}`
	headers := func(r *http.Request) {
		for name, value := range map[string]string{
			"Sluice-Class": "marketing", "Sluice-Ref": "order-1", "Sluice-Tags": "spring, loyal",
			"Sluice-Send-At": "2030-01-01T00:00:00Z", "Sluice-Expires-At": expires.Format(time.RFC3339), "Idempotency-Key": "k",
		} {
			r.Header.Set(name, value)
		}
	}
	b.do(t, "POST", metas, body, nil) // without any
	for _, replayed := range []string{"", "true"} {
		r := b.do(t, "POST", metas, body, func(r *http.Request) { headers(r); r.Header.Del("Sluice-Send-At") })
		want := `{"messaging_product":"whatsapp","contacts":[{"input":"+1 (555) 123-4567","wa_id":"15551234567"}],` +
			`"messages":[{"id":"` + message.NewID(ours, "k") + `","message_status":"accepted"}]}`
		if r.status != http.StatusOK || strings.TrimSpace(r.body) != want || r.header.Get("Idempotent-Replayed") != replayed {
			t.Errorf("%d %v %s", r.status, r.header, r.body)
		}
	}
	m := b.store.messages[message.NewID(ours, "k")]
	if m.From != ours || m.Class != message.Marketing || m.Ref != "order-1" || strings.Join(m.Tags, "|") != "spring|loyal" ||
		!m.ExpiresAt.Equal(expires) || m.Content.To != "+15551234567" || string(m.Payload) != strings.Replace(body, "+1 (555) 123-4567", "+15551234567", 1) {
		t.Errorf("%+v", m)
	}
	if r := b.do(t, "POST", metas, body, headers); r.status != 400 || !strings.Contains(r.failure(t).Data.Details, "Sluice-Send-At: ") { // too far ahead
		t.Errorf("%d %s", r.status, r.body)
	}
}

// SDKs send query parameters of the Graph API with a message. Sluice ignores them, as Meta ignores those that it does
// not know.
func TestGraphSendIgnoresTheQuery(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.do(t, "POST", metas+"?debug=all&debug=x&access_token=&limit", `{"messaging_product":"whatsapp",`+hello[1:], withHeader("Idempotency-Key", "k"))
	if m := b.store.messages[message.NewID(ours, "k")]; r.status != http.StatusOK || strings.Contains(string(m.Payload), "debug") || b.meta.taken() != "" {
		t.Errorf("%d %s, stored %s", r.status, r.body, m.Payload)
	}
}

// A phone number without a plus goes to Meta unchanged, because Meta interprets it.
func TestGraphSendWithoutPlus(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.do(t, "POST", metas, `{"messaging_product":"whatsapp","to":"1555 1234567","text":{"body":"hi"}}`, withHeader("Idempotency-Key", "k"))
	if r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if m := b.store.messages[message.NewID(ours, "k")]; m.Content.To != "15551234567" || m.Content.Type != "text" {
		t.Errorf("%+v", m.Content)
	}
}

func TestGraphRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	product := `{"messaging_product":"whatsapp",`
	for name, c := range map[string]struct {
		path, body string
		change     func(*http.Request)
		status     int
		code       int
		details    string
	}{
		"no key":          {metas, product + hello[1:], func(r *http.Request) { r.Header.Del("Authorization") }, 401, 104, "API key"},
		"unknown key":     {metas, product + hello[1:], withHeader("Authorization", "Bearer EAAx"), 401, 190, "API key"},
		"other number's":  {metas, product + `"context":{"message_id":"` + message.NewID(theirs, "k") + `"},` + hello[1:], nil, 400, 131009, "context.message_id: "},
		"revoked":         {metas, product + hello[1:], func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+b.revoked) }, 401, 190, "revoked"},
		"no scope":        {metas, product + hello[1:], func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+b.readOnly) }, 403, 10, "scope"},
		"their number":    {"/v25.0/" + theirs + "/messages", product + hello[1:], nil, 400, 100, "phone number id"},
		"no JSON":         {metas, "{", nil, 400, 100, "JSON"},
		"no product":      {metas, hello, nil, 400, 100, "messaging_product: "},
		"no recipient":    {metas, product + `"type":"text","text":{"body":"hi"}}`, nil, 400, 100, "to: "},
		"too long":        {metas, product + `"to":"+15551234567","type":"text","text":{"body":"` + strings.Repeat("x", 4097) + `"}}`, nil, 400, 100, "text.body: "},
		"long title":      {metas, product + `"to":"+15551234567","type":"interactive","interactive":{"type":"button","body":{"text":"?"},"action":{"buttons":[{"type":"reply","reply":{"id":"1","title":"` + strings.Repeat("x", 21) + `"}}]}}}`, nil, 400, 131009, "title: "},
		"empty body":      {metas, product + `"to":"+15551234567","type":"text","text":{"body":""}}`, nil, 400, 131008, "text.body: "},
		"unknown type":    {metas, product + `"to":"+15551234567","type":"telegram"}`, func(*http.Request) { b.refuse = true }, 400, 100, "type: "},
		"unknown class":   {metas, product + hello[1:], withHeader("Sluice-Class", "urgent"), 400, 100, "Sluice-Class: "},
		"misspelled":      {metas, product + hello[1:], withHeader("sluice-expires", "2030-01-01T00:00:00Z"), 400, 100, "Sluice-Expires: Sluice has no header with this name."},
		"a long header":   {metas, product + hello[1:], withHeader("Sluice-"+strings.Repeat("x", 99), ""), 400, 100, "Sluice-...: "},
		"unknown, passed": {"/v25.0/" + ours + "/media", "", withHeader("Sluice-Klass", "urgent"), 400, 100, "Sluice-Klass: "},
		"a token inside":  {metas, product + `"Access.Token":"EAAG",` + hello[1:], nil, 400, 100, "access_token: "},
		"a method inside": {metas, product + `"Method":"delete",` + hello[1:], nil, 400, 100, "method: "},
		"a mark's token":  {metas, product + `"status":"read","message_id":"wamid.x","Access.Token":"EAAG"}`, nil, 400, 100, "access_token: "},
		"long tag":        {metas, product + hello[1:], withHeader("Sluice-Tags", "a,"+strings.Repeat("x", 65)), 400, 100, "Sluice-Tags: "},
		"nothing there":   {"/v25.0/" + ours + "/register", "{}", nil, 400, 100, ""},
		"bad mark":        {metas, product + `"status":"read"}`, nil, 400, 100, "message_id: "},
		"not JSON's type": {metas, product + hello[1:], withHeader("Content-Type", "text/plain"), 400, 100, "JSON"},
	} {
		r := b.do(t, "POST", c.path, c.body, c.change)
		f := r.failure(t)
		if r.status != c.status || f.Code != c.code || !strings.Contains(f.Data.Details, c.details) || f.Trace == "" || (f.Type == "GraphMethodException") != (f.Subcode == 33) {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	b.store.err = fmt.Errorf("connection refused")
	if r := b.do(t, "POST", metas, product+hello[1:], nil); r.status != 503 || r.failure(t).Code != 2 || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	b.store.err = nil
	b.eta = func(context.Context, string, message.Class) (time.Duration, error) { return 100 * time.Hour, nil }
	if r := b.do(t, "POST", metas, product+hello[1:], nil); r.status != 429 || r.failure(t).Code != 130429 || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if n := len(b.store.messages); n != 0 || b.meta.taken() != "" {
		t.Errorf("%d refused messages were stored", n)
	}
}

// A few calls of a number are forwarded, for keys that cover the number.
func TestGraphPasses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	mark := `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x","typing_indicator":{"type":"text"}}`
	b.meta.object = map[string]any{"url": "https://lookaside.fbsbx.com/x", "mime_type": "image/png", "id": "77"}
	for call, want := range map[string]string{
		"POST " + metas + " " + mark:                                       ours + " POST " + metas + " " + mark,
		"GET /v25.0/" + ours + "?fields=display_phone_number":              ours + " GET /v25.0/" + ours + "?fields=display_phone_number",
		"POST /v25.0/" + ours + "/media {}":                                ours + " POST /v25.0/" + ours + "/media {}",
		"GET /v25.0/" + ours + "/whatsapp_business_profile?fields=about":   ours + " GET /v25.0/" + ours + "/whatsapp_business_profile?fields=about",
		"POST /v25.0/" + ours + `/whatsapp_business_profile {"about":"x"}`: ours + " POST /v25.0/" + ours + `/whatsapp_business_profile {"about":"x"}`,
		"GET /v25.0/77":                         ours + " media v25.0 77",
		"GET /v25.0/77?phone_number_id=" + ours: ours + " media v25.0 77",
		"DELETE /v25.0/77":                      ours + " media v25.0 77\n" + ours + " DELETE /v25.0/77",
		"GET /v25.0/77/download":                ours + " media v25.0 77\n" + ours + " GET /v25.0/77/download",
	} {
		parts := strings.SplitN(call, " ", 3)
		body := strings.Join(parts[2:], "")
		if r := b.do(t, parts[0], parts[1], body, nil); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", call, r.status, r.body)
		}
		if got := b.meta.taken(); got != want {
			t.Errorf("%s: Meta got %q, want %q", call, got, want)
		}
	}
	if r := b.do(t, "GET", "/v25.0/77?phone_number_id="+ours, "", nil); !strings.Contains(r.body, `"url":"`+b.URL+`/v25.0/77/download?phone_number_id=`+ours) {
		t.Errorf("media: %s", r.body)
	}
	if r := b.do(t, "GET", "/v25.0/"+ours, "", withHeader("X-Forwarded-Proto", "https")); r.header.Get("Test-Origin") != "https"+strings.TrimPrefix(b.URL, "http") {
		t.Errorf("links to pages lead to %s", r.header.Get("Test-Origin"))
	}
	b.meta.taken()
	for _, call := range []string{
		"GET /v25.0/" + theirs,
		"POST /v25.0/" + theirs + "/media",
		"GET /v25.0/77?phone_number_id=" + theirs,
		"POST /v25.0/" + ours + "/deregister",
		"POST /v25.0/" + ours,
		"PATCH /v25.0/" + ours,
		"GET /v25.0/" + ours + "/nosuch",
		"GET /v25.0",
		"GET /v25.0/debug_token",
		"GET /me",
		"DELETE /v25.0/" + ours,
		"GET /v25.0/me",
		"GET /v25.0/77/message_templates",
	} {
		method, path, _ := strings.Cut(call, " ")
		if method == "DELETE" {
			b.meta.object = map[string]any{"id": ours, "display_phone_number": "x"} // no media
		}
		if r := b.do(t, method, path, "", nil); r.status != http.StatusBadRequest || r.failure(t).Code != 100 {
			t.Errorf("%s: %d %s", call, r.status, r.body)
		}
		if got := b.meta.taken(); got != "" && !strings.Contains(got, " media ") {
			t.Errorf("%s reached Meta: %s", call, got)
		}
	}
}

// A path is decoded before it is matched: an encoded slash, dot or digit means what Meta would read, and Meta gets
// the decoded path.
func TestGraphPathsAreDecodedFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for path, want := range map[string]string{
		"/v25.0/" + ours + "%2Fmedia":                         ours + " POST /v25.0/" + ours + "/media {}",
		"/v25.0/" + ours + "/%6dedia":                         ours + " POST /v25.0/" + ours + "/media {}",
		"/v25%2e0/" + ours + "/media":                         ours + " POST /v25.0/" + ours + "/media {}",
		"/v25.0%2F" + theirs + "/" + ours + "/media":          "",
		"/v25.0%2Fme/" + ours + "/media":                      "",
		"/v25.0/" + ours + "%2F..%2F" + theirs + "/media":     "",
		"/v25.0/%2e%2e/" + ours + "/media":                    "",
		"/v25.0/" + ours + "/media%2F..%2Fregister":           "",
		"/v25.0/" + ours + "%252Fmedia":                       "",
		"/v25.0/" + ours + "/media%3Faccess_token=x":          "",
		"/v25.0/" + theirs + "%2f%2e%2e%2f" + ours + "/media": "",
	} {
		r := b.do(t, "POST", path, "{}", nil)
		if got := b.meta.taken(); got != want || (r.status == http.StatusOK) != (want != "") {
			t.Errorf("%s: %d %s, Meta got %q, want %q", path, r.status, r.body, got, want)
		}
	}
}

// The time limit of a forwarded call ends before the time limit of the server.
func TestGraphCallsHaveALimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.meta.object = map[string]any{"url": "https://lookaside.fbsbx.com/x", "mime_type": "image/png", "id": "77"}
	for call, most := range map[string]time.Duration{
		"POST " + metas:                  10 * time.Second,
		"GET /v25.0/" + ours:             10 * time.Second,
		"POST /v25.0/" + ours + "/media": 5 * time.Minute,
		"GET /v25.0/77":                  10 * time.Second,
		"DELETE /v25.0/77":               10 * time.Second,
		"GET /v25.0/77/download":         5 * time.Minute,
	} {
		method, path, _ := strings.Cut(call, " ")
		b.do(t, method, path, `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}`, nil)
		left := b.meta.timeLeft()
		if left == nil {
			t.Errorf("%s did not reach Meta", call)
		}
		for _, d := range left {
			if d <= 0 || d >= most {
				t.Errorf("%s may take %s, want less than %s", call, d, most)
			}
		}
	}
}

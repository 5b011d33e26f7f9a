package intake_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/content"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// Requests and their refusals. The tests of package content cover the codes of messages.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bearer := func(token string) func(*http.Request) { return withHeader("Authorization", "Bearer "+token) }
	key := func(values ...string) func(*http.Request) { return withHeader("Idempotency-Key", values...) }
	text := func(s string) string { return strings.Replace(envelope(""), `"hi"`, s, 1) }
	deep := strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)
	ahead := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	cases := []struct {
		name   string
		change func(*http.Request)
		body   string
		status int
		code   string
		path   string
	}{
		{"no key", func(r *http.Request) { r.Header.Del("Authorization") }, envelope(""), 401, "unauthenticated", ""},
		{"Basic", func(r *http.Request) { r.SetBasicAuth("a", "b") }, envelope(""), 401, "unauthenticated", ""},
		{"Basic with a good token", withHeader("Authorization", "Basic "+b.narrow), envelope(""), 401, "unauthenticated", ""},
		{"unknown key", bearer(httpapi.NewToken()), envelope(""), 401, "unauthenticated", ""},
		{"the hash as key", bearer(httpapi.HashToken(b.narrow)), envelope(""), 401, "unauthenticated", ""},
		{"two keys", withHeader("Authorization", "Bearer "+b.narrow, "Bearer "+b.narrow), envelope(""), 400, "header_duplicate", ""},
		{"expired", bearer(b.expired), envelope(""), 401, "api_key_expired", ""},
		{"revoked", bearer(b.revoked), envelope(""), 401, "api_key_revoked", ""},
		{"no scope", bearer(b.readOnly), envelope(""), 403, "scope_missing", ""},
		{"number of others", nil, strings.Replace(envelope(""), ours, theirs, 1), 404, "phone_number_id_not_found", "from"},
		{"number unknown", bearer(b.wide), strings.Replace(envelope(""), ours, "9", 1), 404, "phone_number_id_not_found", "from"},
		{"number unknown and more", nil, `{"from":"9"}`, 404, "phone_number_id_not_found", "from"},

		{"text/plain", withHeader("Content-Type", "text/plain"), envelope(""), 415, "unsupported_media_type", ""},
		{"no media type", withHeader("Content-Type"), envelope(""), 415, "unsupported_media_type", ""},
		{"gzip", withHeader("Content-Encoding", "gzip"), envelope(""), 415, "encoding_not_supported", ""},

		{"empty", nil, "", 400, "body_empty", ""},
		{"white space", nil, " \n", 400, "body_empty", ""},
		{"cut", nil, "{", 400, "json_invalid", ""},
		{"trailing", nil, envelope("") + " x", 400, "json_trailing_data", ""},
		{"array", nil, "[]", 400, "json_not_object", ""},
		{"twice", nil, strings.Replace(envelope(""), `"to"`, `"to":"+1","to"`, 1), 400, "json_duplicate_member", "message.to"},
		{"deep", nil, envelope(`,"ref":` + deep), 400, "json_too_deep", ""},
		{"no UTF-8", nil, text("\"\xff\""), 400, "utf8_invalid", ""},
		{"half a pair", nil, text(`"\ud800"`), 400, "utf8_invalid", "message.text.body"},
		{"NUL", nil, text(`"a\u0000"`), 422, "char_not_allowed", "message.text.body"},
		{"300 KiB", nil, text(`"` + strings.Repeat("a", 300<<10) + `"`), 413, "body_too_large", ""},

		{"unknown member", nil, envelope(`,"ttl_seconds":60`), 422, "field_unknown", "ttl_seconds"},
		{"member in capitals", nil, envelope(`,"Ref":"7"`), 422, "field_unknown", "Ref"},
		{"from missing", nil, `{"message":` + hello + `}`, 422, "from_missing", "from"},
		{"from null", nil, `{"from":null,"message":` + hello + `}`, 422, "from_missing", "from"},
		{"from number", nil, `{"from":7,"message":` + hello + `}`, 422, "type_mismatch", "from"},
		{"from a phone number", nil, `{"from":"+15551234567","message":` + hello + `}`, 422, "from_invalid", "from"},
		{"message missing", nil, `{"from":"` + ours + `"}`, 422, "message_missing", "message"},
		{"message string", nil, `{"from":"` + ours + `","message":"hi"}`, 422, "type_mismatch", "message"},
		{"message wrong", nil, text(`""`), 422, "text_empty", "message.text.body"},
		{"class unknown", nil, envelope(`,"class":"urgent"`), 422, "class_unknown", "class"},
		{"class number", nil, envelope(`,"class":1`), 422, "type_mismatch", "class"},
		{"ref empty", nil, envelope(`,"ref":""`), 422, "ref_invalid", "ref"},
		{"ref 256", nil, envelope(`,"ref":"` + strings.Repeat("é", 256) + `"`), 422, "ref_invalid", "ref"},
		{"ref with escape", nil, envelope(`,"ref":"\u001b[2J"`), 422, "ref_invalid", "ref"},
		{"tags string", nil, envelope(`,"tags":"a"`), 422, "type_mismatch", "tags"},
		{"tag number", nil, envelope(`,"tags":["a",1]`), 422, "type_mismatch", "tags[1]"},
		{"11 tags", nil, envelope(`,"tags":["0","1","2","3","4","5","6","7","8","9","a"]`), 422, "tags_too_many", "tags"},
		{"tag 65", nil, envelope(`,"tags":["a","` + strings.Repeat("é", 65) + `"]`), 422, "tag_invalid", "tags[1]"},
		{"campaign .", nil, envelope(`,"campaign":"."`), 422, "tag_invalid", "campaign"},
		{"campaign ..", nil, envelope(`,"campaign":".."`), 422, "tag_invalid", "campaign"},
		{"tag empty", nil, envelope(`,"tags":[""]`), 422, "tag_invalid", "tags[0]"},

		{"no such day", nil, envelope(`,"send_at":"2026-02-30T00:00:00Z"`), 422, "time_invalid", "send_at"},
		{"time number", nil, envelope(`,"send_at":1764000000`), 422, "type_mismatch", "send_at"},
		{"the year 1", nil, envelope(`,"expires_at":"0001-01-01T00:00:00Z"`), 422, "time_invalid", "expires_at"},
		{"91 days", nil, envelope(`,"send_at":"` + ahead(91*24*time.Hour) + `"`), 422, "send_at_too_far", "send_at"},
		{"due after its end", nil, envelope(`,"send_at":"` + ahead(2*time.Hour) + `","expires_at":"` + ahead(time.Hour) + `"`), 422, "send_at_after_expires_at", "send_at"},
		{"already over", nil, envelope(`,"expires_at":"` + ahead(-time.Second) + `"`), 422, "expires_at_invalid", "expires_at"},

		{"after string", nil, envelope(`,"after":"k"`), 422, "after_invalid", "after"},
		{"after without a message", nil, envelope(`,"after":{"state":"sent"}`), 422, "after_invalid", "after"},
		{"after with two messages", nil, envelope(`,"after":{"id":"` + ours + `-a","key":"k","state":"sent"}`), 422, "after_invalid", "after"},
		{"after, unknown member", nil, envelope(`,"after":{"key":"k","state":"sent","delay":"1h"}`), 422, "field_unknown", "after.delay"},
		{"after, key number", nil, envelope(`,"after":{"key":7,"state":"sent"}`), 422, "type_mismatch", "after.key"},
		{"after, no state", nil, envelope(`,"after":{"key":"k"}`), 422, "after_state_unknown", "after.state"},
		{"after, other state", nil, envelope(`,"after":{"key":"k","state":"failed"}`), 422, "after_state_unknown", "after.state"},
		{"after, other number", nil, envelope(`,"after":{"id":"` + message.NewID(theirs, "k") + `","state":"sent"}`), 422, "after_other_number", "after.id"},
		{"after, no id", nil, envelope(`,"after":{"id":"wamid.X","state":"sent"}`), 422, "after_other_number", "after.id"},
		{"after, within", nil, envelope(`,"after":{"key":"k","state":"sent","within":"2 hours"}`), 422, "duration_invalid", "after.within"},
		{"after, within 91 days", nil, envelope(`,"after":{"key":"k","state":"sent","within":"2184h"}`), 422, "duration_invalid", "after.within"},
		{"after itself", nil, envelope(`,"key":"k","after":{"key":"k","state":"sent"}`), 422, "after_itself", "after"},
		{"after and send_at", nil, envelope(`,"send_at":"` + ahead(time.Hour) + `","after":{"key":"k","state":"sent"}`), 422, "send_at_with_after", "send_at"},
		{"after nothing", nil, envelope(`,"after":{"key":"nobody","state":"sent"}`), 422, "after_not_found", "after"},
		{"after a crowd", nil, envelope(`,"after":{"key":"crowd","state":"sent"}`), 422, "after_too_many", "after"},

		{"key 256", nil, envelope(`,"key":"` + strings.Repeat("k", 256) + `"`), 422, "idempotency_key_invalid", "key"},
		{"key not ASCII", nil, envelope(`,"key":"é"`), 422, "idempotency_key_invalid", "key"},
		{"key with control", nil, envelope(`,"key":"a\tb"`), 422, "idempotency_key_invalid", "key"},
		{"key empty", nil, envelope(`,"key":""`), 422, "idempotency_key_invalid", "key"},
		{"header key 256", key(strings.Repeat("k", 256)), envelope(""), 422, "idempotency_key_invalid", "Idempotency-Key"},
		{"header key empty", key(""), envelope(""), 422, "idempotency_key_invalid", "Idempotency-Key"},
		{"header key twice", key("a", "a"), envelope(""), 400, "header_duplicate", "Idempotency-Key"},
		{"keys differ", key("a"), envelope(`,"key":"b"`), 422, "idempotency_key_mismatch", "key"},
	}
	described := string(b.in.Document().OpenAPI())
	for _, r := range content.Rules() {
		described += "`" + r.Code + "`" // docs/messages.md has these
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(described, "`"+c.code+"`") {
				t.Errorf("no route has %s in its Codes", c.code)
			}
			r := b.do(t, http.MethodPost, "/v1/messages", c.body, c.change)
			if r.header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%d is not a problem document: %s", r.status, r.body)
			}
			p := r.problem(t)
			if stored := c.code == "after_not_found" || c.code == "after_too_many"; !stored { // the others are found without storing anything
				if check := b.do(t, http.MethodPost, "/v1/messages/check", c.body, c.change).problem(t); check.Code != p.Code || check.Errors[0].Path != p.Errors[0].Path {
					t.Errorf("a check answers %s at %q", check.Code, check.Errors[0].Path)
				}
			}
			if r.status != c.status || p.Code != c.code || p.Errors[0].Path != c.path && c.code != "json_too_deep" {
				t.Errorf("got %d %s at %q, want %d %s at %q", r.status, p.Code, p.Errors[0].Path, c.status, c.code, c.path)
			}
			if p.Status != r.status || p.Title == "" || p.Detail == "" || p.Type != "about:blank" || p.RequestID != r.header.Get("X-Request-Id") {
				t.Errorf("incomplete: %s", r.body)
			}
			for _, e := range p.Errors {
				if e.Code == "" || e.Detail == "" || e.Fix == "" {
					t.Errorf("incomplete: %+v", e)
				}
			}
			if c.status == http.StatusUnauthorized && r.header.Get("WWW-Authenticate") != "Bearer" {
				t.Error("no WWW-Authenticate")
			}
		})
	}
	if len(b.store.messages) != 0 {
		t.Errorf("%d messages were stored", len(b.store.messages))
	}
}

func TestSeveralProblemsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.post(t, `{"from":"`+ours+`","class":"urgent","wait":true,"message":{"to":"15551234567","type":"text","text":{"body":""}}}`)
	var got []string
	for _, e := range r.problem(t).Errors {
		got = append(got, e.Path+" "+e.Code)
	}
	want := "wait field_unknown, class class_unknown, message.to recipient_needs_plus, message.text.body text_empty"
	if s := strings.Join(got, ", "); r.status != http.StatusUnprocessableEntity || s != want {
		t.Errorf("got %d %s\nwant 422 %s", r.status, s, want)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var more strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&more, `,"m%d":1`, i)
	}
	if r := b.post(t, envelope(more.String())); len(r.problem(t).Errors) != 20 {
		t.Errorf("%d problems for 1000 mistakes, want 20", len(r.problem(t).Errors))
	}
}

func TestAnswersNeverRepeatTheInput(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, body := range []string{
		`{"hunter2 <b>":1,"from":"hunter2","class":"hunter2","key":"hunter2é","send_at":"hunter2","message":"hunter2"}`,
		`{"from":"` + ours + `","hunter2 <b>":1,"hunter2 <b>":2}`,
		`hunter2`,
	} {
		r := b.do(t, "POST", "/v1/messages", body, withHeader("X-Request-Id", "hunter2 <b>"))
		if r.status < 400 || strings.Contains(r.body, "hunter2") || strings.Contains(r.header.Get("X-Request-Id"), "hunter2") {
			t.Errorf("%d repeats its input: %s", r.status, r.body)
		}
	}
}

// Requests that no client library sends.
func TestBrokenBodies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	head := "POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nAuthorization: Bearer " + b.narrow + "\r\n"
	for name, c := range map[string]struct{ request, status, code string }{
		"shorter Content-Length": {head + "Content-Length: 20\r\n\r\n" + envelope(""), "400", "json_invalid"},
		"never ends":             {head + "Content-Length: 200\r\n\r\n{", "408", "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", b.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			if s := string(answer); !strings.HasPrefix(s, "HTTP/1.1 "+c.status+" ") || !strings.Contains(s, `"code":"`+c.code+`"`) {
				t.Errorf("answer: %s", s)
			}
		})
	}
}

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

// refused is a request that the API refuses, and its answer.
type refused struct {
	name   string
	change http.Header
	body   string
	status int
	code   string
	path   string // of the first problem; not looked at where it is empty
}

// refuses: the API refuses wrong requests in the form of RFC 9457, and its answers quote none of their values.
func (s *site) refuses(t *testing.T) {
	bearer := func(token string) http.Header { return http.Header{"Authorization": {token}} }
	key := func(values ...string) http.Header { return http.Header{"Idempotency-Key": values} }
	swap := func(old, with string) string { return strings.Replace(order(""), old, with, 1) }
	to := func(value string) string { return swap(`"+15551234567"`, value) }
	body := func(text string) string { return swap(`"secret text"`, `"`+text+`"`) }
	object := func(content string) string { return swap(hello, `{"to":"+15551234567",`+content+`}`) }
	image := func(members string) string { return object(`"type":"image","image":{` + members + `}`) }
	link := func(url string) string { return image(`"link":"` + url + `"`) }
	template := func(members string) string { return object(`"type":"template","template":{` + members + `}`) }
	parameter := func(text string) string {
		return template(`"name":"order","language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"` + text + `"}]}]`)
	}
	buttons := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{"type":"reply","reply":{"id":"%d","title":"Choice %d"}}`, i, i))
		}
		return object(`"type":"interactive","interactive":{"type":"button","body":{"text":"?"},"action":{"buttons":[` + strings.Join(all, ",") + `]}}`)
	}
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

	rows := []refused{
		{"no key", http.Header{"Authorization": nil}, order(""), 401, "unauthenticated", ""},
		{"another scheme", bearer("Basic " + wide), order(""), 401, "unauthenticated", ""},
		{"an unknown key", bearer("Bearer unknown"), order(""), 401, "unauthenticated", ""},
		{"a revoked key", bearer("Bearer " + revoked), order(""), 401, "api_key_revoked", ""},
		{"a key that may only read", bearer("Bearer " + reader), order(""), 403, "scope_missing", ""},
		{"a number of others", bearer("Bearer " + narrow), swap(ours, theirs), 404, "phone_number_id_not_found", "from"},

		{"no JSON by its type", http.Header{"Content-Type": {"text/plain"}}, order(""), 415, "unsupported_media_type", ""},
		{"compressed", http.Header{"Content-Encoding": {"gzip"}}, order(""), 415, "encoding_not_supported", ""},
		{"nothing", nil, "", 400, "body_empty", ""},
		{"cut JSON", nil, "{", 400, "json_invalid", ""},
		{"more behind the JSON", nil, order("") + "x", 400, "json_trailing_data", ""},
		{"an array", nil, "[" + order("") + "]", 400, "json_not_object", ""},
		{"a member twice", nil, swap(`"to"`, `"to":"+15557654321","to"`), 400, "json_duplicate_member", "message.to"},
		{"1,000 deep", nil, order(`,"ref":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000)), 400, "json_too_deep", ""},
		{"300 KiB", nil, body(strings.Repeat("a", 300<<10)), 413, "body_too_large", ""},
		{"bytes that are no UTF-8", nil, body("\xff\xfe"), 400, "utf8_invalid", ""},
		{"half of a surrogate pair", nil, body(`\ud800`), 400, "utf8_invalid", "message.text.body"},
		{"NUL", nil, body(`a\u0000`), 422, "char_not_allowed", "message.text.body"},

		{"a member of no envelope", nil, order(`,"ttl_seconds":60`), 422, "field_unknown", "ttl_seconds"},
		{"no recipient", nil, swap(`"to":"+15551234567",`, ""), 422, "recipient_missing", "message.to"},
		{"an empty recipient", nil, to(`""`), 422, "recipient_invalid", "message.to"},
		{"a recipient without its plus", nil, to(`"15551234567"`), 422, "recipient_needs_plus", "message.to"},
		{"a country code of 0", nil, to(`"+0123"`), 422, "recipient_invalid", "message.to"},
		{"16 digits", nil, to(`"+1234567890123456"`), 422, "recipient_invalid", "message.to"},
		{"a recipient that is a number in JSON", nil, to(`15551234567`), 422, "type_mismatch", "message.to"},
		{"the sender as recipient", nil, to(`"` + ownPhone + `"`), 422, "recipient_is_sender", "message.to"},
		{"the sender as recipient, spelt otherwise", nil, to(`"+1 (555) 078-3881"`), 422, "recipient_is_sender", "message.to"},
		{"Arabic-Indic digits", nil, to(`"+١٥٥٥١٢٣٤٥٦٧"`), 422, "recipient_invalid", "message.to"},

		{"a recipient with a trunk 0", nil, to(`"+44 (0)20 7946 0958"`), 422, "recipient_invalid", "message.to"},
		{"a user id as phone number", nil, to(`"US.13491208655302741918"`), 422, "recipient_invalid", "message.to"},
		{"a member in capitals", nil, swap(`"body":`, `"Preview_url":true,"body":`), 422, "member_spelling", "message.text.preview_url"},

		{"no type", nil, swap(`"type":"text","text":`, `"image":`), 422, "type_missing", "message.type"},
		{"a text without text", nil, swap(`,"text":{"body":"secret text"}`, ""), 422, "content_missing", "message.text"},
		{"an empty text", nil, body(""), 422, "text_empty", "message.text.body"},
		{"a text of spaces", nil, body("  "), 422, "text_empty", "message.text.body"},
		{"4,097 characters", nil, body(strings.Repeat("é", 4097)), 422, "text_too_long", "message.text.body"},
		{"text and image", nil, swap(`,"text":{`, `,"image":{"id":"1"},"text":{`), 422, "content_ambiguous", "message.image"},
		{"a template without language", nil, template(`"name":"order"`), 422, "template_language_missing", ""},
		{"a template without a language's code", nil, template(`"name":"order","language":{}`), 422, "template_language_missing", ""},
		{"no template's name", nil, template(`"name":"Order Update!","language":{"code":"en_US"}`), 422, "template_name_invalid", "message.template.name"},
		{"a parameter of two lines", nil, parameter(`a\nb`), 422, "template_parameter_invalid", ""},
		{"a parameter with five spaces", nil, parameter(`a     b`), 422, "template_parameter_invalid", ""},

		{"a link of FTP", nil, link("ftp://example.com/a.png"), 422, "link_scheme", "message.image.link"},
		{"a link to a file", nil, link("file:///etc/passwd"), 422, "link_scheme", "message.image.link"},
		{"a link of gopher", nil, link("gopher://example.com/a"), 422, "link_scheme", "message.image.link"},
		{"a link with a user", nil, link("https://a@example.com/"), 422, "link_userinfo", "message.image.link"},
		{"a medium by link and by id", nil, image(`"link":"https://example.com/a.png","id":"1"`), 422, "media_ambiguous", ""},
		{"a caption of 1,025 characters", nil, image(`"id":"1","caption":"` + strings.Repeat("é", 1025) + `"`), 422, "caption_too_long", "message.image.caption"},
		{"four reply buttons", nil, buttons(4), 422, "buttons_too_many", ""},

		{"an unknown class", nil, order(`,"class":"urgent"`), 422, "class_unknown", "class"},
		{"expires now", nil, order(`,"expires_at":"` + in(0) + `"`), 422, "expires_at_invalid", "expires_at"},
		{"has expired", nil, order(`,"expires_at":"` + in(-time.Second) + `"`), 422, "expires_at_invalid", "expires_at"},
		{"expires in no year", nil, order(`,"expires_at":"99999-01-01T00:00:00Z"`), 422, "time_invalid", "expires_at"},
		{"expires at a number", nil, order(`,"expires_at":1e99`), 422, "type_mismatch", "expires_at"},
		{"expires in so many seconds", nil, order(`,"expires_at":"60"`), 422, "time_invalid", "expires_at"},
		{"due after its end", nil, order(`,"send_at":"` + in(2*time.Hour) + `","expires_at":"` + in(time.Hour) + `"`), 422, "send_at_after_expires_at", "send_at"},
		{"due in 91 days", nil, order(`,"send_at":"` + in(91*24*time.Hour) + `"`), 422, "send_at_too_far", "send_at"},
		{"the 30th of February", nil, order(`,"send_at":"2026-02-30T00:00:00Z"`), 422, "time_invalid", "send_at"},

		{"a key of 256 characters", key(strings.Repeat("k", 256)), order(""), 422, "idempotency_key_invalid", "Idempotency-Key"},
		{"a key with a tab", key("a\tb"), order(""), 422, "idempotency_key_invalid", "Idempotency-Key"},
		{"a key that is not ASCII", key("é"), order(""), 422, "idempotency_key_invalid", "Idempotency-Key"},
		{"a blank key", key(""), order(""), 422, "idempotency_key_invalid", "Idempotency-Key"},
		{"a key of spaces", nil, order(`,"key":"  "`), 422, "idempotency_key_invalid", "key"},
		{"an empty key", nil, order(`,"key":""`), 422, "idempotency_key_invalid", "key"},
		{"a class of nothing", nil, order(`,"class":""`), 422, "class_unknown", "class"},
		{"another charset", http.Header{"Content-Type": {"application/json; charset=iso-8859-1"}}, order(""), 415, "charset_not_supported", ""},
		{"expires in 91 days", nil, order(`,"expires_at":"` + in(91*24*time.Hour) + `"`), 422, "expires_at_too_far", "expires_at"},
		{"expires in the year 9999", nil, order(`,"expires_at":"9999-12-31T23:59:59Z"`), 422, "expires_at_too_far", "expires_at"},
		{"an offset of a day", nil, order(`,"expires_at":"2026-01-31T15:04:05+24:00"`), 422, "time_invalid", "expires_at"},
		{"a fraction after a comma", nil, order(`,"send_at":"2026-01-31T15:04:05,5Z"`), 422, "time_invalid", "send_at"},
		{"an hour of one digit", nil, order(`,"send_at":"2026-01-31T5:04:05Z"`), 422, "time_invalid", "send_at"},
		{"two keys", key("a", "a"), order(""), 400, "header_duplicate", "Idempotency-Key"},
	}
	for _, host := range []string{"169.254.169.254", "[::1]", "10.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"} {
		rows = append(rows, refused{"a link to " + host, nil, link("https://" + host + "/a.png"), 422, "link_host_forbidden", "message.image.link"})
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			a := ask(t, "POST", s.api+"/v1/messages", row.body, row.change)
			if a.status != row.status || a.header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%d %s, want %d", a.status, a.body, row.status)
			}
			var p struct {
				Code, Detail string
				RequestID    string `json:"request_id"`
				Errors       []message.Problem
			}
			if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Code != row.code || len(p.Errors) == 0 || row.path != "" && p.Errors[0].Path != row.path {
				t.Errorf("%v, %s; want %s at %q", err, a.body, row.code, row.path)
			}
			if p.Detail == "" || p.Errors[0].Fix == "" || p.RequestID == "" || p.RequestID != a.header.Get("X-Request-Id") {
				t.Errorf("incomplete: %s", a.body)
			}
			for _, quoted := range []string{wide, narrow, "15551234567", "secret text", "goroutine"} {
				if strings.Contains(a.body, quoted) {
					t.Errorf("the answer quotes %q: %s", quoted, a.body)
				}
			}
		})
	}
}

// orders: unusual requests that are accepted, repeats, and later requests about messages.
func (s *site) orders(t *testing.T) {
	const send = "/v1/messages"
	post := func(t *testing.T, body string) answer { t.Helper(); return ask(t, "POST", s.api+send, body, nil) }
	as := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	record := func(t *testing.T, id string) answer {
		t.Helper()
		return ask(t, "GET", s.api+send+"/"+id, "", nil)
	}
	want := func(t *testing.T, a answer, status int, code string) answer {
		t.Helper()
		if a.status != status || a.code() != code {
			t.Errorf("%d %s, want %d %s", a.status, a.body, status, code)
		}
		return a
	}
	swap := func(more, old, with string) string { return strings.Replace(order(more), old, with, 1) }

	for name, run := range map[string]func(t *testing.T){
		"a recipient as people write it is normalised": func(t *testing.T) {
			a := want(t, post(t, swap("", "+15551234567", "+1 (555) 123-4567")), 202, "")
			id, _ := a.member("id").(string)
			r, err := s.book.Read(t.Context(), id)
			if err != nil || !strings.Contains(r.Payload, `"+15551234567"`) {
				t.Errorf("kept %s, %v", r.Payload, err)
			}
		},
		"4,096 emoji are 4,096 characters": func(t *testing.T) { want(t, post(t, swap("", "secret text", strings.Repeat("😀", 4096))), 202, "") },
		"callback data of the caller comes back": func(t *testing.T) {
			a := want(t, post(t, swap("", `"type"`, `"biz_opaque_callback_data":"order-7","type"`)), 202, "")
			id, _ := a.member("id").(string)
			if r := record(t, id); r.member("callback_data") != "order-7" {
				t.Errorf("record %s", r.body)
			}
		},
		"a class with a template": func(t *testing.T) {
			a := want(t, post(t, strings.Replace(order(`,"class":"marketing"`), hello, `{"to":"+15551234567","type":"template","template":{"name":"order","language":{"code":"en_US"}}}`, 1)), 202, "")
			if a.member("class") != "marketing" {
				t.Errorf("class %v", a.member("class"))
			}
		},
		"a held number's message waits": func(t *testing.T) {
			hold := `{"phone_number_id":"` + theirs + `","actor":"anna","reason":"because"}`
			want(t, ask(t, "POST", s.console+"/v1/holds", hold, nil), 200, "")
			a := want(t, post(t, swap("", ours, theirs)), 202, "")
			id, _ := a.member("id").(string)
			if e := ask(t, "GET", s.api+send+"/"+id+"/explain", "", nil); e.member("rule") != "hold" {
				t.Errorf("explained as %s", e.body)
			}
		},
		"a repeat is the same message": func(t *testing.T) {
			id := s.send(t, `,"key":"again"`)
			spaced := " { \"key\" : \"again\",\n \"message\":{\"text\":{\"body\":\"secret \\u0074ext\"},\"type\":\"text\",\"to\":\"+15551234567\"}, \"from\":\"" + ours + "\" } "
			for _, body := range []string{order(`,"key":"again"`), spaced} {
				a := want(t, post(t, body), 200, "")
				if a.member("id") != id || a.member("duplicate") != true || a.header.Get("Idempotent-Replayed") != "true" {
					t.Errorf("repeated: %s", a.body)
				}
			}
			want(t, post(t, swap(`,"key":"again"`, "secret text", "other text")), 422, "idempotency_key_reused")
			if a := want(t, post(t, swap(`,"key":"again"`, ours, slowOne)), 202, ""); a.member("id") == id {
				t.Error("another number's key is the same message")
			}
		},
		"a repeat while the first call runs": func(t *testing.T) {
			ids := make(chan any, 20)
			for range cap(ids) {
				go func() { ids <- ask(t, "POST", s.api+send, order(`,"key":"together"`), nil).member("id") }()
			}
			seen := map[any]bool{}
			for range cap(ids) {
				seen[<-ids] = true
			}
			if len(seen) != 1 || seen[nil] {
				t.Errorf("ids %v", seen)
			}
		},
		// Clients have no quotas. The limit is what can be sent before the deadlines.
		"more than can leave in time": func(t *testing.T) {
			soon := time.Now().Add(5 * time.Second).UTC().Format(time.RFC3339)
			for range 30 {
				want(t, post(t, swap("", ours, slowOne)), 202, "")
			}
			until(t, "the backlog is seen", func() bool {
				a := post(t, swap(`,"expires_at":"`+soon+`"`, ours, slowOne))
				return a.status == 429 && a.code() == "deadline_unreachable" && a.header.Get("Retry-After") != ""
			})
		},
		"a message of another client": func(t *testing.T) {
			id, _ := want(t, post(t, swap("", ours, theirs)), 202, "").member("id").(string)
			want(t, ask(t, "GET", s.api+send+"/"+id, "", as(narrow)), 404, "not_found")
			want(t, ask(t, "POST", s.api+send+"/"+id+"/cancel", "", as(narrow)), 404, "not_found")
		},
		"an id that is none": func(t *testing.T) {
			for _, id := range []string{"../../x", "..%2f..%2fx", strings.Repeat("a", 300), "%00", ours + "-", "%ff"} {
				want(t, record(t, id), 404, "not_found")
			}
		},
		"cancel under way and in doubt": func(t *testing.T) {
			id := s.send(t, "")
			s.try(t, id, message.Move{})
			want(t, ask(t, "POST", s.api+send+"/"+id+"/cancel", "", nil), 409, "in_flight")
			id = s.send(t, "")
			s.try(t, id, message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: time.Minute})
			want(t, ask(t, "POST", s.api+send+"/"+id+"/cancel", "", nil), 409, "in_flight")
			if a := record(t, id); a.member("state") != "in_doubt" {
				t.Errorf("now %s", a.body)
			}
		},
		"cancel after it was sent": func(t *testing.T) {
			id := s.send(t, "")
			s.try(t, id, message.Move{To: message.Submitted, WAMID: "wamid.cancel"})
			want(t, ask(t, "POST", s.api+send+"/"+id+"/cancel", "", nil), 409, "already_sent")
		},
		"cancel twice": func(t *testing.T) {
			id := s.send(t, "")
			first := want(t, ask(t, "POST", s.api+send+"/"+id+"/cancel", "", nil), 200, "")
			if again := want(t, ask(t, "POST", s.api+send+"/"+id+"/cancel", "", nil), 200, ""); again.body != first.body {
				t.Errorf("%s, then %s", first.body, again.body)
			}
		},
		"resolve what is not in doubt, or without a reason": func(t *testing.T) {
			id := s.send(t, "")
			resolve := s.console + "/v1/in-doubt/" + id + "/resolve"
			want(t, ask(t, "POST", resolve, `{"resolution":"sent","actor":"anna","reason":"because"}`, nil), 409, "not_in_doubt")
			want(t, ask(t, "POST", resolve, `{"resolution":"sent","actor":"anna"}`, nil), 422, "reason_missing")
			want(t, ask(t, "POST", resolve, `{"resolution":"sent","actor":"anna","reason":"because"}`, as(reader)), 403, "scope_missing")
			if a := record(t, id); a.member("state") != "queued" {
				t.Errorf("now %s", a.body)
			}
		},
		"a method that the path does not take": func(t *testing.T) {
			if a := want(t, ask(t, "PUT", s.api+send, order(""), nil), 405, "method_not_allowed"); a.header.Get("Allow") != "GET, HEAD, POST" {
				t.Errorf("Allow %q", a.header.Get("Allow"))
			}
		},
		"a batch of many lines, one bad and one too long": func(t *testing.T) {
			var lines strings.Builder
			for i := range 1001 {
				fmt.Fprintln(&lines, order(fmt.Sprintf(`,"key":"line-%d"`, i)))
			}
			lines.WriteString("{\n" + order(`,"ref":"`+strings.Repeat("r", 256<<10)+`"`) + "\n")
			for _, status := range []int{202, 200} { // the second time all are repeats
				a := ask(t, "POST", s.api+send+"/batch", lines.String(), http.Header{"Content-Type": {"application/x-ndjson"}})
				got := map[int]int{}
				for d := json.NewDecoder(strings.NewReader(a.body)); d.More(); {
					var v struct{ Line, Status int }
					if err := d.Decode(&v); err != nil {
						t.Fatal(err)
					}
					got[v.Status]++
				}
				if a.status != 200 || got[status] != 1001 || got[400] != 1 || got[413] != 1 || len(got) != 3 {
					t.Errorf("%d, verdicts %v; want 1,001 of %d", a.status, got, status)
				}
				want(t, post(t, order("")), 202, "") // on the same connection
			}
		},
	} {
		t.Run(name, run)
	}
}

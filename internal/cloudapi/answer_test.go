package cloudapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

func TestAnswersWithoutAKnownCode(t *testing.T) {
	t.Parallel()
	const page = "<html><title>502 Bad Gateway</title></html>"
	tests := []struct {
		name   string
		status int
		body   string
		kind   message.Kind
		reason string
		code   int
	}{
		{"unknown code, 400", 400, `{"error":{"code":999999}}`, message.Refused, "code 999999", 999999},
		{"unknown code, 400, transient", 400, `{"error":{"code":999999,"is_transient":true}}`, message.ServerError, "code 999999", 999999},
		{"unknown code, 401", 401, `{"error":{"code":999999}}`, message.Held, "code 999999", 999999},
		{"unknown code, 408", 408, `{"error":{"code":999999}}`, message.ServerError, "code 999999", 999999},
		{"unknown code, 429", 429, `{"error":{"code":999999}}`, message.Throttled, "code 999999", 999999},
		{"unknown code, 500", 500, `{"error":{"code":999999}}`, message.ServerError, "code 999999", 999999},
		{"unknown code, 200", 200, `{"error":{"code":999999}}`, message.ServerError, "code 999999", 999999},
		{"subcode alone", 400, `{"error":{"error_subcode":33}}`, message.Held, "http 400", 0},
		{"object not found by subcode", 400, `{"error":{"code":100,"error_subcode":33}}`, message.Held, "code 100/33", 100},
		{"another subcode", 400, `{"error":{"code":100,"error_subcode":34}}`, message.Refused, "code 100", 100},
		{"code as text", 400, `{"error":{"code":"100"}}`, message.Refused, "code 100", 100},
		{"code and subcode as text", 400, `{"error":{"code":" 100","error_subcode":"33"}}`, message.Held, "code 100/33", 100},
		{"transient as text", 400, `{"error":{"code":"999999","is_transient":"true"}}`, message.ServerError, "code 999999", 999999},
		{"odd neighbours", 400, `{"messages":{"id":7},"error":{"message":7,"type":[],"error_data":[1],"fbtrace_id":{},"code":131026}}`, message.Refused, "code 131026", 131026},
		{"code is an object", 400, `{"error":{"code":{}}}`, message.Held, "http 400", 0},
		{"error is text", 400, `{"error":"invalid_request"}`, message.Held, "http 400", 0},
		{"error is text, 401", 401, `{"error":"invalid_token"}`, message.Held, "http 401", 0},
		{"code 0", 401, `{"error":{"code":0}}`, message.Held, "code 0", 0},
		{"code 0, 500", 500, `{"error":{"code":"0"}}`, message.Held, "code 0", 0},
		{"a byte order mark", 400, "\ufeff" + `{"error":{"code":131026}}`, message.Refused, "code 131026", 131026},
		{"error is null", 500, `{"error":null}`, message.ServerError, "http 500", 0},
		{"page, 502", 502, page, message.ServerError, "http 502", 0},
		{"page, 503", 503, page, message.ServerError, "http 503", 0},
		{"nothing, 504", 504, "", message.ServerError, "http 504", 0},
		{"nothing, 408", 408, "", message.ServerError, "http 408", 0},
		{"page, 429", 429, page, message.Throttled, "http 429", 0},
		{"page, 401", 401, page, message.Held, "http 401", 0},
		{"page, 403", 403, page, message.Held, "http 403", 0},
		{"page, 404", 404, page, message.Held, "http 404", 0},
		{"page, 413", 413, page, message.Held, "http 413", 0},
		{"redirect, 301", 301, "", message.Held, "http 301", 0},
		{"redirect, 307", 307, "", message.Held, "http 307", 0},
	}
	for _, tt := range tests {
		out := cloudapi.Classify(tt.status, nil, []byte(tt.body))
		if out.Kind != tt.kind || out.Reason != tt.reason || out.Code != tt.code || out.Err == nil {
			t.Errorf("%s: %+v, want %q, %q, %d", tt.name, out, tt.kind, tt.reason, tt.code)
		}
		_, known := cloudapi.Lookup(tt.code)
		if first := out.Kind == message.Held && !out.Unknown; first != (tt.kind == message.Held && known && out.HasCode()) {
			t.Errorf("%s: one such answer holds: %t", tt.name, first)
		}
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	const id = "wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"
	tests := []struct {
		name   string
		status int
		body   string
		wamid  string
		reason string
	}{
		{"full", 200, `{"messaging_product":"whatsapp","contacts":[{"input":"+16505551234","wa_id":"16505551234"}],"messages":[{"id":"` + id + `"}]}`, id, ""},
		{"201", 201, `{"messages":[{"id":"` + id + `"}]}`, id, ""},
		{"its status", 200, `{"messages":[{"id":"` + id + `","message_status":"accepted"}]}`, id, ""},
		{"held for quality", 200, `{"messages":[{"id":"` + id + `","message_status":"held_for_quality_assessment"}]}`, id, "held_for_quality_assessment"},
		{"paused", 200, `{"messages":[{"id":"` + id + `","message_status":"paused"}]}`, id, "paused"},
		{"a status of another type", 200, `{"messages":[{"message_status":[1],"id":"` + id + `"}]}`, id, ""},
		{"a status of another form", 200, `{"messages":[{"message_status":"Call +16505551234","id":"` + id + `"}]}`, id, ""},
		{"odd neighbours", 200, `{"contacts":"none","error":null,"messages":[{"id":"` + id + `"},7]}`, id, ""},
		{"another id", 200, `{"messages":[{"id":"gBEGkYiEB1VXAglK1ZEqA1YKPrU"}]}`, "", "wamid_unreadable"},
		{"control characters", 200, `{"messages":[{"id":"wamid.AA\nBB"}]}`, "", "wamid_unreadable"},
		{"id as number", 200, `{"messages":[{"id":7}]}`, "", "wamid_unreadable"},
	}
	for _, tt := range tests {
		out := cloudapi.Classify(tt.status, nil, []byte(tt.body))
		if out != (message.Outcome{Kind: message.Accepted, WAMID: tt.wamid, Reason: tt.reason}) {
			t.Errorf("%s: %+v", tt.name, out)
		}
	}
}

// TestTwoHundredProvesNothing: after a 2xx without a message id the message is in doubt. The outcome describes the
// server that answered. After several in a row the number is held.
func TestTwoHundredProvesNothing(t *testing.T) {
	t.Parallel()
	metas := http.Header{"Facebook-Api-Version": {"v25.0"}, "Content-Type": {"application/json"}}
	proxys := http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Server": {"nginx \x1b[31m" + strings.Repeat("x", 100)}}
	for name, body := range map[string]string{
		"truncated": `{"messages":[{"id":"wamid.AA`, "empty": ``, "page": `<html>`, "no message": `{"success":true}`, "no messages": `{"messages":[]}`,
		"a message without an id": `{"messages":[{}]}`, "messages are text": `{"messages":"wamid.AA"}`, "a list": `[{"messages":[{"id":"wamid.AA"}]}]`,
		"an error without a code": `{"error":{"message":"Oops"}}`, "a number": `7`,
	} {
		for _, status := range []int{200, 201, 204} {
			reason := fmt.Sprint("http ", status)
			if out := cloudapi.Classify(status, metas, []byte(body)); out.Kind != message.NoAnswer || out.Reason != reason || out.Hold != message.HoldNumber || out.HasCode() {
				t.Errorf("%s from Meta, %d: %+v", name, status, out)
			}
			out := cloudapi.Classify(status, proxys, []byte(body))
			if out.Kind != message.ServerError || out.Reason != reason || out.Hold != message.HoldNumber || out.HasCode() {
				t.Errorf("%s from a proxy, %d: %+v", name, status, out)
			}
			for _, text := range []string{out.Detail.Message, out.Err.Error()} {
				if !strings.Contains(text, reason[5:]) || !strings.Contains(text, `text/html; charset=utf-8`) || !strings.Contains(text, "nginx") ||
					strings.Contains(text, "\x1b") || len(text) > 400 {
					t.Errorf("%s from a proxy: the server is described as %q", name, text)
				}
			}
		}
	}
}

// TestWhatMetaSaidIsKept: the outcome has Meta's texts in a form that can be shown.
func TestWhatMetaSaidIsKept(t *testing.T) {
	t.Parallel()
	const answer = `{"error":{"message":"(#131030) Recipient +1 (650) 555-1234 is not in the list","type":"OAuthException","code":131030,"error_subcode":2655007,
		"error_data":{"messaging_product":"whatsapp","details":"Number 16505551234 \u001b[31m is\nnot allowed \u202e, see #2494191; ١٦٥٠٥٥٥١٢٣٤"},"fbtrace_id":"Az8or2yhqkZfEZ-_4Qn_Bam"}}`
	got := cloudapi.Classify(400, nil, []byte(answer)).Detail
	want := message.ErrorDetail{
		Message: "(#131030) Recipient +1 ***34 is not in the list", Details: `Number 165***34 \x1b[31m is\nnot allowed \u202e, see #2494191; ***`,
		Subcode: 2655007, Trace: "Az8or2yhqkZfEZ-_4Qn_Bam",
	}
	if got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	long := cloudapi.Classify(400, nil, graphError(131009, strings.Repeat("ä", 10_000))).Detail
	if len(long.Message) > 256 || len(long.Details) > 512 || !utf8.ValidString(long.Details) || !strings.HasSuffix(long.Details, "ä…") {
		t.Errorf("%d and %d bytes: %q", len(long.Message), len(long.Details), long.Details)
	}
	for name, body := range map[string]string{
		"an error that is text":         `{"error":"it failed"}`,
		"error_data that is text":       `{"error":{"code":1,"error_data":"it failed"}}`,
		"only words for the user":       `{"error":{"code":1,"error_user_msg":"it failed"}}`,
		"only a title for the user":     `{"error":{"code":1,"error_user_title":"it failed"}}`,
		"no code":                       `{"error":{"message":"it failed"}}`,
		"a trace of another form":       `{"error":{"code":1,"message":"it failed","fbtrace_id":"+16505551234 said"}}`,
		"a message that is cut in half": `{"error":{"code":1,"message":"it failed","details":"` + "\xff" + `"}}`,
	} {
		d := cloudapi.Classify(400, nil, []byte(body)).Detail
		if text := d.Message + d.Details; !strings.Contains(text, "it failed") || d.Trace != "" {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestPhoneNumbersAreMasked: in whatever form Meta's texts have them. Dates, times, codes and versions are shown.
func TestPhoneNumbersAreMasked(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1 650 555 1234":                   "1 6***34",
		"650-555-1234":                     "650***34",
		"650.555.1234":                     "650***34",
		"(650) 555-1234":                   "(650***34",
		"(650)555-1234 is":                 "(650***34 is",
		"1 (650) 555 1234":                 "1 (***34",
		"06 12 34 56 78":                   "06 ***78",
		"0151 123456":                      "015***56",
		"650 5551234":                      "650***34",
		"+1 650 555 1234":                  "+1 ***34",
		"16505551234":                      "165***34",
		"555-1234":                         "555***34",
		"١ ٦٥٠ ٥٥٥ ١٢٣٤":                   "***",
		"to 1 650 555 1234, 650-555-9999.": "to 1 6***34, 650***99.",

		"2026-11-29":                           "2026-11-29",
		"2026-11-29 11:30:00":                  "2026-11-29 11:30:00",
		"on 2026-11-29T11:30:00.123456+0000":   "on 2026-11-29T11:30:00.123456+0000",
		"2026-11-29 - 2026-12-01":              "2026-11-29 - 2026-12-01",
		"29.11.2026 11:30":                     "29.11.2026 11:30",
		"11-29-2026":                           "11-29-2026",
		"(#131030) 100 of 1000 in 24 h":        "(#131030) 100 of 1000 in 24 h",
		"code 131026, see 131047":              "code 131026, see 131047",
		"131026 5":                             "131026 5",
		"v25.0, at most 4096 bytes, 80-1000":   "v25.0, at most 4096 bytes, 80-1000",
		"nginx/1.18.0":                         "nginx/1.18.0",
		"wait 3600 s. 30 of 250 are left":      "wait 3600 s. 30 of 250 are left",
		"2026-11-29 1 650 555 1234 2026-11-30": "2026-11-29 1 6***34 2026-11-30",
		"attempt 2 2026-11-29 failed":          "attempt 2 2026-11-29 failed",
	} {
		if got := cloudapi.Classify(400, nil, graphError(131009, text)).Detail.Details; got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

func TestValidWAMID(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA==": true,
		"wamid.a-b_c+d/e=":                  true,
		"wamid." + strings.Repeat("A", 512): true,
		"wamid." + strings.Repeat("A", 513): false,
		"wamid.":                            false,
		"wamid":                             false,
		"WAMID.AA":                          false,
		"wamid.AA BB":                       false,
		"wamid.AA}:x":                       false,
		"":                                  false,
	} {
		if cloudapi.ValidWAMID(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	usage := func(minutes string) string {
		return `{"102290129340398":[{"type":"whatsapp_business_management","call_count":100,"estimated_time_to_regain_access":1},` +
			`{"estimated_time_to_regain_access":` + minutes + `}]}`
	}
	tests := []struct {
		name   string
		status int
		body   []byte
		header map[string]string
		want   time.Duration
	}{
		{"own delay", 400, graphError(130429, ""), nil, time.Second},
		{"seconds", 400, graphError(130429, ""), map[string]string{"Retry-After": "7"}, 7 * time.Second},
		{"shorter than the default", 400, graphError(4, ""), map[string]string{"Retry-After": "7"}, 7 * time.Second},
		{"shorter than for a pair", 400, graphError(131056, ""), map[string]string{"Retry-After": "1"}, 6 * time.Second},
		{"date in the past", 400, graphError(130429, ""), map[string]string{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, time.Second},
		{"date far ahead", 400, graphError(130429, ""), map[string]string{"Retry-After": "Fri, 21 Oct 2411 07:28:00 GMT"}, time.Hour},
		{"negative", 400, graphError(130429, ""), map[string]string{"Retry-After": "-7"}, time.Second},
		{"nonsense", 400, graphError(130429, ""), map[string]string{"Retry-After": "soon"}, time.Second},
		{"no code", 429, nil, map[string]string{"Retry-After": "30"}, 30 * time.Second},
		{"no code, own delay", 429, nil, nil, 10 * time.Second},
		{"usage", 400, graphError(80007, ""), map[string]string{"X-Business-Use-Case-Usage": usage("12")}, 12 * time.Minute},
		{"usage, too long", 400, graphError(80007, ""), map[string]string{"X-Business-Use-Case-Usage": usage("1e300")}, time.Hour},
		{"usage, nonsense", 400, graphError(80007, ""), map[string]string{"X-Business-Use-Case-Usage": "[]"}, time.Minute},
		{"usage is not about throughput", 400, graphError(130429, ""), map[string]string{"X-Business-Use-Case-Usage": usage("12")}, time.Second},
		{"usage is not about a pair", 400, graphError(131056, ""), map[string]string{"X-Business-Use-Case-Usage": usage("12")}, 6 * time.Second},
		{"not throttled", 400, graphError(131026, ""), map[string]string{"Retry-After": "30"}, 0},
		{"maintenance", 500, graphError(131057, ""), nil, time.Minute},
	}
	for _, tt := range tests {
		h := http.Header{}
		for k, v := range tt.header {
			h.Set(k, v)
		}
		if got := cloudapi.Classify(tt.status, h, tt.body).RetryAfter; got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Meta's texts quote requests, so the error of an outcome, which is logged, must not quote them.
func TestAnswersTextsStayOut(t *testing.T) {
	t.Parallel()
	const canary = "+16505551234 said hello"
	for _, body := range [][]byte{graphError(131009, canary), graphError(999999, canary), []byte(canary)} {
		out := cloudapi.Classify(400, nil, body)
		mustNotHave(t, out, "16505551234", "hello")
	}
	out := cloudapi.Classify(400, nil, []byte(`{"error":{"code":100,"fbtrace_id":"`+canary+`"}}`))
	mustNotHave(t, out, "16505551234", "hello")
}

// graphError returns an error answer in Meta's form.
func graphError(code int, text string) []byte {
	b, err := json.Marshal(map[string]any{"error": map[string]any{
		"message": "(#" + fmt.Sprint(code) + ") " + text, "type": "OAuthException", "code": code,
		"error_data": map[string]any{"messaging_product": "whatsapp", "details": text}, "fbtrace_id": "Az8or2yhqkZfEZ-_4Qn_Bam",
	}})
	if err != nil {
		panic(err)
	}
	return b
}

package cloudapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

// want has the decision for every code that can come from sending. It is independent of the catalogue.
var want = map[message.Kind][]int{
	message.Throttled: {4, 17, 341, 613, 80007, 80008, 130429, 131056, 131208, 2494100},
	message.Transient: {134101},
	message.Held: {
		0, 3, 10, 33, 102, 104, 190, 200, 232, 299, 368, 803, 131005, 131031, 131037, 131042, 131045, 131048,
		131064, 132001, 132007, 132015, 132016, 132068, 132069, 133006, 133010, 134102, 139200, 141002, 141006,
	},
	message.Refused: {
		100, 506, 1026, 130403, 130472, 130497, 131002, 131008, 131009, 131014, 131020, 131021, 131026, 131030,
		131041, 131043, 131044, 131047, 131049, 131050, 131051, 131052, 131053, 131055, 131061, 131062, 131063, 131203, 131207,
		132000, 132005, 132008, 132012, 132018, 134011, 134100, 134103, 135000, 137000, 138009, 138017, 138038, 2494191,
	},
	message.ServerError: {131057, 1, 2, 131000, 131016, 133004},
}

func TestEveryCodeIsClassified(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for kind, codes := range want {
		for _, code := range codes {
			seen[code] = true
			e, ok := cloudapi.Lookup(code)
			if !ok {
				t.Errorf("%d is not in the catalogue", code)
				continue
			}
			if e.Kind != kind {
				t.Errorf("%d: kind %q, want %q", code, e.Kind, kind)
			}
			// The code decides, not the HTTP status.
			for _, status := range []int{e.Status, 200, 400, 429, 500, 503} {
				out := cloudapi.Classify(status, nil, graphError(code, ""))
				if out.Kind != kind || out.Code != code || out.RetryAfter != e.RetryAfter || out.Err == nil {
					t.Errorf("HTTP %d, code %d: %+v, want kind %q", status, code, out, kind)
				}
				if want := fmt.Sprint("code ", code); out.Reason != want {
					t.Errorf("HTTP %d, code %d: reason %q", status, code, out.Reason)
				}
			}
		}
	}
	for _, e := range cloudapi.Catalogue() {
		if !seen[e.Code] {
			t.Errorf("%s is in the catalogue but not in this test", e.Name())
		}
	}
}

// TestLimits: only Meta's own codes name the limit that was reached.
func TestLimits(t *testing.T) {
	t.Parallel()
	limits := map[int]message.Limit{
		130429: message.LimitNumber, 131056: message.LimitPair, 131057: message.LimitRest, 2494100: message.LimitRest,
		4: message.LimitApp, 17: message.LimitApp, 341: message.LimitApp, 613: message.LimitApp, 80007: message.LimitApp, 80008: message.LimitApp,
	}
	for _, e := range cloudapi.Catalogue() {
		if e.Subcode != 0 || e.Code == cloudapi.NoCode {
			continue
		}
		for _, status := range []int{400, 429, 500} {
			if got := cloudapi.Classify(status, nil, graphError(e.Code, "")).Limit; got != limits[e.Code] {
				t.Errorf("HTTP %d, code %d: the limit of %q, want %q", status, e.Code, got, limits[e.Code])
			}
		}
	}
	for name, out := range map[string]message.Outcome{
		"400 with a new code":    cloudapi.Classify(400, nil, graphError(987654, "")),
		"accepted":               cloudapi.Classify(200, nil, []byte(`{"messages":[{"id":"wamid.A"}]}`)),
		"accepted, unreadable":   cloudapi.Classify(200, nil, nil),
		"no answer worth a name": cloudapi.Classify(503, nil, nil),
	} {
		if out.Limit != "" {
			t.Errorf("%s: the limit of %q", name, out.Limit)
		}
	}
	for name, out := range map[string]message.Outcome{
		"a gateway's 429":     cloudapi.Classify(429, nil, []byte("slow down")),
		"429 with a new code": cloudapi.Classify(429, nil, graphError(987654, "")),
	} {
		if out.Limit != message.LimitApp {
			t.Errorf("%s: the limit of %q", name, out.Limit)
		}
	}
}

// TestWhatAFailedStatusMeans: codes about numbers and templates hold them, as in an answer. Codes about recipients never
// hold.
func TestWhatAFailedStatusMeans(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]message.HoldOn{
		131042: message.HoldNumber, 131031: message.HoldNumber, 131048: message.HoldNumber, 131037: message.HoldNumber,
		131045: message.HoldNumber, 131064: message.HoldNumber, 368: message.HoldNumber,
		132015: message.HoldTemplate, 132016: message.HoldTemplate,
		131026: "", 131049: "", 131047: "", 130472: "", 131050: "", 0: "",
	} {
		out := cloudapi.Reported(code)
		if out.Hold != want || out.Unknown || cloudapi.Resendable(code) != (want != "") || out.Endless != (code == 132016) {
			t.Errorf("%d: %+v, resendable: %t", code, out, cloudapi.Resendable(code))
		}
	}
	for _, code := range []int{130429, 131000, 131016, 131056} { // temporary faults: resendable, without a hold
		if out := cloudapi.Reported(code); out.Hold != "" || out.Unknown || !cloudapi.Resendable(code) {
			t.Errorf("%d: %+v, resendable: %t", code, out, cloudapi.Resendable(code))
		}
	}
	if out := cloudapi.Reported(987654); !out.Unknown || out.Hold != "" || !cloudapi.Resendable(987654) {
		t.Errorf("a new code: %+v", out)
	}
}

// TestWhatIsHeld: a fault that an operator must correct holds the template, or else the number. One that concerns
// neither holds nothing.
func TestWhatIsHeld(t *testing.T) {
	t.Parallel()
	templates := []int{132001, 132007, 132015, 132016, 132068, 132069, 134102, 141002}
	for kind, codes := range want {
		for _, code := range codes {
			var want message.HoldOn
			switch {
			case kind == message.Held && slices.Contains(templates, code):
				want = message.HoldTemplate
			case code == 139200: // it is about messages without a template
			case kind == message.Held:
				want = message.HoldNumber
			}
			if got := cloudapi.Classify(400, nil, graphError(code, "")).Hold; got != want {
				t.Errorf("code %d holds the %q, want %q", code, got, want)
			}
		}
	}
}

func TestCatalogueIsComplete(t *testing.T) {
	t.Parallel()
	last := -1
	for _, e := range append(cloudapi.Catalogue(), cloudapi.Fallbacks()...) {
		if e.Title == "" || e.Meaning == "" || e.Advice == "" || e.Kind == "" || e.Scope == "" || e.From == "" {
			t.Errorf("%s: something is missing: %+v", e.Name(), e)
		}
		if e.Kind == message.Throttled && e.RetryAfter == 0 {
			t.Errorf("%s: throttled without a delay", e.Name())
		}
		if e.Code != cloudapi.NoCode {
			if e.Code < last || e.Code == last && e.Subcode == 0 {
				t.Errorf("%s is out of order", e.Name())
			}
			last = e.Code
		}
	}
}

// Some lists on the Internet are wrong about these codes.
func TestCommonMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		code  int
		title string
		kind  message.Kind
		scope cloudapi.Scope
	}{
		{131021, "Recipient cannot be sender", message.Refused, cloudapi.ScopeRecipient},                 // not the list of allowed recipients
		{131030, "Recipient phone number not in allowed list", message.Refused, cloudapi.ScopeRecipient}, //
		{131051, "Unsupported message type", message.Refused, cloudapi.ScopeMessage},                     // not an invalid phone number
		{131043, "Message expired", message.Refused, cloudapi.ScopeMessage},                              // not an unapproved template
		{132001, "Template does not exist", message.Held, cloudapi.ScopeTemplate},                        // that one is
		{131052, "Media download error", message.Refused, cloudapi.ScopeMessage},                         // the media of the customer, not of the message
		{131053, "Media upload error", message.Refused, cloudapi.ScopeMessage},                           //
		{232, "API Permission", message.Held, cloudapi.ScopeNumber},                                      // not media
		{10, "API Permission Denied", message.Held, cloudapi.ScopeNumber},                                // not the app's live mode
		{368, "Temporarily blocked for policies violations", message.Held, cloudapi.ScopeNumber},         // not a block by a recipient
		{190, "Access token has expired", message.Held, cloudapi.ScopeNumber},                            //
		{3, "API Method", message.Held, cloudapi.ScopeNumber},                                            // HTTP 500, but permanent
		{131045, "Incorrect certificate", message.Held, cloudapi.ScopeNumber},                            // likewise
		{134102, "Template unavailable", message.Held, cloudapi.ScopeTemplate},                           // likewise
		{130429, "Rate limit hit", message.Throttled, cloudapi.ScopeNumber},                              // HTTP 400, but throttling
		{131056, "(Business Account, Consumer Account) pair rate limit hit", message.Throttled, "pair"},  // likewise, for this pair only
		{131048, "Spam rate limit hit", message.Held, cloudapi.ScopeNumber},                              // about the number
		{131049, "Meta chose not to deliver", message.Refused, cloudapi.ScopeRecipient},                  // about the recipient
		{131057, "Account in maintenance mode", message.ServerError, cloudapi.ScopeNumber},
		{131063, "Marketing templates disabled on Cloud API", message.Refused, cloudapi.ScopeMessage}, //
		{132015, "Template is paused", message.Held, cloudapi.ScopeTemplate},                          //
		{132012, "Template parameter format mismatch", message.Refused, cloudapi.ScopeMessage},        //
		{131042, "Business eligibility payment issue", message.Held, cloudapi.ScopeNumber},            //
		{139200, "Direct Send access blocked", message.Held, cloudapi.ScopeMessage},                   // templates are sent
	}
	for _, tt := range tests {
		e, ok := cloudapi.Lookup(tt.code)
		if !ok || e.Title != tt.title || e.Kind != tt.kind || e.Scope != tt.scope {
			t.Errorf("%d: %v %q %q %q, want %q %q %q", tt.code, ok, e.Title, e.Kind, e.Scope, tt.title, tt.kind, tt.scope)
		}
	}
	for _, code := range []int{-1, 5, 199, 300, 400, 100005, 133016, 138000, 139000, 2388040, 2494010} {
		if e, ok := cloudapi.Lookup(code); ok {
			t.Errorf("%d cannot come from sending, but is %q", code, e.Title)
		}
	}
}

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

// TestPasses: the codes of temporary faults, with those that Meta also reports by webhook.
func TestPasses(t *testing.T) {
	t.Parallel()
	for kind, codes := range want {
		for _, code := range codes {
			want := kind == message.Throttled || kind == message.Transient || kind == message.ServerError
			if got := cloudapi.Passes(code); got != want {
				t.Errorf("%d passes: %t", code, got)
			}
		}
	}
	if cloudapi.Passes(987654) {
		t.Error("an unknown code is temporary")
	}
}

package intake_test

import (
	"cmp"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/message"
)

const (
	unknownCode = 987654 // a code that Explain of these tests does not have
	passingCode = 131000 // the code of a temporary fault
)

// TestErrorOfARecord: a record shows Meta's error. No code and Meta's code 0 are different. An unknown code has Meta's
// own title.
func TestErrorOfARecord(t *testing.T) {
	t.Parallel()
	c := setup(t)
	said := message.ErrorDetail{Message: "(#131026) Not deliverable", Details: "said Meta", Subcode: 7, Trace: "Az8"}
	for name, tt := range map[string]struct {
		record message.Record
		want   string // of the answer; empty: no error
	}{
		"a code":         {message.Record{Code: 131026, Detail: said}, `"error":{"code":131026,"title":"Undeliverable","advice":"Ask for another number.","message":"(#131026) Not deliverable","details":"said Meta","error_subcode":7,"fbtrace_id":"Az8"}`},
		"a code alone":   {message.Record{Code: 131026}, `"error":{"code":131026,"title":"Undeliverable","advice":"Ask for another number."}`},
		"code 0":         {message.Record{Reason: "code 0"}, `"error":{"code":0,"title":"Undeliverable","advice":"Ask for another number."}`},
		"an unknown one": {message.Record{Code: unknownCode, Detail: message.ErrorDetail{Message: "(#987654) Something new"}}, `"error":{"code":987654,"title":"Something new","advice":"docs/errors.md`},
		"no code":        {message.Record{Reason: "server_error", Detail: message.ErrorDetail{Message: "HTTP 200"}}, `"error":{"title":"HTTP 200","advice":"docs/errors.md`},
		"no answer":      {message.Record{Reason: "no_answer"}, ``},
		"passes, failed": {message.Record{State: message.Failed, Code: passingCode}, `"advice":"Meta accepted the message and did not deliver it, for a temporary reason. Sluice does not send it again`},
		"passes, then closed": {
			message.Record{State: message.Failed, Reason: message.ReasonUndetermined, Code: passingCode},
			`It is not known whether Meta accepted the message. Sluice does not send it again."`,
		},
		"passes, then expired": {
			message.Record{State: message.Expired, Reason: message.ReasonLateRetry, Code: passingCode},
			`"advice":"Meta answered the last attempt with this code, for a temporary reason. If the message is still useful, send it again."`,
		},
		"passes, dead":   {message.Record{State: message.Dead, Code: passingCode}, `for a temporary reason. If it is still useful, replay it`},
		"passes, queued": {message.Record{State: message.Queued, Code: passingCode}, `"advice":"Ask for another number."`},
	} {
		id := message.NewID(ours, name)
		tt.record.Context, tt.record.State = message.Context{ID: id, From: ours, Class: message.Utility}, cmp.Or(tt.record.State, message.InDoubt)
		c.store.records[id] = tt.record
		for _, path := range []string{"", "/explain"} {
			r := c.do(t, http.MethodGet, "/v1/messages/"+id+path, "", withHeader("Authorization", "Bearer "+c.readOnly))
			if r.status != http.StatusOK || !strings.Contains(r.body, tt.want) || strings.Contains(r.body, `"error"`) != (tt.want != "") {
				t.Errorf("%s%s: %d %s, want %s", name, path, r.status, r.body, tt.want)
			}
		}
	}
}

// TestClassByContent: the content decides the class of a request without one.
func TestClassByContent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for key, want := range map[string]message.Class{
		`"type":"text","text":{"body":"x"}`:                                                message.Service,
		`"type":"text","text":{"body":"x"},"category":"authentication"`:                    message.Authentication,
		`"type":"template","template":{"name":"x","language":{"code":"en"}}`:               message.Utility,
		`"type":"image","image":{"link":"https://example.com/x.png"},"category":"utility"`: message.Utility,
	} {
		r := b.do(t, http.MethodPost, "/v1/messages", `{"from":"`+ours+`","message":{"to":"+15551234567",`+key+`}}`, nil)
		if r.status != http.StatusAccepted || !strings.Contains(r.body, `"class":"`+string(want)+`"`) {
			t.Errorf("%s: %d %s, want %s", key, r.status, r.body, want)
		}
	}
}

package cloudapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

// webhookOf returns a webhook with a change of number 7.
func webhookOf(field, members string) []byte {
	return fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"messaging_product":"whatsapp",`+
		`"metadata":{"display_phone_number":"15550783881","phone_number_id":"7"},%s},"field":%q}]}]}`, members, field)
}

// TestStandby: what happens in a conversation of another app becomes events of their own, in Meta's form and in its former form without
// the object standby. A status with a marker of Sluice is about a message of ours.
func TestStandby(t *testing.T) {
	t.Parallel()
	const (
		contact = `{"profile":{"name":"Ann"},"wa_id":"16505551234"}`
		written = `{"from":"16505551234","id":"wamid.A","timestamp":"1750101000","type":"text","text":{"body":"hi"}}`
		read    = `{"id":"wamid.B","status":"read","timestamp":"1750101000","recipient_id":"16505551234"}`
		echo    = `{"id":"wamid.C","timestamp":"1750101000","message":{"to":"16505551234","type":"text"}}`
	)
	ours := strings.Replace(read, "{", `{"biz_opaque_callback_data":"sl1.e2e.7-aaaaaaaaaaaaaaaaaaaaaaaaaa.1.0123456789abcdef",`, 1)
	for name, c := range map[string]struct{ members, want string }{
		"message":          {`"standby":{"contacts":[` + contact + `],"messages":[` + written + `]}`, `standby {"message":` + written + `,"contact":` + contact + `}`},
		"not nested":       {`"contacts":[` + contact + `],"messages":[` + written + `]`, `standby {"message":` + written + `,"contact":` + contact + `}`},
		"status":           {`"standby":{"statuses":[` + read + `]}`, `standby {"status":` + read + `}`},
		"status of ours":   {`"standby":{"statuses":[` + ours + `]}`, `status ` + ours},
		"echo":             {`"standby":{"message_echoes":[` + echo + `]}`, `standby {"message_echo":` + echo + `}`},
		"empty":            {`"standby":{}`, `update `},
		"another type":     {`"standby":7`, `update `},
		"malformed status": {`"standby":{"statuses":[7]}`, `update 7`},
	} {
		body := webhookOf("standby", c.members)
		events, err := cloudapi.Events(body, now)
		if err != nil || len(events) != 1 {
			t.Errorf("%s: %v, %v", name, events, err)
			continue
		}
		e := events[0]
		if got := e.Type + " " + string(e.Meta); !strings.HasPrefix(got, c.want) || e.Number != "7" || e.Field != "standby" || (e.Report != nil) != (e.Type == message.EventStatus) {
			t.Errorf("%s: %+v %s", name, e, got)
		}
		if e.Type == message.EventUpdate {
			continue
		}
		again := cloudapi.AppendWebhook(nil, []cloudapi.Relayed{{Event: e}}, false)
		if want := webhookOf("standby", c.members); string(again) != string(want) && name != "not nested" {
			t.Errorf("%s is relayed as\n%s, want\n%s", name, again, want)
		}
	}
}

// TestHandovers: Meta sends control_passed to the new owner and control_taken to the previous one. The examples are Meta's.
func TestHandovers(t *testing.T) {
	t.Parallel()
	const about = `"sender":{"phone_number":"16505551234"},"recipient":{"phone_number_id":"7","display_phone_number":"15550783881"},"timestamp":"1750101000",`
	for name, c := range map[string]struct {
		members string
		want    message.Handover
	}{
		"passed": {
			`"type":"control_passed","control_passed":{"previous_owner_app_id":"1","previous_owner_app_role":"meta_business_agent","previous_owner_role":"ai_agent","new_owner_role":"escalation","metadata":"x"}`,
			message.Handover{Owner: message.OwnedByUs, Change: "control_passed", From: "ai_agent", To: "escalation"},
		},
		"taken": {
			`"type":"control_taken","control_taken":{"previous_owner_role":"customer_service","new_owner_role":"escalation"}`,
			message.Handover{Owner: message.OwnedByOther, Change: "control_taken", From: "customer_service", To: "escalation"},
		},
		"taken from Meta's agent": {
			`"type":"control_taken","control_taken":{"previous_owner_app_id":"1","previous_owner_role":"ai_agent","new_owner_role":"escalation"}`,
			message.Handover{Owner: message.OwnerUnknown, Change: "control_taken", From: "ai_agent", To: "escalation"},
		},
		"without roles": {`"control_passed":{}`, message.Handover{Owner: message.OwnedByUs, Change: "control_passed"}},
		"another kind":  {`"type":"control_shared","control_shared":{"new_owner_role":"escalation"}`, message.Handover{}},
	} {
		events, err := cloudapi.Events(webhookOf("messaging_handovers", about+c.members), now)
		if err != nil || len(events) != 1 || events[0].Number != "7" {
			t.Errorf("%s: %v, %v", name, events, err)
			continue
		}
		report, ok := cloudapi.OwnerReport(events[0])
		if c.want == (message.Handover{}) {
			if ok || events[0].Type != message.EventUpdate {
				t.Errorf("%s: %+v %+v", name, events[0], report)
			}
			continue
		}
		want := message.OwnerReport{Number: "7", Phone: "16505551234", Owner: c.want.Owner, Handover: true, At: time.Unix(1750101000, 0).UTC()}
		if events[0].Type != message.EventHandover || *events[0].Handover != c.want || !ok || report != want {
			t.Errorf("%s: %s %+v, %+v", name, events[0].Type, events[0].Handover, report)
		}
	}
}

// TestOwnerReport: messages from a person say who owns the conversation; statuses and messages of other apps do not.
func TestOwnerReport(t *testing.T) {
	t.Parallel()
	const written = `"messages":[{"from":"1","from_user_id":"US.1","id":"wamid.A","timestamp":"1750101000"}]`
	for name, c := range map[string]struct {
		body []byte
		want message.Owner
	}{
		"to us":               {webhookOf("messages", written), message.OwnedByUs},
		"to another app":      {webhookOf("standby", `"standby":{`+written+`}`), message.OwnedByOther},
		"status":              {webhookOf("messages", `"statuses":[{"id":"wamid.A","status":"read","recipient_id":"1"}]`), ""},
		"echo":                {webhookOf("standby", `"standby":{"message_echoes":[{"id":"wamid.A","message":{"to":"1"}}]}`), ""},
		"status of an app":    {webhookOf("standby", `"standby":{"statuses":[{"id":"wamid.A","status":"read","recipient_id":"1"}]}`), ""},
		"message of somebody": {webhookOf("messages", `"messages":[{"id":"wamid.A","timestamp":"1750101000"}]`), ""},
	} {
		events, _ := cloudapi.Events(c.body, now)
		got, ok := cloudapi.OwnerReport(events[0])
		want := message.OwnerReport{Number: "7", Phone: "1", User: "US.1", Owner: c.want, At: time.Unix(1750101000, 0).UTC()}
		if ok != (c.want != "") || ok && got != want {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
	}
}

// TestWithAccount: a message that names no messaging account gets that of its number.
func TestWithAccount(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, account, want string }{
		{`{"to":"1"}`, "9", `{"to":"1","messaging_account_id":"9"}`},
		{`{"to":"1"}`, "", `{"to":"1"}`},
		{`{"to":"1","messaging_account_id":"8"}`, "9", `{"to":"1","messaging_account_id":"8"}`},
		{`{"paid_messaging_account_id":"8","to":"1"}`, "9", `{"paid_messaging_account_id":"8","to":"1"}`},
		{`{"text":{"body":"\"messaging_account_id\":"}}`, "9", `{"text":{"body":"\"messaging_account_id\":"},"messaging_account_id":"9"}`},
	} {
		if got := string(cloudapi.WithAccount([]byte(c.body), c.account)); got != c.want {
			t.Errorf("%s with %q: %s", c.body, c.account, got)
		}
	}
}

package graphsim_test

import (
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/graphsim"
	"sluice/internal/message"
)

// TestConversations: another app takes a conversation and gives it back, in the form in which Sluice reads webhooks. Meanwhile
// messages from the person come in standby, and service messages to the person are refused, unless the app may take conversations.
func TestConversations(t *testing.T) {
	t.Parallel()
	const phone = "16505551234"
	b, r := hooked(t, graphsim.Webhook{Senders: 1})
	b.run()
	event := func() message.OwnerReport {
		t.Helper()
		b.drained()
		events, err := cloudapi.Events(<-r.posts, time.Now())
		if err != nil || len(events) != 1 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		report, _ := cloudapi.OwnerReport(events[0])
		return report
	}
	owner := func(owner string, want message.Owner) {
		t.Helper()
		if a := b.do("PUT", "/_sim/conversations", `{"number":"`+number+`","with":"`+phone+`","owner":"`+owner+`"}`); a.Status != 204 {
			t.Fatalf("answered %d", a.Status)
		}
		if e := event(); e.Owner != want || !e.Handover || e.Phone != phone || e.Number != number {
			t.Errorf("reported %+v", e)
		}
	}
	write := func(want message.Owner) {
		t.Helper()
		if a := b.do("POST", "/_sim/inbound", `{"from":"`+phone+`","to":"`+number+`","text":"hi"}`); a.Status != 202 {
			t.Fatalf("answered %d", a.Status)
		}
		if e := event(); e.Owner != want || e.Handover || e.Phone != phone {
			t.Errorf("written: %+v", e)
		}
	}
	send := func(kind string, want int) {
		t.Helper()
		a := b.do("POST", "/v25.0/"+number+"/messages", `{"messaging_product":"whatsapp","to":"`+phone+`",`+kind+`}`)
		if a.Status != want {
			t.Errorf("%s: answered %d, want %d", kind, a.Status, want)
		}
		if b.drained(); a.Status == 200 {
			<-r.posts // sent
			<-r.posts // delivered
		}
	}
	const service, template = `"type":"text","text":{"body":"hi"}`, `"type":"template","template":{"name":"sale","language":{"code":"en"}}`
	write(message.OwnedByUs)
	owner("other_app", message.OwnedByOther)
	write(message.OwnedByOther)
	send(service, 400)
	send(template, 200)
	owner("us", message.OwnedByUs)
	send(service, 200)
	owner("other_app", message.OwnedByOther)
	if a := b.do("PATCH", "/_sim/account", `{"app":{"escalation":true}}`); a.Status != 200 {
		t.Fatalf("answered %d", a.Status)
	}
	send(service, 200) // it takes the conversation
	write(message.OwnedByUs)
	for _, body := range []string{`{}`, `{"number":"1","with":"2","owner":"them"}`, `{"number":"x","with":"2","owner":"us"}`} {
		if a := b.do("PUT", "/_sim/conversations", body); a.Status != 400 {
			t.Errorf("%s: answered %d", body, a.Status)
		}
	}
}

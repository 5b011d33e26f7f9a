package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
)

// A message that names another one by Sluice's id waits for Meta's id of that one, and is sent with it. If the other one
// ends without being sent, it is rejected.
func TestMessagesThatNameOthers(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	api := "http://" + startProducer(t, srv.URL(), "payload-key-0123456789").Addr()
	bodies := startWorker(t, srv.URL(), config.Worker{PayloadKey: "payload-key-0123456789"})
	post := func(key, more, content string) string {
		t.Helper()
		return call(t, "POST", api+"/v1/messages", fmt.Sprintf(`{"from":%q,"key":%q%s,"message":{"to":"+15551234567",%s}}`, number, key, more, content), 202)["id"].(string)
	}
	later := `,"send_at":"` + time.Now().Add(2*time.Second).Format(time.RFC3339Nano) + `"`
	const text = `"type":"text","text":{"body":"hi"}`
	first := post("first", later, text)
	post("reply", "", `"context":{"message_id":"`+first+`"},`+text)
	post("reaction", "", `"type":"reaction","reaction":{"message_id":"`+first+`","emoji":"👍"}`)
	cancelled := post("cancelled", `,"send_at":"`+time.Now().Add(time.Hour).Format(time.RFC3339Nano)+`"`, text)
	orphans := []string{
		post("orphan", "", `"context":{"message_id":"`+cancelled+`"},`+text),
		post("stray", "", `"context":{"message_id":"`+message.NewID(number, "nosuch")+`"},`+text),
	}
	call(t, "POST", api+"/v1/messages/"+cancelled+"/cancel", "", 200)

	if got := string(<-bodies); strings.Contains(got, "message_id") {
		t.Errorf("the first message that Meta got: %s", got)
	}
	for range 2 {
		if got := string(<-bodies); !strings.Contains(got, `{"message_id":"wamid.1"`) || strings.Contains(got, first) {
			t.Errorf("Meta got %s", got)
		}
	}
	for _, id := range orphans {
		poll.Until(t, "the message is rejected", func() bool {
			r := call(t, "GET", api+"/v1/messages/"+id, "", 200)
			return r["state"] == "rejected" && r["reason"] == message.ReasonNamedNotSent
		})
	}
	if n := len(bodies); n != 0 {
		t.Errorf("Meta got %d more messages", n)
	}
}

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestConversationsOfOtherApps: another app takes a conversation. A service message of a number that waits is accepted, and is sent
// when the conversation comes back, also if the worker is killed in between; of a number that refuses, it is refused. Templates pass.
// Meta refuses nothing.
func TestConversationsOfOtherApps(t *testing.T) {
	t.Parallel()
	const patient = "106540352242955"
	refusing := numbers[0]
	w := setup(t, 80, graphsim.Options{}, `  - {phone_number_id: "`+patient+`", token_file: token, rate_limit: 80, other_app_conversations: wait, messaging_account_id: "777"}`)
	console := client.New(w.console, apiKey)
	sim := client.New(w.graph, "none")
	control := func(method, path string, body any) {
		t.Helper()
		if err := sim.Call(t.Context(), method, path, body, nil); err != nil {
			t.Fatal(err)
		}
	}
	owner := func(number, person, owner string) {
		control(http.MethodPut, "/_sim/conversations", map[string]string{"number": number, "with": person, "owner": owner})
	}
	const ann, bob = "15551230001", "15551230002"
	message := func(number, person, kind string) client.Message {
		return client.Message{From: number, Content: fmt.Appendf(nil, `{"to":"+%s",%s}`, person, kind)}
	}
	const service, sale = `"type":"text","text":{"body":"hi"}`, `"type":"template","template":{"name":"sale","language":{"code":"en"}}`
	send := func(m client.Message) string {
		t.Helper()
		r, err := w.api.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	delivered := func(r client.Record) bool { return r.State == client.StateDelivered }
	first := w.worker()
	for _, n := range []string{patient, refusing} {
		for _, person := range []string{ann, bob} {
			owner(n, person, "other_app")
		}
	}
	// refused checks: what is sent before the producer knows of the other app, Meta would refuse.
	refused := func(number, person string) bool {
		_, err := w.api.Check(t.Context(), message(number, person, service))
		problem, ok := errors.AsType[*client.Problem](err)
		if ok && (problem.Status != http.StatusConflict || problem.Code != "conversation_of_other_app" || problem.Errors[0].Path != "message.to") {
			t.Fatal(err)
		}
		return ok
	}
	poll.Until(t, "the number refuses", func() bool { return refused(refusing, bob) })
	if _, err := w.api.Send(t.Context(), message(refusing, bob, service)); err == nil {
		t.Error("a message that a check refuses is accepted")
	}

	// A template to a person overtakes the messages that wait.
	waiting := []string{send(message(patient, ann, service)), send(message(patient, ann, service)), send(message(patient, bob, service))}
	for id, r := range w.settled([]string{send(message(patient, ann, sale)), send(message(refusing, bob, sale))}, delivered) {
		if number := r.PhoneNumberID; (r.Account == "777") != (number == patient) {
			t.Errorf("%s of %s has the messaging account %q", id, number, r.Account)
		}
	}
	why := func(id string) client.Explanation {
		t.Helper()
		e, err := w.api.Explain(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, id := range waiting {
		poll.Until(t, "the messages wait", func() bool { return why(id).Rule == "conversation_of_other_app" })
		if left := time.Until(why(id).Until); left < 23*time.Hour || left > 24*time.Hour {
			t.Errorf("it waits for %s", left)
		}
	}
	var page struct {
		People int `json:"conversations_of_other_apps"`
	}
	if err := console.Call(t.Context(), http.MethodGet, "/v1/numbers/"+patient, nil, &page); err != nil || page.People != 2 {
		t.Errorf("the console says that messages to %d people wait, %v", page.People, err)
	}
	first.kill()
	second := w.worker()
	owner(patient, ann, "us")
	w.settled(waiting[:2], delivered)
	second.kill()
	w.worker()
	// The person writes to us: the other app gave the conversation back without a word.
	owner(patient, bob, "none")
	control(http.MethodPost, "/_sim/inbound", map[string]any{"from": bob, "to": patient, "text": "hi"})
	w.settled(waiting[2:], delivered)

	// A message that is in its queue when another app takes the conversation is rejected before Meta is asked.
	owner(refusing, ann, "us")
	given := time.Now().Unix()
	poll.Until(t, "the number accepts", func() bool { return !refused(refusing, ann) })
	w.settled([]string{send(message(refusing, ann, service))}, delivered)
	poll.Until(t, "the next second", func() bool { return time.Now().Unix() > given }) // Meta's times are in seconds
	hold := fmt.Sprintf(`{"phone_number_id":%q,"actor":"anna","reason":"test"}`, refusing)
	w.operate("POST", "/v1/holds", hold)
	id := send(message(refusing, ann, service))
	owner(refusing, ann, "other_app")
	poll.Until(t, "the number refuses again", func() bool { return refused(refusing, ann) })
	w.operate("POST", "/v1/holds/release", hold)
	for _, r := range w.settled([]string{id}, over) {
		if r.State != client.StateRejected || r.Reason != "conversation_of_other_app" {
			t.Errorf("it is %s: %s", r.State, r.Reason)
		}
	}
	if s, err := json.Marshal(w.sim.Stats()); err != nil || strings.Contains(string(s), `"900016"`) {
		t.Errorf("Meta refused messages: %s", s)
	}
}

package graphsim_test

import (
	"slices"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/graphsim"
	"sluice/internal/message"
)

// TestPeople: a person without a phone number writes, and persons change their phone number and their user id, in the form in
// which Sluice reads webhooks.
func TestPeople(t *testing.T) {
	t.Parallel()
	const phone, other = "16505551234", "16505550000"
	b, r := hooked(t, graphsim.Webhook{Senders: 1})
	b.run()
	report := func(path, body string) message.Identities {
		t.Helper()
		if a := b.do("POST", path, body); a.Status != 202 {
			t.Fatalf("%s: answered %d", body, a.Status)
		}
		b.drained()
		r.received()
		events, err := cloudapi.Events(<-r.posts, time.Now())
		if err != nil || len(events) != 1 {
			t.Fatalf("%s: %d events, %v", body, len(events), err)
		}
		who, _ := cloudapi.Identities(events[0])
		return who
	}
	if who := report("/_sim/inbound", `{"from":"US.99","to":"`+number+`","text":"hi"}`); who.User != "US.99" || len(who.Phones) > 0 {
		t.Errorf("without a phone number: %+v", who)
	}
	first := report("/_sim/inbound", `{"from":"`+phone+`","to":"`+number+`","text":"hi"}`)
	if first.User == "" || !slices.Equal(first.Phones, []string{phone}) {
		t.Errorf("with a phone number: %+v", first)
	}
	changed := report("/_sim/people", `{"from":"`+phone+`","to":"`+number+`","user_id":"US.77"}`)
	if changed.User != "US.77" || changed.FormerUser != first.User || changed.FormerPhone != "" || changed.Change == "" {
		t.Errorf("changed user id: %+v", changed)
	}
	if who := report("/_sim/inbound", `{"from":"`+phone+`","to":"`+number+`","text":"hi"}`); who.User != "US.77" {
		t.Errorf("after that: %+v", who)
	}
	moved := report("/_sim/people", `{"from":"`+phone+`","to":"`+number+`","number":"`+other+`"}`)
	if moved.FormerPhone != phone || moved.FormerUser != "US.77" || !slices.Equal(moved.Phones, []string{other}) || moved.User == "US.77" || moved.User == "" {
		t.Errorf("changed number: %+v", moved)
	}
	for _, body := range []string{`{}`, `{"from":"1","to":"1"}`, `{"from":"1","to":"1","number":"2","user_id":"US.1"}`} {
		if a := b.do("POST", "/_sim/people", body); a.Status != 400 {
			t.Errorf("%s: answered %d", body, a.Status)
		}
	}
}

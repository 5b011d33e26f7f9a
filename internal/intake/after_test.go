package intake_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

// TestAfter: a message can wait for another one, by its id or its key. The wait and the deadline have defaults, and
// what it waits for belongs to the content of a request.
func TestAfter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leader := b.post(t, envelope(`,"key":"order-1"`)).accepted(t).ID
	after := func(key, members string) message.Message {
		t.Helper()
		r := b.post(t, envelope(`,"key":"`+key+`","after":{`+members+`}`))
		if r.status != http.StatusAccepted {
			t.Fatalf("%d %s", r.status, r.body)
		}
		return b.store.messages[r.accepted(t).ID]
	}
	about := func(at time.Time, d time.Duration) bool {
		return time.Until(at)-d < time.Second && d-time.Until(at) < time.Minute
	}
	m := after("a", `"key":"order-1","state":"delivered"`)
	if m.After != (message.After{ID: leader, State: message.Delivered}) || !about(m.AfterBy, 24*time.Hour) || m.ExpiresAt.Sub(m.AfterBy) != 24*time.Hour || !m.SendAt.IsZero() {
		t.Errorf("%+v", m)
	}
	m = after("b", `"id":"`+leader+`","state":"read","within":"2h"`)
	if m.After != (message.After{ID: leader, State: message.Read}) || !about(m.AfterBy, 2*time.Hour) {
		t.Errorf("%+v", m)
	}
	if m := after("c", `"id":"`+leader+`","state":"delivered","within":"2h","not":true`); m.After != (message.After{ID: leader, State: message.Delivered, Not: true}) {
		t.Errorf("%+v", m)
	}
	if r := b.post(t, envelope(`,"after":{"id":"`+leader+`","state":"delivered","not":"yes"}`)); r.status != http.StatusUnprocessableEntity || r.problem(t).Code != "type_mismatch" {
		t.Errorf("not is a text: %d %s", r.status, r.body)
	}
	if r := b.post(t, envelope(`,"key":"b","after":{"id":"`+leader+`","within":"2h","state":"read"}`)); r.status != http.StatusOK {
		t.Errorf("the same again: %d %s", r.status, r.body)
	}
	for _, other := range []string{`,"after":{"id":"` + leader + `","within":"3h","state":"read"}`, ``} {
		if r := b.post(t, envelope(`,"key":"b"`+other)); r.status != http.StatusUnprocessableEntity || r.problem(t).Code != "idempotency_key_reused" {
			t.Errorf("another one with its key: %d %s", r.status, r.body)
		}
	}
	read := withHeader("Authorization", "Bearer "+b.readOnly)
	if r := b.do(t, http.MethodGet, "/v1/messages/"+m.ID, "", read); !strings.Contains(r.body, `"after":{"id":"`+leader+`","state":"read"}`) {
		t.Errorf("%d %s", r.status, r.body)
	}
}

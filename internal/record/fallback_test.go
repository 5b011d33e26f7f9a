package record_test

import (
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// withFallback is a template message with a fallback template.
func withFallback() record.Record {
	m := order()
	m.Content = message.Content{Type: "template", Template: "sale", Language: "en_US", To: "+16505551234"}
	m.Fallback = message.Fallback{Template: "sale_2/en_US", Payload: []byte(`{"type":"template","template":{"name":"sale_2"}}`)}
	return record.New(m, "recipient", t0)
}

// TestFallback: the fallback template takes the place of the template once, in the record, its stored form and its events.
func TestFallback(t *testing.T) {
	t.Parallel()
	r := stored(t, withFallback())
	if r.Template != "sale/en_US" || r.Fallback != "sale_2/en_US" || r.Instead != "" || !r.MayFallBack() {
		t.Fatalf("%+v", r)
	}
	use := record.Input{Kind: record.Seen, At: t0.Add(time.Second), From: message.Queued, Move: message.Move{To: message.Queued, Reason: message.ReasonFallback, Fallback: true}}
	after, d := r.Decide(use)
	after = stored(t, after)
	if !d.Applied || after.Template != "sale_2/en_US" || after.Instead != "sale/en_US" || after.Fallback != "" || after.Payload != r.Other || after.Other != "" || after.Task != 1 || after.MayFallBack() {
		t.Errorf("%+v, %+v", after, d)
	}
	if step := after.Timeline[1]; step.Reason != message.ReasonFallback {
		t.Errorf("%+v", step)
	}
	use.Task = 1
	if again, _ := after.Decide(use); again.Template != "sale_2/en_US" {
		t.Errorf("used twice: %+v", again)
	}
}

// TestFallbackOfFreeForm: the fallback template takes the place of a free-form message, and the record says of which type that was.
func TestFallbackOfFreeForm(t *testing.T) {
	t.Parallel()
	m := order()
	m.Fallback = message.Fallback{Template: "sale_2/en_US", Payload: []byte(`{"type":"template","template":{"name":"sale_2"}}`)}
	r := stored(t, record.New(m, "recipient", t0))
	after, d := r.Decide(record.Input{Kind: record.Seen, At: t0.Add(time.Second), From: message.Queued, Move: message.Move{To: message.Queued, Reason: message.ReasonFallback, Fallback: true}})
	after = stored(t, after)
	if !d.Applied || !r.MayFallBack() || after.Template != "sale_2/en_US" || after.Type != "template" || after.Instead != m.Content.Type || m.Content.Type == "" || after.Payload != r.Other || after.MayFallBack() {
		t.Errorf("%+v, %+v", after, d)
	}
}

// TestMayFallBack: only while it is certain that no attempt was delivered.
func TestMayFallBack(t *testing.T) {
	t.Parallel()
	attempted := func(r record.Record, m message.Move) record.Record {
		r, _ = r.Begin(r.Task, "w/1", t0.Add(time.Minute))
		if r.MayFallBack() {
			t.Error("during an attempt")
		}
		r, _ = r.Decide(record.Input{Kind: record.Outcome, At: t0.Add(time.Minute), Attempt: r.Attempt, Token: "w/1", Move: m})
		return stored(t, r)
	}
	refused := attempted(withFallback(), message.Move{To: message.Queued, Code: 132015})
	if !refused.MayFallBack() {
		t.Error("not after a certain refusal")
	}
	if accepted := attempted(withFallback(), message.Move{To: message.Submitted, WAMID: wamid}); accepted.MayFallBack() {
		t.Error("after an acceptance")
	}
	doubt := attempted(refused, message.Move{To: message.InDoubt, Reason: message.ReasonServerError})
	again, d := doubt.Decide(record.Input{Kind: record.Seen, At: t0.Add(2 * time.Minute), From: message.InDoubt, Attempt: 2, Task: doubt.Task, Move: message.Move{To: message.Queued}})
	if !d.Applied || again.MayFallBack() {
		t.Errorf("after an attempt in doubt: %+v", again)
	}
}

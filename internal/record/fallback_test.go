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

// TestFallbackAfterFailure: when Meta reports that a message failed, its fallback template takes its place, if no attempt may have been delivered and the
// message has not ended.
func TestFallbackAfterFailure(t *testing.T) {
	t.Parallel()
	at := t0.Add(2 * time.Minute)
	first := func() record.Record {
		r, _ := withFallback().Begin(0, "w/1", t0.Add(time.Minute))
		return r
	}
	taken := func(r record.Record, id string) record.Record {
		r, _ = r.Decide(record.Input{Kind: record.Outcome, At: at, Attempt: r.Attempt, Token: r.Token, Move: message.Move{To: message.Submitted, WAMID: id}})
		return stored(t, r)
	}
	second := func(m message.Move) record.Record {
		r := first()
		r, _ = r.Decide(record.Input{Kind: record.Outcome, At: at, Attempt: 1, Token: r.Token, Move: m})
		if m.To == message.InDoubt {
			r, _ = r.Decide(record.Input{Kind: record.Seen, At: at, From: message.InDoubt, Attempt: 1, Move: message.Move{To: message.Queued}})
		}
		r, _ = r.Begin(r.Task, "w/2", at)
		return taken(r, wamid)
	}
	fail := func(r record.Record, id string, attempt int, at time.Time) (record.Record, record.Decision) {
		m := r.Failure(message.Move{To: message.Failed, WAMID: id, Code: 131047}, attempt, false)
		after, d := r.Decide(record.Input{Kind: record.Status, At: at, Attempt: attempt, Move: m, Fallback: true})
		return stored(t, after), d
	}
	changed := func(f func(r *record.Record)) record.Record {
		r := taken(first(), wamid)
		f(&r)
		return r
	}
	queued := first() // after a refused attempt
	queued, _ = queued.Decide(record.Input{Kind: record.Outcome, At: at, Attempt: 1, Token: "w/1", Move: message.Move{To: message.Queued, Code: 131056}})
	for name, c := range map[string]struct {
		r       record.Record
		id      string
		attempt int
		at      time.Time
		want    message.State
	}{
		"after its attempt":                {taken(first(), wamid), wamid, 1, at, message.Queued},
		"without a marker":                 {taken(first(), wamid), wamid, 0, at, message.Queued},
		"before the outcome":               {first(), wamid, 1, at, message.Queued},
		"after a refused attempt":          {second(message.Move{To: message.Queued, Code: 131056}), wamid, 2, at, message.Queued},
		"after an attempt in doubt":        {second(message.Move{To: message.InDoubt}), wamid, 2, at, message.Failed},
		"of an earlier attempt":            {second(message.Move{To: message.Queued, Code: 131056}), wamid, 1, at, message.Submitted},
		"of an attempt that Redis lost":    {queued, wamid, 2, at, message.Failed},
		"when Redis lost all attempts":     {changed(func(r *record.Record) { r.Attempt = 0 }), wamid, 0, at, message.Failed},
		"without an id of Meta's":          {first(), "", 1, at, message.Failed},
		"after the deadline":               {taken(first(), wamid), wamid, 1, t0.Add(time.Hour), message.Failed},
		"without a fallback template":      {changed(func(r *record.Record) { r.Fallback, r.Other = "", "" }), wamid, 1, at, message.Failed},
		"without its content":              {changed(func(r *record.Record) { r.Payload = "" }), wamid, 1, at, message.Failed},
		"with a further id of Meta's":      {changed(func(r *record.Record) { r.Others = []string{"wamid.other"} }), wamid, 1, at, message.Failed},
		"after its final event":            {changed(func(r *record.Record) { r.Published = true }), wamid, 1, at, message.Failed},
		"after its end":                    {changed(func(r *record.Record) { r.State = message.Rejected }), wamid, 1, at, message.Failed},
		"after Meta reported that it left": {changed(func(r *record.Record) { r.State, r.Payload, r.Fallback = message.Sent, "", "" }), wamid, 1, at, message.Failed},
	} {
		if after, _ := fail(c.r, c.id, c.attempt, c.at); after.State != c.want || (c.want == message.Queued) != (after.Instead != "") {
			t.Errorf("%s: %s %q, want %s", name, after.State, after.Instead, c.want)
		}
	}

	after, d := fail(taken(first(), wamid), wamid, 1, at)
	step := after.Timeline[len(after.Timeline)-1]
	if after.Payload != withFallback().Other || after.Template != "sale_2/en_US" || after.Instead != "sale/en_US" || after.Task != 1 || after.Proven != 1 || !after.NextAt.IsZero() ||
		!after.ExpiresAt.Equal(withFallback().ExpiresAt) || after.Code != 131047 || after.Reason != message.ReasonFallback || step.Reason != message.ReasonFallback {
		t.Errorf("%+v", after)
	}
	if len(d.Changes) != 1 || d.Changes[0].To != message.Queued || d.Changes[0].Code != 131047 || d.Changes[0].WAMID != wamid || d.Changes[0].Final != nil {
		t.Errorf("published: %+v", d.Changes)
	}
	// What is late of the first attempt changes nothing: neither its outcome, nor its statuses, before and after the next attempt.
	begun, _ := after.Begin(1, "w/2", at)
	for _, r := range []record.Record{after, taken(begun, "wamid.second")} {
		again, _ := fail(r, wamid, 1, at)
		again, _ = fail(again, wamid, 0, at)
		again, _ = again.Decide(record.Input{Kind: record.Status, At: at, Attempt: 1, Move: message.Move{To: message.Sent, WAMID: wamid}})
		again, _ = again.Decide(record.Input{Kind: record.Outcome, At: at, Attempt: 1, Token: "w/1", Move: message.Move{To: message.Submitted, WAMID: wamid}})
		if !record.Same(again, r) {
			t.Errorf("%+v\nbecame %+v", r, again)
		}
	}
	// The fallback template is used once, and its failure is final.
	if last, d := fail(taken(begun, "wamid.second"), "wamid.second", 2, at); last.State != message.Failed || last.Payload == "" || d.Changes[0].Final == nil || !d.Changes[0].Final.Certain {
		t.Errorf("%+v, %+v", last, d)
	}
}

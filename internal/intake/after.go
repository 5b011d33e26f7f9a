package intake

import (
	"slices"
	"time"

	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// defaultWithin is how long a message waits for another one if the request does not say it.
const defaultWithin = 24 * time.Hour

// afterRequest describes the member after of a request to send. readAfter reads it.
type afterRequest struct {
	ID     string        `json:"id,omitempty" doc:"Sluice's id of the message to wait for. Give either id or key."`
	Key    string        `json:"key,omitempty" doc:"The idempotency key of the message to wait for."`
	State  message.State `json:"state" doc:"Wait until that message has reached this state or a later one: submitted, sent, delivered or read."`
	Within string        `json:"within,omitempty" doc:"How long to wait, for example 2h, up to 90 days. Then the message becomes expired, or with not it is sent. Default: 24h."`
	Not    bool          `json:"not,omitempty" doc:"true: the opposite. The message is sent if that message has not reached the state within this time, or ends before without it; and it becomes cancelled if that message reaches the state."`
}

// after is the member after of a request.
type after struct {
	value                       jsondoc.Value
	id, key, state, within, not jsondoc.Value
}

// readAfter reads what a message waits for. It sets m.After, and m.AfterBy as a duration from the zero time; see complete.
func (e *envelope) readAfter(m *message.Message) {
	a := &e.after
	if !a.value.Present() {
		return
	}
	if a.value.Kind() != jsondoc.Object {
		e.refuse("after", "after_invalid")
		return
	}
	for name, value := range a.value.Members() {
		switch name {
		case "id":
			a.id = value
		case "key":
			a.key = value
		case "state":
			a.state = value
		case "within":
			a.within = value
		case "not":
			a.not = value
		default:
			e.refuse("after."+jsondoc.PathName(name), "field_unknown")
		}
	}
	id, key := e.text("after.id", &a.id), e.text("after.key", &a.key)
	m.After = message.After{ID: id, State: message.State(e.text("after.state", &a.state))}
	if a.not.Present() {
		if m.After.Not = a.not.True(); a.not.Kind() != jsondoc.Bool {
			e.refuse("after.not", "type_mismatch")
		}
	}
	switch number, ok := message.Number(id); {
	case (id == "") == (key == ""):
		e.refuse("after", "after_invalid")
	case key != "":
		m.After.ID = message.NewID(m.From, key)
	case !ok || number != m.From:
		e.refuse("after.id", "after_other_number")
	}
	if !slices.Contains(message.AfterStates(), m.After.State) {
		e.refuse("after.state", "after_state_unknown")
	}
	within := defaultWithin
	if s := e.text("after.within", &a.within); a.within.Present() {
		var err error
		if within, err = time.ParseDuration(s); err != nil || within < time.Second || within > maxAhead {
			e.refuse("after.within", "duration_invalid")
		}
	}
	m.AfterBy = time.Time{}.Add(within)
	if e.sendAt.Present() {
		e.refuse("send_at", "send_at_with_after")
	}
	if key != "" && key == m.Key || id != "" && m.Key != "" && id == message.NewID(m.From, m.Key) {
		e.refuse("after", "after_itself")
	}
}

// appendAfter appends what a message waits for to the text of its hash. Without after it appends nothing, so that the
// hash of a request without it is that of earlier versions.
func (e *envelope) appendAfter(b []byte) []byte {
	if !e.after.value.Present() {
		return b
	}
	return e.after.value.AppendCanonical(append(b, `,"after":`...))
}

// explainAfter explains a message that waits for another one.
func explainAfter(r message.Record) explanation {
	if r.After.Not {
		return explanation{
			Rule: ruleAfter, Until: r.NextAt.UTC(), After: &r.After,
			Detail: "The message is sent at this time, unless message " + r.After.ID + " is " + string(r.After.State) + " before: then this message becomes cancelled. If that message ends without it, this message is sent at once.",
		}
	}
	return explanation{
		Rule: ruleAfter, Until: r.NextAt.UTC(), After: &r.After,
		Detail: "The message waits until message " + r.After.ID + " is " + string(r.After.State) + ". If that message ends without it, this message becomes cancelled. If the wait takes too long, it becomes expired.",
	}
}

// Package canary sends a message through the API of callers and follows it until it is delivered: once for sluice selftest,
// and again and again in a producer. It uses only what every caller has.
package canary

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/client"
)

// Step is a step of a message on its way to the recipient.
type Step string

// The steps, in their order. A message can skip one: Meta may report that it is delivered, and not that it was sent.
const (
	Accepted   Step = "accepted"
	Attempting Step = "attempting"
	Submitted  Step = "submitted"
	Sent       Step = "sent"
	Delivered  Step = "delivered"
)

// Steps returns all steps, in their order.
func Steps() []Step { return []Step{Accepted, Attempting, Submitted, Sent, Delivered} }

// Meaning says what happens in the step.
func (s Step) Meaning() string { return texts[s].meaning }

// Advice says where to look when the step does not come.
func (s Step) Advice() string { return texts[s].advice }

var texts = map[Step]struct{ meaning, advice string }{
	Accepted:   {"Sluice stored the message", "Check the URL of the API, and that the API key has the scopes messages:send and messages:read"},
	Attempting: {"a worker sent the request to Meta", "`sluice holds` lists what is held, and `sluice doctor` checks the workers and Redis"},
	Submitted:  {"Meta accepted the message", "`sluice explain` has Meta's error and what to do, and `sluice doctor` checks the token and the number"},
	Sent:       {"Meta reported that it sent the message", "`sluice explain` has Meta's error, if it reported one. If it reported nothing, `sluice doctor --webhook-url URL` checks that webhooks arrive and workers apply them"},
	Delivered:  {"Meta reported that the recipient's phone has the message", "Check that the recipient's phone is switched on, has a network, and did not block the number"},
}

// stepOf returns the step that a message has reached with a state. Other states are no step.
var stepOf = map[client.State]Step{
	client.StateQueued: Accepted, client.StateAttempting: Attempting, client.StateSubmitted: Submitted, client.StateSent: Sent,
	client.StateDelivered: Delivered, client.StateRead: Delivered, client.StatePlayed: Delivered,
}

// Reached is a step that a message reached, and when, by the clock of Sluice's Redis.
type Reached struct {
	Step    Step      `json:"step"`
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"` // since the message was accepted
}

// Result is what became of a message.
type Result struct {
	ID      string    `json:"id,omitempty"`      // Sluice's id of the message; empty: it was not accepted
	Reached []Reached `json:"reached"`           // in their order
	Missing Step      `json:"missing,omitempty"` // the first step that did not come; empty: the message is delivered
	Problem string    `json:"problem,omitempty"` // why it did not come
	Advice  string    `json:"advice,omitempty"`  // where to look
}

// Content returns Meta's message object of a canary: a template without parameters, as name/language, or, if it is empty, a text.
func Content(to, template, text string) any {
	if name, language, is := strings.Cut(template, "/"); is {
		return client.Template(to, name, language)
	}
	return client.Text(to, text)
}

// Message returns the message that a canary sends. It has the class authentication: it leaves before the messages that wait,
// so that a backlog is no failure, and it is never parked for an operator while webhooks arrive. At expires no attempt starts
// any more, so that canaries never wait in a queue together. content is Meta's message object, key the idempotency key.
func Message(number string, content any, key string, expires time.Time) client.Message {
	return client.Message{From: number, Content: content, Class: client.ClassAuthentication, Key: key, Tags: []string{"canary"}, ExpiresAt: expires.UTC()}
}

// The shortest and the longest pause between two reads of the record. Between them it is a tenth of the time that passed.
const (
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second
)

// explainTimeout is the time limit of the question what a message waits for.
const explainTimeout = 5 * time.Second

// Probe sends a message and follows it until it is delivered, ends otherwise, or ctx ends. It blocks. report, which may be
// nil, is called for each step at once.
func Probe(ctx context.Context, api *client.Client, m client.Message, report func(Reached)) Result {
	r := Result{Reached: []Reached{}, Missing: Accepted}
	accepted, err := api.Send(ctx, m)
	if err != nil {
		return r.failed(err.Error())
	}
	r.ID, r.Missing = accepted.ID, Attempting
	for start := time.Now(); ; {
		record, err := api.Get(ctx, r.ID)
		if err == nil {
			r.apply(record, report)
		}
		switch {
		case r.Missing == "":
			return r
		case ctx.Err() != nil:
			return r.failed(context.Cause(ctx).Error() + waiting(ctx, api, r.ID))
		case err != nil:
			return r.failed("the record of the message cannot be read: " + err.Error())
		case record.Final || record.State == client.StateParked:
			return r.failed(ended(record))
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(max(time.Since(start)/10, minPause), maxPause)):
		}
	}
}

// apply adds the steps that a record has and r does not.
func (r *Result) apply(record client.Record, report func(Reached)) {
	for _, change := range record.Timeline {
		step, is := stepOf[change.State]
		at := slices.Index(Steps(), step)
		if !is || len(r.Reached) > 0 && at <= slices.Index(Steps(), r.Reached[len(r.Reached)-1].Step) {
			continue
		}
		reached := Reached{Step: step, At: change.At, Seconds: max(change.At.Sub(record.AcceptedAt).Seconds(), 0)} // the worker only estimates the clock
		r.Reached = append(r.Reached, reached)
		if r.Missing = ""; step != Delivered {
			r.Missing = Steps()[at+1]
		}
		if report != nil {
			report(reached)
		}
	}
}

// failed returns r with why the missing step did not come.
func (r Result) failed(why string) Result {
	r.Problem, r.Advice = why, r.Missing.Advice()
	return r
}

// Error returns a sentence on the step that did not come, why, and where to look.
func (r Result) Error() string {
	return fmt.Sprintf("the step %s (%s) did not come: %s. %s", r.Missing, r.Missing.Meaning(), strings.TrimSuffix(r.Problem, "."), r.Advice)
}

// ended says how a message ended that was not delivered.
func ended(r client.Record) string {
	text := "the message is " + string(r.State)
	if r.Reason != "" {
		text += ", reason " + r.Reason
	}
	if r.Error.Code != nil {
		text += fmt.Sprintf(". Meta's code %d: %s. %s", *r.Error.Code, r.Error.Title, r.Error.Advice)
	}
	return text
}

// waiting says what a message waits for, after the context of its canary has ended; empty: the program stops, or Sluice does
// not say it.
func waiting(ctx context.Context, api *client.Client, id string) string {
	if ctx.Err() != context.DeadlineExceeded {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
	defer cancel()
	e, err := api.Explain(ctx, id)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(". It waits for (%s): %s", e.Rule, e.Detail)
}

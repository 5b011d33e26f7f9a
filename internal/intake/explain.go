package intake

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/message"
)

// rule is what keeps a message where it is. The set is closed.
type rule string

const (
	ruleScheduled rule = "scheduled" // queued: its send_at has not come
	ruleBackoff   rule = "backoff"   // queued: an attempt was not taken, the next comes later
	ruleHold      rule = "hold"      // queued: its number, template or tag is held, or all is
	rulePair      rule = "recipient" // queued: its recipient has had enough for now
	ruleQueue     rule = "queue"     // queued: others are before it
	ruleTaken     rule = "taken"     // queued: a worker has it, and waits for its slot
	ruleTaskGone  rule = "task_gone" // queued: what would bring it to its turn is gone
	ruleAttempt   rule = "attempt"   // attempting
	ruleEvidence  rule = "evidence"  // in doubt: a receipt of Meta's may tell
	rulePerson    rule = "person"    // parked
	ruleReceipt   rule = "receipt"   // Meta has it, and reports
	ruleEnd       rule = "end"       // nothing more happens by itself
)

// explanation says what a message waits for.
type explanation struct {
	ID        string        `json:"id" doc:"Our id of the message."`
	State     message.State `json:"state" doc:"Where it is."`
	Rule      rule          `json:"rule" doc:"What keeps it: scheduled, backoff, hold, recipient, queue, taken, task_gone, attempt, evidence, person, receipt or end."`
	Detail    string        `json:"detail" doc:"The same for people."`
	Until     time.Time     `json:"until,omitzero" doc:"Until when, where that is known; with queue, about."`
	Then      string        `json:"then,omitempty" doc:"With evidence: what happens without any: again, resend, park or close."`
	Ahead     *int          `json:"ahead,omitempty" doc:"With queue: how many of its class are before it."`
	Holds     []hold        `json:"holds,omitempty" doc:"With hold: all that keep it."`
	Reason    string        `json:"reason,omitempty" doc:"Why, when the state does not say it."`
	Code      int           `json:"code,omitempty" doc:"Meta's last error code."`
	Error     *metaError    `json:"error,omitempty" doc:"What that code means, and what Meta said."`
	ExpiresAt time.Time     `json:"expires_at,omitzero" doc:"No attempt starts after this."`
}

// hold is a message.Hold as callers see it.
type hold struct {
	On     string    `json:"on" doc:"What is held: a number, a template, a tag, or all."`
	Reason string    `json:"reason" doc:"Why."`
	Code   int       `json:"code,omitempty" doc:"Meta's error code, when an answer of Meta's was the reason."`
	By     string    `json:"by" doc:"Who ordered it; sluice: it did so by itself."`
	Since  time.Time `json:"since" doc:"When it began."`
	Until  time.Time `json:"until,omitzero" doc:"When it ends by itself; absent: it does not."`
}

// explain answers GET /v1/messages/{id}/explain.
func (in *Intake) explain(ctx context.Context, rec message.Record) (any, refusal) {
	var standing message.Standing
	if rec.State == message.Queued {
		var err error
		if standing, err = in.o.Waiting.Standing(ctx, rec); err != nil {
			in.o.Log.Error("message not explained", "msg_id", rec.ID, "err", err)
			return nil, refuse("store_unavailable")
		}
	}
	e := in.why(rec, standing, in.now())
	e.ID, e.State, e.Reason, e.Code, e.Error = rec.ID, rec.State, rec.Reason, rec.Code, in.metaError(rec)
	if !rec.State.Final() {
		e.ExpiresAt = rec.ExpiresAt.UTC()
	}
	return e, nil
}

// attemptMost is how long an attempt may take with its record before it is a doubt.
const attemptMost = time.Minute

// why says what keeps a message that is where its record says.
func (in *Intake) why(r message.Record, s message.Standing, now time.Time) explanation {
	since := r.AcceptedAt
	if len(r.Timeline) > 0 {
		since = r.Timeline[len(r.Timeline)-1].At
	}
	if !r.KeyUntil.IsZero() {
		return explanation{Rule: ruleEnd, Detail: "The time of its record is over. Its key is remembered until key_until; a late status of Meta's still changes its state."}
	}
	switch r.State {
	case message.Queued:
		return queued(r, s, now)
	case message.Attempting:
		return explanation{Rule: ruleAttempt, Until: since.Add(attemptMost), Detail: "An attempt is under way; without an outcome it becomes a doubt."}
	case message.InDoubt:
		return in.doubt(r)
	case message.Parked:
		return explanation{Rule: rulePerson, Detail: "Whether Meta took it is not known. A person decides, or a late receipt of Meta's; until then it is not sent."}
	case message.Submitted:
		if r.Reason == message.ReasonQuality || r.Reason == message.ReasonPaused {
			return explanation{Rule: ruleReceipt, Detail: "Meta has it and has not sent it yet: its message_status is " + r.Reason + ". It watches how the template does before it sends the rest; it then sends the message, or reports it failed with code 132015."}
		}
		fallthrough
	case message.Sent:
		return explanation{Rule: ruleReceipt, Detail: "Meta has it. What becomes of it Meta reports; it tries for up to 30 days."}
	}
	return explanation{Rule: ruleEnd, Detail: "Nothing more happens to it by itself, unless Meta reports something later."}
}

// doubt says what a doubt waits for, and what happens without it.
func (in *Intake) doubt(r message.Record) explanation {
	p := in.o.Policy(r.From, r.Class)
	then := string(p.OnDoubt)
	if r.Reason == message.ReasonServerError {
		then = "again"
	}
	return explanation{
		Rule: ruleEvidence, Until: r.NextAt.UTC(), Then: then,
		Detail: "A request left and nobody said whether Meta took it. A receipt of Meta's settles it; without one, when all that came until then is read, the policy does: " + then + ".",
	}
}

// queued says what a queued message waits for: what is named first lasts whatever comes after.
func queued(r message.Record, s message.Standing, now time.Time) explanation {
	switch {
	case r.NextAt.After(now) && (r.Attempt == 0 || r.Reason == message.ReasonReplayed):
		return explanation{Rule: ruleScheduled, Until: r.NextAt.UTC(), Detail: "It is to be sent then, not before."}
	case r.NextAt.After(now):
		return explanation{Rule: ruleBackoff, Until: r.NextAt.UTC(), Detail: fmt.Sprintf("Attempt %d was not taken; the next comes then.", r.Attempt)}
	case len(s.Holds) > 0:
		return held(s.Holds)
	case s.Task == message.TaskDelayed && s.Until.After(now):
		return explanation{Rule: rulePair, Until: s.Until.UTC(), Detail: "Its recipient got as many messages from this number as Meta allows for now, or an attempt of its own has just ended."}
	case s.Task == message.TaskTaken:
		return explanation{Rule: ruleTaken, Detail: "A worker has it in hand and waits for its slot."}
	case s.Task == message.TaskGone:
		return explanation{Rule: ruleTaskGone, Until: r.ExpiresAt.UTC(), Detail: "Nothing is there that would bring it to its turn. A worker finds it when it next goes through what waits, and brings it back to its queue."}
	}
	most := ""
	if s.About {
		most = "at most "
	}
	return explanation{
		Rule: ruleQueue, Ahead: &s.Ahead, Until: now.Add(s.In).UTC().Truncate(time.Second),
		Detail: fmt.Sprintf("It waits for a slot of its number, behind %s%d of its class %s and what is more urgent.", most, s.Ahead, r.Class),
	}
}

// held says what keeps a held message: until the last of its holds ends.
func held(holds []message.Hold) explanation {
	e := explanation{Rule: ruleHold, Detail: "It is held, on " + holds[0].On() + ": " + holds[0].Reason + ". It goes on in its order when the hold ends; its deadline goes on meanwhile."}
	e.Until = holds[0].Until
	for _, h := range holds {
		e.Holds = append(e.Holds, hold{h.On(), h.Reason, h.Code, h.By, h.Since, h.Until})
		if e.Until.IsZero() || h.Until.IsZero() {
			e.Until = time.Time{}
		} else if h.Until.After(e.Until) {
			e.Until = h.Until
		}
	}
	return e
}

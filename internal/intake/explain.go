package intake

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// rule is what a message waits for. The set is closed.
type rule string

const (
	ruleNumber    rule = "number_not_configured"     // queued: its number is not in the configuration
	ruleScheduled rule = "scheduled"                 // queued: its send_at is in the future
	ruleAfter     rule = "after"                     // queued: another message has not reached a state
	ruleBackoff   rule = "backoff"                   // queued: an attempt failed, and the next one starts later
	ruleHold      rule = "hold"                      // queued: a hold on its number, template or tag, or on everything
	ruleNamed     rule = "named_message"             // queued: Meta has not accepted the message that it names
	ruleLimit     rule = "portfolio_limit"           // queued: for capacity under the messaging limit of its portfolio
	ruleOther     rule = "conversation_of_other_app" // queued: until another app does not own the conversation
	ruleQuiet     rule = "quiet_hours"               // queued: for the end of the quiet hours of its recipient
	ruleBudget    rule = "budget"                    // queued: a budget of its client has too little left
	ruleCap       rule = "campaign_cap"              // queued: its campaign has sent as many messages today as its cap allows
	ruleRate      rule = "campaign_rate"             // queued: behind other messages of its campaign, which has a rate
	rulePair      rule = "pair_limit"                // queued: its recipient is at Meta's pair limit
	ruleQueue     rule = "queue"                     // queued: behind other messages
	ruleFetched   rule = "fetched"                   // queued: a worker has fetched its task and waits for a slot
	ruleNoTask    rule = "task_missing"              // queued: its task is missing
	ruleAttempt   rule = "attempt"                   // attempting: for the answer of Meta
	ruleInDoubt   rule = "in_doubt"                  // in doubt: for a status, or for the end of the in-doubt window
	ruleParked    rule = "parked"                    // parked: for an operator
	ruleStatus    rule = "awaiting_status"           // submitted or sent: for the next status
	ruleFinal     rule = "final"                     // for nothing
)

// explanation says what a message waits for.
type explanation struct {
	ID        string         `json:"id" doc:"Sluice's id of the message."`
	State     message.State  `json:"state" doc:"The state of the message."`
	Rule      rule           `json:"rule" doc:"What the message waits for: number_not_configured, after, scheduled, backoff, hold, named_message, portfolio_limit, conversation_of_other_app, quiet_hours, budget, campaign_cap, campaign_rate, pair_limit, queue, fetched, task_missing, attempt, in_doubt, parked, awaiting_status or final."`
	Detail    string         `json:"detail" doc:"The rule in words."`
	Until     time.Time      `json:"until,omitzero" doc:"When the wait ends, if that is known. With queue, campaign_rate, campaign_cap and portfolio_limit it is an estimate."`
	Then      string         `json:"then,omitempty" doc:"With in_doubt: what happens at the end of the window if no status arrives. retry: send again after a server error. resend: send again, once, after a request without an answer. park: wait for an operator. close: failed, not sent again."`
	After     *message.After `json:"after,omitempty" doc:"With after: the message that it waits for, and the state."`
	Ahead     *int           `json:"ahead,omitempty" doc:"With queue, campaign_rate and campaign_cap: number of messages of the same class, client and campaign before it."`
	Holds     []httpapi.Hold `json:"holds,omitempty" doc:"With hold: all holds on the message."`
	Window    message.Window `json:"customer_service_window,omitempty" doc:"Of a queued free-form message: open, closed or unknown. With closed, the message gets its fallback template or is rejected in its turn, unless the recipient writes before. Absent: the number does not track it."`
	WindowEnd time.Time      `json:"window_closes_at,omitzero" doc:"With open: when the window closes, if the recipient writes nothing more."`
	Reason    string         `json:"reason,omitempty" doc:"Why the message is in this state."`
	Code      int            `json:"code,omitempty" doc:"Meta's last error code."`
	Error     *metaError     `json:"error,omitempty" doc:"What the code means, what to do, and Meta's own text."`
	ExpiresAt time.Time      `json:"expires_at,omitzero" doc:"No attempt starts after this time."`
}

// explain answers GET /v1/messages/{id}/explain.
func (in *Intake) explain(ctx context.Context, rec message.Record) (any, refusal) {
	var standing message.QueueStatus
	if rec.State == message.Queued {
		var err error
		if standing, err = in.o.Waiting.QueueStatus(ctx, rec); err != nil {
			in.o.Log.Error("cannot explain message", "message_id", rec.ID, "err", err)
			return nil, refuse("store_unavailable")
		}
	}
	e := in.why(rec, standing, in.now())
	e.Window, e.WindowEnd = standing.Window, standing.WindowEnds
	e.ID, e.State, e.Reason, e.Code, e.Error = rec.ID, rec.State, rec.Reason, rec.Code, in.metaError(rec)
	if !rec.State.Final() {
		e.ExpiresAt = rec.ExpiresAt.UTC()
	}
	return e, nil
}

// maxAttempt is the time limit of an attempt, with the recording of its outcome. After it the message is in doubt.
const maxAttempt = time.Minute

// why explains what a message waits for, by its record and its standing in the queue.
func (in *Intake) why(r message.Record, s message.QueueStatus, now time.Time) explanation {
	since := r.AcceptedAt
	if len(r.Timeline) > 0 {
		since = r.Timeline[len(r.Timeline)-1].At
	}
	if !r.KeyUntil.IsZero() {
		return explanation{Rule: ruleFinal, Detail: "The record was removed. The key is remembered until key_until. A late status from Meta still changes the state."}
	}
	switch r.State {
	case message.Queued:
		if !in.o.Numbers(r.From) {
			return explanation{Rule: ruleNumber, Until: r.ExpiresAt.UTC(), Detail: "Its number is not in the configuration of this program. Workers that do not have the number either do not send the message. It waits until the number is configured again, or for its deadline."}
		}
		return queued(r, s, now)
	case message.Attempting:
		return explanation{Rule: ruleAttempt, Until: since.Add(maxAttempt), Detail: "An attempt is under way. Without an outcome the message becomes in_doubt."}
	case message.InDoubt:
		return in.inDoubt(r)
	case message.Parked:
		return explanation{Rule: ruleParked, Detail: "It is unknown whether Meta accepted the message. An operator must decide, or a late status from Meta. Until then the message is not sent."}
	}
	if !r.State.Final() {
		if r.Reason == message.ReasonQuality || r.Reason == message.ReasonPaused {
			return explanation{Rule: ruleStatus, Detail: "Meta accepted the message and has not sent it yet: its message_status is " + r.Reason + ". Meta checks the quality of the template first. Then it sends the message, or reports it failed with code 132015."}
		}
		return explanation{Rule: ruleStatus, Detail: "Meta accepted the message and will report the next status. It tries to deliver for up to 30 days."}
	}
	if r.MovedTo != "" {
		return explanation{Rule: ruleFinal, Detail: "Its number was removed. Message " + r.MovedTo + " of another number has taken its place."}
	}
	return explanation{Rule: ruleFinal, Detail: "Nothing more happens by itself. A late status from Meta can still change the state."}
}

// inDoubt explains what an in-doubt message waits for, and what happens at the end of its window.
func (in *Intake) inDoubt(r message.Record) explanation {
	p := in.o.Policy(r.From, r.Class)
	next := string(p.InDoubtPolicy)
	if r.Reason == message.ReasonServerError {
		next = "retry"
	}
	return explanation{
		Rule: ruleInDoubt, Until: r.NextAt.UTC(), Then: next,
		Detail: "A request was sent, and it is unknown whether Meta accepted it. A status from Meta settles it. Without one, the in-doubt policy decides when all statuses up to this time are applied: " + next + ".",
	}
}

// queued explains what a queued message waits for. The first case that applies is the last one to end.
func queued(r message.Record, s message.QueueStatus, now time.Time) explanation {
	switch {
	case r.After.ID != "":
		return explainAfter(r)
	case r.NextAt.After(now) && (r.Attempt == 0 || r.Reason == message.ReasonReplayed):
		return explanation{Rule: ruleScheduled, Until: r.NextAt.UTC(), Detail: "The message is scheduled for this time."}
	case r.NextAt.After(now):
		return explanation{Rule: ruleBackoff, Until: r.NextAt.UTC(), Detail: fmt.Sprintf("Attempt %d was not accepted. The next attempt starts at this time.", r.Attempt)}
	case len(s.Holds) > 0:
		return held(s.Holds)
	case s.Named != "":
		return explanation{Rule: ruleNamed, Until: r.ExpiresAt.UTC(), Detail: "The message names message " + s.Named + ", and Meta has not accepted that one yet. When Meta accepts it, this message is sent, within a minute. If it ends without being sent, this message is rejected."}
	case s.Limited:
		return explanation{Rule: ruleLimit, Until: s.Until.UTC(), Detail: "The business portfolio has written to as many people in 24 hours as Meta lets it write to first. The message is sent when one of them counts no more, or when its recipient writes to the number."}
	case s.Elsewhere:
		return explanation{Rule: ruleOther, Until: s.Until.UTC(), Detail: "Another app owns the conversation with the recipient, and Meta accepts service messages from the owner only. The message is sent when the other app gives the conversation back, or when the recipient has written nothing for 24 hours. Its deadline does not move."}
	case s.Quiet.After(now):
		return explanation{Rule: ruleQuiet, Until: s.Quiet.UTC(), Detail: "It is in the quiet hours of the number or the client, by the clock of the recipient. The message is sent when they end. Its deadline does not move."}
	case s.Task == message.TaskDelayed && s.Until.After(now):
		return explanation{Rule: rulePair, Until: s.Until.UTC(), Detail: "The recipient is at Meta's pair limit for this number, or an attempt of the message has just ended."}
	case s.Budget != nil:
		return explanation{Rule: ruleBudget, Until: s.Budget.Until.UTC(), Detail: "The budget " + s.Budget.Budget + " has too little left for the message: " + s.Budget.Spent.String() + " of " + s.Budget.Limit.String() + " is spent. The message is sent in its order when there is enough. Its deadline does not move."}
	case s.Task == message.TaskFetched:
		return explanation{Rule: ruleFetched, Detail: "A worker has fetched the message and waits for its send slot."}
	case s.Task == message.TaskMissing:
		return explanation{Rule: ruleNoTask, Until: r.ExpiresAt.UTC(), Detail: "The task of the message is missing. A worker detects this when it next checks waiting messages, and puts the message back into its queue."}
	}
	if s.Capped.After(now) {
		return explanation{
			Rule: ruleCap, Ahead: &s.Ahead, Until: s.Capped.UTC().Truncate(time.Second),
			Detail: "The campaign has sent as many messages today as its cap per day allows. It goes on when the day ends. The deadline of the message does not move.",
		}
	}
	most := ""
	if s.Approximate {
		most = "at most "
	}
	if s.Rated {
		return explanation{
			Rule: ruleRate, Ahead: &s.Ahead, Until: now.Add(s.In).UTC().Truncate(time.Second),
			Detail: fmt.Sprintf("The campaign has a rate, and the message waits behind %s%d others of it at its number. The deadline of the message does not move.", most, s.Ahead),
		}
	}
	of := "class " + string(r.Class)
	if r.Flow() != (message.Flow{}) {
		of += ", client and campaign, which share the slots with others by weight,"
	}
	return explanation{
		Rule: ruleQueue, Ahead: &s.Ahead, Until: now.Add(s.In).UTC().Truncate(time.Second),
		Detail: fmt.Sprintf("The message waits for a send slot of its number, behind %s%d messages of its %s and all messages of more urgent classes.", most, s.Ahead, of),
	}
}

// held explains a held message. It waits until the last of its holds ends.
func held(holds []message.Hold) explanation {
	e := explanation{Rule: ruleHold, Detail: "The message is held (" + holds[0].On() + "): " + holds[0].Reason + ". It is sent in its order when the hold ends. Its deadline does not move."}
	e.Until = holds[0].Until
	for _, h := range holds {
		e.Holds = append(e.Holds, httpapi.ShowHold(h))
		if e.Until.IsZero() || h.Until.IsZero() {
			e.Until = time.Time{}
		} else if h.Until.After(e.Until) {
			e.Until = h.Until
		}
	}
	return e
}

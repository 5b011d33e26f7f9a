package dispatch

import (
	"context"
	"slices"
	"time"

	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/portfolio"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
)

// Verdict is what the record of a message says about one of its tasks.
type Verdict int

// The verdicts.
const (
	Sendable   Verdict = iota // may be sent now
	NotYet                    // not before Candidate.At
	Full                      // not before its portfolio's messaging limit has capacity
	Elsewhere                 // not while another app owns the conversation; try again at Candidate.At
	Suppressed                // never: the recipient opted out, or has had enough messages, so the message must be cancelled
	Kept                      // not while the settings of its campaign keep it: it stays at the head of its flow
	Outside                   // not now: the customer service window of the recipient is closed, so the message must get its fallback template, or end
	Void                      // has nothing to do: its message is cancelled, expired, settled, or has another task
)

// Candidate is what a dispatcher must know of a task that it has fetched.
type Candidate struct {
	Verdict
	At        time.Time           // of NotYet and Elsewhere, by Redis's clock
	Why       string              // of Suppressed and Outside: the reason with which it ends
	Recipient ratelimit.Recipient // names number and recipient; zero: no limit applies
	Accepted  time.Time           // when the message was: the order in which it waits for its recipient
	Template  string              // what holds on templates name
	Fallback  string              // the template that may take its place; empty: there is none
	Person    portfolio.Person    // counts against the messaging limit of the portfolio; zero: none does
	Cost      int                 // what it costs by an estimate, if that does not count as spent yet; 0: nothing to count
	Tags      []string            // what holds on tags name
	Flow      message.Flow        // that shares the slots with others; what holds on campaigns name
	Known     any                 // what the handler is given
}

// Candidates returns what the records say about tasks of one shard, in their order. It must do
// nothing else: it may be called several times for a task.
type Candidates func(ctx context.Context, shard message.Shard, tasks []queue.TaskID) ([]Candidate, error)

// holdOn returns the name of the hold that keeps a task's candidate, among those that are in force;
// empty: none does. A hold on its template may let this task go, to find out.
func (c *Candidate) holdOn(number, task string, inForce []string) string {
	if c.Template != "" && !slices.Contains(inForce, holds.ProbeField(number, task)) {
		if name := onTemplate(number, c.Template); slices.Contains(inForce, name) {
			return name
		}
	}
	var may []message.Hold
	for _, tag := range c.Tags {
		may = append(may, message.Hold{Tag: tag}, message.Hold{Number: number, Tag: tag})
	}
	if f := c.Flow; f.Campaign != "" {
		may = append(may, message.Hold{Client: f.Client, Campaign: f.Campaign}, message.Hold{Number: number, Client: f.Client, Campaign: f.Campaign})
	}
	for _, h := range may {
		if name := holds.Name(h); slices.Contains(inForce, name) {
			return name
		}
	}
	return ""
}

// onTemplate returns the name of a hold on a template of a number.
func onTemplate(number, template string) string {
	return holds.Name(message.Hold{Number: number, Template: template})
}

// useFallbacks lets messages be sent with their fallback template whose template is held, unless that is held too. Their tasks
// then have nothing to do: the messages have other ones.
func (d *dispatcher) useFallbacks(ctx context.Context, number string, inForce []string, tasks []*queue.Fetched, known []Candidate) {
	if d.o.Fallbacks == nil || len(inForce) == 0 {
		return
	}
	var some []Candidate
	var of []int // the index of each in known
	for i, c := range known {
		if c.Verdict == Sendable && c.Fallback != "" && c.holdOn(number, tasks[i].ID, inForce) == onTemplate(number, c.Template) &&
			!slices.Contains(inForce, onTemplate(number, c.Fallback)) {
			some, of = append(some, c), append(of, i)
		}
	}
	if len(some) == 0 {
		return
	}
	for i, changed := range d.o.Fallbacks(ctx, number, some) {
		if changed {
			known[of[i]].Verdict = Void
		}
	}
}

// cancelPause is how long a message stays in its queue that could not be cancelled.
const cancelPause = time.Second

// cancelSuppressed ends the messages to recipients who must not get them, or gives them their fallback templates. Their tasks then have
// nothing to do. A message outside the customer service window that is held waits: the window may open again.
func (d *dispatcher) cancelSuppressed(ctx context.Context, number string, r fetched, tasks []*queue.Fetched, known []Candidate) {
	var some []Candidate
	var of []int // the index of each in known
	for i, c := range known {
		if c.Verdict == Outside && c.holdOn(number, tasks[i].ID, r.holds) != "" {
			known[i].Verdict = Sendable
			continue
		}
		if c.Verdict == Suppressed || c.Verdict == Outside {
			some, of = append(some, c), append(of, i)
		}
	}
	if len(some) == 0 {
		return
	}
	for i, done := range d.o.Cancel(ctx, some) {
		if known[of[i]].Verdict = Void; !done {
			known[of[i]].Verdict, known[of[i]].At = NotYet, r.now.Add(cancelPause)
		}
	}
}

package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// resolveMost is how many messages one request resolves at most.
const resolveMost = 100

// resolveRequest is the body of POST /v1/in-doubt/{id}/resolve.
type resolveRequest struct {
	Resolution string `json:"resolution" doc:"sent: Meta accepted the message. not-sent: Meta did not accept it, and Sluice sends it again before its deadline. cancel: Sluice does not send it again."`
	order
}

// resolveResult is its answer.
type resolveResult struct {
	ID    string        `json:"id" doc:"Sluice's id of the message."`
	State message.State `json:"state" doc:"The state of the message now."`
}

// resolveManyRequest is the body of POST /v1/in-doubt/resolve.
type resolveManyRequest struct {
	IDs        []string `json:"ids" doc:"Sluice's ids of the messages, 1 to 100."`
	Resolution string   `json:"resolution" doc:"As in the decision about one message: sent, not-sent or cancel."`
	trial
	order
}

// resolveManyResult is its answer.
type resolveManyResult struct {
	Resolved int            `json:"resolved" doc:"Number of messages to which the decision is applied."`
	Expired  int            `json:"expired" doc:"Number of these that are not sent again, because their deadline has passed."`
	Skipped  int            `json:"skipped" doc:"Number of messages that stay as they are: they are not in doubt any more, or there is no record."`
	More     bool           `json:"more,omitempty" doc:"true: Redis failed or took too long, so the decision is not applied to all messages. The other members count what was done. Send the request again."`
	DryRun   bool           `json:"dry_run,omitempty" doc:"true: nothing was changed. The numbers say what would be done."`
	Groups   []inDoubtGroup `json:"groups" doc:"The messages to which the decision is, or would be, applied, counted by phone number id and reason."`
}

// inDoubtGroup counts in-doubt messages.
type inDoubtGroup struct {
	Number string `json:"phone_number_id" doc:"The phone number id of the sender."`
	Reason string `json:"reason,omitempty" doc:"Why the result of the attempt is unknown."`
	Count  int    `json:"count" doc:"Number of messages in the group."`
}

// known refuses a resolution that does not exist.
func known(resolution string) httpapi.Refusal {
	if resolution != message.VerbSent && resolution != message.VerbNotSent && resolution != message.VerbCancel {
		return httpapi.RefuseAt("resolution", "resolution_unknown")
	}
	return nil
}

func (c *Console) resolve(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	id, refused := messageOf(r, key)
	if refused != nil {
		return nil, refused
	}
	var ask resolveRequest
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	if refused := append(ask.signed(), known(ask.Resolution)...); refused != nil {
		return nil, refused
	}
	o, to, err := c.resolveOne(ctx, id, ask.Resolution, ask.entry(ask.Resolution, id, key))
	switch {
	case errors.Is(err, message.ErrNotFound):
		return nil, httpapi.Refuse("not_found")
	case err != nil:
		return nil, c.unavailable("resolve in-doubt message", err)
	case to == "":
		return nil, httpapi.Refuse("not_in_doubt")
	}
	return resolveResult{o.ID, to}, nil
}

// resolveMany resolves several messages alike. Each of them has its own entry in the audit log.
func (c *Console) resolveMany(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask resolveManyRequest
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	refused := append(ask.trial.signed(ask.order), known(ask.Resolution)...)
	if len(ask.IDs) < 1 || len(ask.IDs) > resolveMost {
		refused = append(refused, httpapi.Problem("ids", "ids_invalid"))
	}
	if refused != nil {
		return nil, refused
	}
	answer := resolveManyResult{DryRun: ask.DryRun, Groups: []inDoubtGroup{}}
	for _, id := range ask.IDs {
		number, ok := message.Number(id)
		var o message.Open
		var to message.State
		var err error
		switch {
		case !ok || !key.Covers(number):
		case ask.DryRun:
			if o, err = c.o.Messages.ReadOpen(ctx, id); o.State == message.Parked || o.State == message.InDoubt {
				to = settle(o, ask.Resolution, c.now()).To
			}
		default:
			o, to, err = c.resolveOne(ctx, id, ask.Resolution, ask.entry(ask.Resolution, id, key))
		}
		if err != nil && !errors.Is(err, message.ErrNotFound) {
			refused := c.unavailable("resolve in-doubt messages", err)
			if ask.DryRun || answer.Resolved == 0 {
				return nil, refused
			}
			answer.More = true
			break
		}
		answer.add(o, to)
	}
	slices.SortFunc(answer.Groups, func(a, b inDoubtGroup) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return answer, nil
}

// add counts a message that comes into a state; empty: it stays as it is.
func (a *resolveManyResult) add(o message.Open, to message.State) {
	if to == "" {
		a.Skipped++
		return
	}
	a.Resolved++
	if to == message.Expired {
		a.Expired++
	}
	i := slices.IndexFunc(a.Groups, func(g inDoubtGroup) bool { return g.Number == o.Message.From && g.Reason == o.Reason })
	if i < 0 {
		i, a.Groups = len(a.Groups), append(a.Groups, inDoubtGroup{Number: o.Message.From, Reason: o.Reason})
	}
	a.Groups[i].Count++
}

// resolveOne carries out a decision about a message. It returns the message as it was, and its state now; empty: the message
// is not in doubt. The same decision may be repeated.
func (c *Console) resolveOne(ctx context.Context, id, resolution string, d message.AuditEntry) (message.Open, message.State, error) {
	for {
		o, err := c.o.Messages.ReadOpen(ctx, id)
		if err != nil {
			return o, "", err
		}
		m := settle(o, resolution, c.now())
		if o.State != message.Parked && o.State != message.InDoubt {
			if o.State == m.To && o.Reason == message.ReasonResolved {
				return o, o.State, nil // the same decision again
			}
			return o, "", nil
		}
		m.Audit = &d
		done, err := c.o.Messages.Move(ctx, o, m)
		if err != nil {
			return o, "", err
		}
		if done {
			c.orders.WithLabelValues(resolution).Inc()
			return o, m.To, nil
		}
		// The message changed meanwhile: a status may have settled it.
	}
}

// settle returns the move that carries out an operator's decision about an in-doubt message. A message is not
// sent after its deadline.
func settle(o message.Open, resolution string, now time.Time) message.Move {
	m := message.Move{Reason: message.ReasonResolved}
	switch {
	case resolution == message.VerbSent:
		m.To = message.Submitted
	case resolution == message.VerbCancel:
		m.To = message.Cancelled
	case now.Before(o.ExpiresAt):
		m.To = message.Queued
	default:
		m.To, m.Keep = message.Expired, true
	}
	return m
}

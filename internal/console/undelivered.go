package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	// resendMost is how many messages one order sends again at most. resendRate is how many per second if the
	// order names no rate, and resendFastest the highest rate that it may name.
	resendMost    = 10_000
	resendRate    = 10
	resendFastest = 500
	// resendAtOnce is how many are written at the same time, so that they share transactions.
	resendAtOnce = 64
)

// undeliveredCounts is the answer of GET /v1/undelivered.
type undeliveredCounts struct {
	Count          int                `json:"count" doc:"Number of messages that the filter selects."`
	Resendable     int                `json:"resendable" doc:"Number of them that can be sent again."`
	ContentDropped int                `json:"content_dropped" doc:"Number of them that cannot be sent again because Sluice does not have their content any more. The caller must send them as new messages."`
	MaybeDelivered int                `json:"maybe_delivered" doc:"Number of them that are never sent again because Meta may have delivered them."`
	Overdue        int                `json:"overdue" doc:"Number of resendable messages that need extend because their deadline has passed."`
	Groups         []undeliveredGroup `json:"groups" doc:"All of them, counted by state, code and reason."`
}

type undeliveredGroup struct {
	State message.State `json:"state" doc:"The state in which they ended."`
	advice
	Reason     string    `json:"reason,omitempty" doc:"Why they ended."`
	Count      int       `json:"count" doc:"Number of messages in the group."`
	Resendable int       `json:"resendable" doc:"Number of them that can be sent again."`
	First      time.Time `json:"first" doc:"When the first of them ended."`
	Last       time.Time `json:"last" doc:"When the last of them ended."`
}

// undeliveredFilter selects messages that ended undelivered. A member that is left out selects all.
type undeliveredFilter struct {
	Number   string    `json:"phone_number_id" doc:"From this phone number id."`
	State    string    `json:"state,omitempty" doc:"Ended in this state: failed, rejected, expired or dead, or several of them, separated by commas. Without it: all four."`
	Code     *int      `json:"code,omitempty" doc:"With this last error code from Meta. 0: without a code."`
	Reason   string    `json:"message_reason,omitempty" doc:"With this reason in their records."`
	Template string    `json:"template,omitempty" doc:"Of this template, as name/language."`
	Tag      string    `json:"tag,omitempty" doc:"Accepted with this tag."`
	Campaign string    `json:"campaign,omitempty" doc:"Of this campaign."`
	Client   string    `json:"client,omitempty" doc:"With campaign: of this client. Default: the client of the API key."`
	Since    time.Time `json:"since,omitzero" doc:"Ended at this time or later."`
	Until    time.Time `json:"until,omitzero" doc:"Ended at this time or earlier."`
}

// resendRequest is the body of POST /v1/undelivered/resend.
type resendRequest struct {
	undeliveredFilter
	Limit  *int   `json:"limit,omitempty" doc:"Maximum number of messages, 1 to 10000. Default: 10000."`
	Rate   *int   `json:"rate,omitempty" doc:"Messages per second that become due, 1 to 500. Default: 10. The rate limit of the number applies too."`
	Extend string `json:"extend,omitempty" doc:"Give each message a new deadline, this long after it becomes due, for example 2h. Without it messages whose deadline has passed by then stay as they are."`
	trial
	order
}

// resendResult is its answer.
type resendResult struct {
	Resent         int       `json:"resent" doc:"Number of messages that are queued again."`
	Overdue        int       `json:"overdue" doc:"Number of messages that stay as they are because their deadline has passed."`
	ContentDropped int       `json:"content_dropped" doc:"Number of messages that stay as they are because Sluice does not have their content any more."`
	MaybeDelivered int       `json:"maybe_delivered" doc:"Number of messages that stay as they are because Meta may have delivered them."`
	Last           time.Time `json:"last,omitzero" doc:"When the last of them becomes due."`
	More           bool      `json:"more" doc:"true: the filter selects more messages than limit, or Redis failed or took too long before all of them were queued again. The other members count what was done. Send the request again."`

	DryRun bool               `json:"dry_run,omitempty" doc:"true: nothing was changed. The numbers say what would be done."`
	Groups []undeliveredGroup `json:"groups,omitempty" doc:"On a dry run: the messages that would be queued again, counted by state, code and reason."`
}

// selected checks a filter.
func (c *Console) selected(f undeliveredFilter, key httpapi.Key) (message.EndedFilter, httpapi.Refusal) {
	out := message.EndedFilter{Number: f.Number, Code: f.Code, Reason: f.Reason, Template: f.Template, Tag: f.Tag, Since: f.Since, Until: f.Until}
	refused := c.reach(f.Number, key)
	switch {
	case f.Campaign != "":
		out.Flow = &message.Flow{Client: cmp.Or(f.Client, key.Client), Campaign: f.Campaign}
	case f.Client != "":
		refused = append(refused, httpapi.Problem("client", "filter_unclear"))
	}
	if f.State != "" {
		for state := range strings.SplitSeq(f.State, ",") {
			if !slices.Contains(message.ResendStates(), message.State(state)) {
				refused = append(refused, httpapi.Problem("state", "state_unknown"))
				break
			}
			out.States = append(out.States, message.State(state))
		}
	}
	return out, refused
}

func (c *Console) countUndelivered(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	q := r.URL.Query()
	ask := undeliveredFilter{Number: q.Get("phone_number_id"), State: q.Get("state"), Reason: q.Get("message_reason"), Template: q.Get("template"), Tag: q.Get("tag"), Campaign: q.Get("campaign"), Client: q.Get("client")}
	refused := narrow(q, &ask.Code, &ask.Since, &ask.Until)
	filter, wrong := c.selected(ask, key)
	if refused = append(refused, wrong...); len(refused) > 0 {
		return nil, refused
	}
	var shown undeliveredCounts
	by, now := endedGroups{}, c.now()
	err := c.o.Lists.Ended(ctx, filter, func(e message.Ended) bool {
		g := by.add(e)
		shown.Count++
		switch {
		case e.Unclear():
			shown.MaybeDelivered++
		case !e.Kept:
			shown.ContentDropped++
		default:
			shown.Resendable++
			g.Resendable++
			if !now.Before(e.ExpiresAt) {
				shown.Overdue++
			}
		}
		return true
	})
	if err != nil {
		return nil, c.unavailable("count undelivered messages", err)
	}
	shown.Groups = c.endedGroups(by)
	return shown, nil
}

// endedGroups are ended messages, counted by what their groups have in common.
type endedGroups map[endedKind]*undeliveredGroup

type endedKind struct {
	state  message.State
	code   int
	reason string
}

// add counts a message, and returns its group. They come in the order in which they ended.
func (by endedGroups) add(e message.Ended) *undeliveredGroup {
	k := endedKind{e.State, e.Code, e.Reason}
	if by[k] == nil {
		by[k] = &undeliveredGroup{State: e.State, Reason: e.Reason, First: e.At}
	}
	by[k].Count++
	by[k].Last = e.At
	return by[k]
}

// endedGroups returns the groups, the largest first.
func (c *Console) endedGroups(by endedGroups) []undeliveredGroup {
	groups := []undeliveredGroup{}
	for k, g := range by {
		g.advice = c.advise(k.code)
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b undeliveredGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Reason, b.Reason))
	})
	return groups
}

// resendUndelivered sends ended messages again, in the order in which they ended. They become due one after the
// other, at the given rate. The audit log gets one entry for all of them, and the timeline of each record names the order.
func (c *Console) resendUndelivered(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask resendRequest
	if refused := httpapi.ReadJSON(w, r, &ask); len(refused) > 0 {
		return nil, refused
	}
	filter, refused := c.selected(ask.undeliveredFilter, key)
	limit, wrong := within("limit", ask.Limit, resendMost, resendMost)
	refused = append(refused, wrong...)
	rate, wrong := within("rate", ask.Rate, resendRate, resendFastest)
	refused = append(append(refused, wrong...), ask.trial.signed(ask.order)...)
	var extend time.Duration
	if ask.Extend != "" {
		extend, wrong = span("extend", ask.Extend)
		refused = append(refused, wrong...)
	}
	if len(refused) > 0 {
		return nil, refused
	}
	answer := resendResult{DryRun: ask.DryRun}
	var some []resending
	by, now := endedGroups{}, c.now()
	err := c.o.Lists.Ended(ctx, filter, func(e message.Ended) bool {
		due := time.Duration(len(some)) * time.Second / time.Duration(rate)
		switch {
		case e.Unclear():
			answer.MaybeDelivered++
		case !e.Kept:
			answer.ContentDropped++
		case extend == 0 && !now.Add(due).Before(e.ExpiresAt):
			answer.Overdue++
		case len(some) == limit:
			answer.More = true
			return false
		default:
			some = append(some, resending{e.Open, due})
			by.add(e).Resendable++
		}
		return true
	})
	last := func(due time.Duration) time.Time { return now.Add(due).UTC().Truncate(time.Millisecond) }
	if len(some) > 0 {
		answer.Last = last(some[len(some)-1].due)
	}
	if err == nil && ask.DryRun {
		answer.Resent, answer.Groups = len(some), c.endedGroups(by)
		return answer, nil
	}
	d := ask.entry(message.VerbResend, fmt.Sprintf("up to %d messages of number %s%s", len(some), ask.Number, about(ask.undeliveredFilter)), key)
	if err == nil && len(some) > 0 {
		err = c.o.Audit.Add(ctx, d)
	}
	if err == nil {
		var due time.Duration
		answer.Resent, due, err = c.resendAll(ctx, some, now, extend, d)
		c.orders.WithLabelValues(message.VerbResend).Add(float64(answer.Resent))
		if err != nil {
			answer.Last, answer.More = last(due), true
		}
	}
	if err != nil {
		refused := c.unavailable("resend undelivered messages", err)
		if answer.Resent == 0 {
			return nil, refused
		}
	}
	return answer, nil
}

// resending is a message to send again, and how long after the order it becomes due.
type resending struct {
	message.Open
	due time.Duration
}

// resendAll queues messages again. It returns how many it queued, also on an error, and when the last of them becomes due. It
// leaves out a message that changed in the meantime.
func (c *Console) resendAll(ctx context.Context, some []resending, now time.Time, extend time.Duration, d message.AuditEntry) (done int, last time.Duration, err error) {
	var mu sync.Mutex      // of done and last
	var failed atomic.Bool // then no further message is begun
	var group errgroup.Group
	group.SetLimit(resendAtOnce)
	for _, o := range some {
		if failed.Load() {
			break
		}
		group.Go(func() error {
			m := message.Move{To: message.Queued, Reason: message.ReasonReplayed, In: o.due, ExpiresAt: extended(o.Open, now.Add(o.due), extend), Audit: &d}
			moved, err := c.o.Messages.Move(ctx, o.Open, m)
			if moved {
				mu.Lock()
				done, last = done+1, max(last, o.due)
				mu.Unlock()
			}
			if err != nil {
				failed.Store(true)
			}
			return err
		})
	}
	err = group.Wait()
	return done, last, err
}

// within checks a number of an order: at least 1 and at most most. The default is otherwise.
func within(path string, given *int, otherwise, most int) (int, httpapi.Refusal) {
	switch {
	case given == nil:
		return otherwise, nil
	case *given < 1 || *given > most:
		return 0, httpapi.RefuseAt(path, "query_invalid")
	}
	return *given, nil
}

// about describes a filter in the audit log.
func about(f undeliveredFilter) string {
	var b strings.Builder
	add := func(name, value string) {
		if value != "" {
			b.WriteString(", " + name + " " + value)
		}
	}
	add("state", f.State)
	if f.Code != nil {
		add("code", fmt.Sprint(*f.Code))
	}
	add("reason", f.Reason)
	add("template", f.Template)
	add("tag", f.Tag)
	add("campaign", f.Campaign)
	add("client", f.Client)
	if !f.Since.IsZero() {
		add("since", f.Since.UTC().Format(time.RFC3339))
	}
	if !f.Until.IsZero() {
		add("until", f.Until.UTC().Format(time.RFC3339))
	}
	return b.String()
}

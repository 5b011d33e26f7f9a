package console

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	// resendMost is how many messages one order sends again, resendRate how many a second when the
	// order does not say it, and resendFastest the most that it may say.
	resendMost    = 10_000
	resendRate    = 10
	resendFastest = 500
	// resendAtOnce is how many are written at the same time: they share transactions.
	resendAtOnce = 64
)

// ended is the answer of GET /v1/ended.
type ended struct {
	Count   int          `json:"count" doc:"How many messages the filter selects."`
	Ready   int          `json:"ready" doc:"How many of them can be sent again."`
	Gone    int          `json:"gone" doc:"How many cannot: their content is not kept. The caller must send them as new messages."`
	Unclear int          `json:"unclear" doc:"How many are not sent again: Meta may have delivered them."`
	Overdue int          `json:"overdue" doc:"How many of those that are ready need extend: their deadline has passed."`
	Groups  []endedGroup `json:"groups" doc:"All by state, code and reason."`
}

type endedGroup struct {
	State  message.State `json:"state" doc:"How they ended."`
	Code   int           `json:"code,omitempty" doc:"Meta's last error code."`
	Reason string        `json:"reason,omitempty" doc:"Why they ended."`
	Count  int           `json:"count" doc:"How many they are."`
	Ready  int           `json:"ready" doc:"How many of them can be sent again."`
	First  time.Time     `json:"first" doc:"When the first of them ended."`
	Last   time.Time     `json:"last" doc:"When the last of them ended."`
}

// endedFilter selects messages that ended; what is left out does not matter.
type endedFilter struct {
	Number   string    `json:"number" doc:"The sender's phone number id."`
	State    string    `json:"state,omitempty" doc:"How they ended: failed, rejected, expired or dead, or several with commas between them; without it all of these."`
	Code     *int      `json:"code,omitempty" doc:"With this last error code of Meta's; 0: with none."`
	Template string    `json:"template,omitempty" doc:"Of this template, as name/language."`
	Tag      string    `json:"tag,omitempty" doc:"Accepted with this tag."`
	Since    time.Time `json:"since,omitzero" doc:"They ended then or later."`
	Until    time.Time `json:"until,omitzero" doc:"They ended then or before."`
}

// resend is the body of POST /v1/ended/resend.
type resend struct {
	endedFilter
	Limit  *int   `json:"limit,omitempty" doc:"How many at most, 1 to 10000; 10000 without it."`
	Rate   *int   `json:"rate,omitempty" doc:"How many a second become due, 1 to 500; 10 without it. They leave at the pace of their number at most."`
	Extend string `json:"extend,omitempty" doc:"A new deadline for each, so long from when it becomes due, like 2h. Without it those whose deadline would have passed then stay as they are."`
	order
}

// resent is its answer.
type resent struct {
	Resent  int       `json:"resent" doc:"So many are queued again."`
	Overdue int       `json:"overdue" doc:"So many stay as they are: their deadline has passed."`
	Gone    int       `json:"gone" doc:"So many stay as they are: their content is not kept."`
	Unclear int       `json:"unclear" doc:"So many stay as they are: Meta may have delivered them."`
	Last    time.Time `json:"last,omitzero" doc:"When the last of them becomes due."`
	More    bool      `json:"more" doc:"The filter selects more than the limit: order it again."`
}

// selected checks a filter.
func (c *Console) selected(f endedFilter, key httpapi.Key) (message.EndedFilter, httpapi.Refusal) {
	out := message.EndedFilter{Number: f.Number, Code: f.Code, Template: f.Template, Tag: f.Tag, Since: f.Since, Until: f.Until}
	refused := c.reach(f.Number, key)
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

func (c *Console) listEnded(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	q := r.URL.Query()
	ask := endedFilter{Number: q.Get("number"), State: q.Get("state"), Template: q.Get("template"), Tag: q.Get("tag")}
	refused := narrow(q, &ask.Code, &ask.Since, &ask.Until)
	filter, wrong := c.selected(ask, key)
	if refused = append(refused, wrong...); len(refused) > 0 {
		return nil, refused
	}
	type kind struct {
		state  message.State
		code   int
		reason string
	}
	var shown ended
	by, now := map[kind]endedGroup{}, time.Now()
	err := c.o.Lists.Ended(ctx, filter, func(e message.Ended) bool {
		k := kind{e.State, e.Code, e.Reason}
		g := by[k]
		g.State, g.Code, g.Reason, g.Last = e.State, e.Code, e.Reason, e.At
		if g.Count++; g.First.IsZero() {
			g.First = e.At
		}
		shown.Count++
		switch {
		case e.Unclear():
			shown.Unclear++
		case !e.Kept:
			shown.Gone++
		default:
			shown.Ready++
			g.Ready++
			if !now.Before(e.ExpiresAt) {
				shown.Overdue++
			}
		}
		by[k] = g
		return true
	})
	if err != nil {
		return nil, c.unavailable("list messages that ended", err)
	}
	shown.Groups = slices.SortedFunc(maps.Values(by), func(a, b endedGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Reason, b.Reason))
	})
	if shown.Groups == nil {
		shown.Groups = []endedGroup{}
	}
	return shown, nil
}

// resendEnded sends messages that ended again, in the order in which they ended: each becomes due a moment after
// the one before. The audit log has one entry for all of them, and each record has its own.
func (c *Console) resendEnded(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask resend
	if refused := httpapi.ReadJSON(w, r, &ask); len(refused) > 0 {
		return nil, refused
	}
	filter, refused := c.selected(ask.endedFilter, key)
	limit, wrong := within("limit", ask.Limit, resendMost, resendMost)
	refused = append(refused, wrong...)
	rate, wrong := within("rate", ask.Rate, resendRate, resendFastest)
	refused = append(append(refused, wrong...), ask.signed()...)
	var extend time.Duration
	if ask.Extend != "" {
		extend, wrong = span("extend", ask.Extend)
		refused = append(refused, wrong...)
	}
	if len(refused) > 0 {
		return nil, refused
	}
	var answer resent
	var some []resending
	now := time.Now()
	err := c.o.Lists.Ended(ctx, filter, func(e message.Ended) bool {
		due := time.Duration(len(some)) * time.Second / time.Duration(rate)
		switch {
		case e.Unclear():
			answer.Unclear++
		case !e.Kept:
			answer.Gone++
		case extend == 0 && !now.Add(due).Before(e.ExpiresAt):
			answer.Overdue++
		case len(some) == limit:
			answer.More = true
			return false
		default:
			some = append(some, resending{e.Open, due})
		}
		return true
	})
	d := ask.deed(message.VerbResend, fmt.Sprintf("%d messages of number %s%s", len(some), ask.Number, about(ask.endedFilter)), key)
	if err == nil && len(some) > 0 {
		err = c.o.Audit.Add(ctx, d)
	}
	if err == nil {
		answer.Resent, err = c.resendAll(ctx, some, now, extend, d)
		if len(some) > 0 {
			answer.Last = now.Add(some[len(some)-1].due).UTC().Truncate(time.Millisecond)
		}
		c.orders.WithLabelValues(message.VerbResend).Add(float64(answer.Resent))
	}
	if err != nil {
		return nil, c.unavailable("send messages again", err)
	}
	return answer, nil
}

// resending is a message that is to be sent again, and how long from the order on it becomes due.
type resending struct {
	message.Open
	due time.Duration
}

// resendAll queues messages again, and returns how many it did. One to which something happened
// meanwhile is left as it is then.
func (c *Console) resendAll(ctx context.Context, some []resending, now time.Time, extend time.Duration, d message.Deed) (int, error) {
	var done atomic.Int64
	var failed atomic.Bool // then the rest is not begun, and what is under way goes on
	var group errgroup.Group
	group.SetLimit(resendAtOnce)
	for _, o := range some {
		if failed.Load() {
			break
		}
		group.Go(func() error {
			m := message.Move{To: message.Queued, Reason: message.ReasonReplayed, In: o.due, ExpiresAt: extended(o.Open, now.Add(o.due), extend), Deed: &d}
			moved, err := c.o.Messages.Move(ctx, o.Open, m)
			if moved {
				done.Add(1)
			}
			if err != nil {
				failed.Store(true)
			}
			return err
		})
	}
	err := group.Wait()
	return int(done.Load()), err
}

// within reads a number of an order that has a default and a most, and is at least 1.
func within(path string, given *int, otherwise, most int) (int, httpapi.Refusal) {
	switch {
	case given == nil:
		return otherwise, nil
	case *given < 1 || *given > most:
		return 0, httpapi.RefuseAt(path, "query_invalid")
	}
	return *given, nil
}

// about tells of a filter in the audit log.
func about(f endedFilter) string {
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
	add("template", f.Template)
	add("tag", f.Tag)
	if !f.Since.IsZero() {
		add("since", f.Since.UTC().Format(time.RFC3339))
	}
	if !f.Until.IsZero() {
		add("until", f.Until.UTC().Format(time.RFC3339))
	}
	return b.String()
}

package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// replayMost is how many dead letters one request replays at most, replayFew how many a request without
// a limit replays. For more the caller sends another request.
const (
	replayMost = 500
	replayFew  = 100
)

// deadLetterList is the answer of GET /v1/dead-letters.
type deadLetterList struct {
	Count    int               `json:"count" doc:"Number of dead letters that the filter selects."`
	Groups   []deadLetterGroup `json:"groups" doc:"The same dead letters, counted by phone number id, code and reason."`
	Messages []deadLetter      `json:"messages" doc:"The first dead letters, the oldest first, up to limit."`
}

type deadLetterGroup struct {
	Number string `json:"phone_number_id" doc:"The phone number id of the sender."`
	advice
	Reason string    `json:"reason" doc:"Why the messages were given up."`
	Count  int       `json:"count" doc:"Number of dead letters in the group."`
	First  time.Time `json:"first" doc:"When the first of them was given up."`
	Last   time.Time `json:"last" doc:"When the last of them was given up."`
}

// advice is Meta's error code of a group, with what it means.
type advice struct {
	Code   int    `json:"code,omitempty" doc:"Meta's last error code."`
	Title  string `json:"title,omitempty" doc:"What the code means."`
	Advice string `json:"advice,omitempty" doc:"What to do about it."`
}

// advise returns the advice about a code; 0: there is none.
func (c *Console) advise(code int) advice {
	if code == 0 {
		return advice{}
	}
	title, what := c.o.Explain(code)
	return advice{code, title, what}
}

type deadLetter struct {
	ID     string    `json:"id" doc:"Sluice's id of the message."`
	Code   int       `json:"code,omitempty" doc:"Meta's last error code."`
	Reason string    `json:"reason" doc:"Why the message was given up."`
	At     time.Time `json:"at" doc:"When the message was given up."`
}

// filter selects dead letters. A member that is left out selects all.
type filter struct {
	Number        string    `json:"phone_number_id" doc:"From this phone number id."`
	Code          *int      `json:"code,omitempty" doc:"With this last error code from Meta. 0: without a code."`
	MessageReason string    `json:"message_reason,omitempty" doc:"With this reason in their records."`
	Since         time.Time `json:"since,omitzero" doc:"Given up at this time or later."`
	Until         time.Time `json:"until,omitzero" doc:"Given up at this time or earlier."`
}

func (f filter) dead() message.DeadFilter {
	return message.DeadFilter{Number: f.Number, Code: f.Code, Reason: f.MessageReason, Since: f.Since, Until: f.Until}
}

// replayRequest is the body of POST /v1/dead-letters/replay.
type replayRequest struct {
	filter
	Limit  *int   `json:"limit,omitempty" doc:"Maximum number of messages, 1 to 500. Default: 100."`
	Extend string `json:"extend,omitempty" doc:"Give each message a new deadline, this long from now, for example 2h. Without it messages whose deadline has passed stay in the dead-letter list."`
	trial
	order
}

// replayResult is its answer.
type replayResult struct {
	Replayed int       `json:"replayed" doc:"Number of messages that are queued again."`
	Overdue  int       `json:"overdue" doc:"Number of messages that stay in the dead-letter list because their deadline has passed."`
	More     bool      `json:"more" doc:"true: there may be more, or Redis failed or took too long before all of them were queued again. The other members count what was done. Send the request again with next as since."`
	Next     time.Time `json:"next,omitzero" doc:"When the last of these messages was given up."`

	DryRun bool              `json:"dry_run,omitempty" doc:"true: nothing was changed. The numbers say what would be done."`
	Groups []deadLetterGroup `json:"groups,omitempty" doc:"On a dry run: the messages that would be queued again, counted by phone number id, code and reason."`
}

func (c *Console) listDeadLetters(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	number, limit, refused := c.page(r, key)
	f := message.DeadFilter{Number: number, Reason: r.URL.Query().Get("message_reason")}
	refused = append(refused, narrow(r.URL.Query(), &f.Code, &f.Since, &f.Until)...)
	if refused != nil {
		return nil, refused
	}
	shown := deadLetterList{Messages: []deadLetter{}}
	by := deadGroups{}
	err := c.o.Lists.Dead(ctx, f, func(d message.DeadLetter) bool {
		if !key.Covers(d.Number) {
			return true
		}
		by.add(d)
		shown.Count++
		if len(shown.Messages) < limit {
			shown.Messages = append(shown.Messages, deadLetter{d.ID, d.Code, d.Reason, d.At})
		}
		return true
	})
	if err != nil {
		return nil, c.unavailable("list dead letters", err)
	}
	shown.Groups = c.deadGroups(by)
	return shown, nil
}

// deadGroups are dead letters, counted by what their groups have in common.
type deadGroups map[deadKind]*deadLetterGroup

type deadKind struct {
	number string
	code   int
	reason string
}

// add counts a dead letter. They come by number, the oldest first.
func (by deadGroups) add(d message.DeadLetter) {
	k := deadKind{d.Number, d.Code, d.Reason}
	if by[k] == nil {
		by[k] = &deadLetterGroup{Number: d.Number, Reason: d.Reason, First: d.At}
	}
	by[k].Count++
	by[k].Last = d.At
}

// deadGroups returns the groups: by number, the largest first.
func (c *Console) deadGroups(by deadGroups) []deadLetterGroup {
	groups := []deadLetterGroup{}
	for k, g := range by {
		g.advice = c.advise(k.code)
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b deadLetterGroup) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Reason, b.Reason))
	})
	return groups
}

// replay sends dead letters again, the oldest first. Their tasks go to the ends of their queues.
func (c *Console) replay(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask replayRequest
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	limit, extend, refused := c.replayable(ask, key)
	if refused != nil {
		return nil, refused
	}
	var some []message.DeadLetter
	err := c.o.Lists.Dead(ctx, ask.dead(), func(d message.DeadLetter) bool {
		some = append(some, d)
		return len(some) < limit
	})
	answer, by := replayResult{More: len(some) == limit, DryRun: ask.DryRun}, deadGroups{}
	if err == nil && len(some) > 0 {
		answer.Next = some[len(some)-1].At
		if !answer.Next.After(ask.Since) { // all of them died at the same moment, and stay
			answer.Next = answer.Next.Add(time.Millisecond)
		}
	}
	if err == nil && len(some) > 0 && !ask.DryRun {
		err = c.o.Audit.Add(ctx, ask.entry(message.VerbReplay, fmt.Sprintf("up to %d dead letters of number %s", len(some), ask.Number), key))
	}
	for _, d := range some {
		if err != nil {
			break
		}
		var done bool
		if done, err = c.again(ctx, d.ID, extend, ask.DryRun, ask.entry(message.VerbReplay, d.ID, key), &answer); done {
			by.add(d)
		}
		if err != nil && answer.Replayed > 0 && !ask.DryRun { // the answer says how far it came
			c.unavailable("replay dead letters", err)
			answer.More, answer.Next, err = true, d.At, nil
			break
		}
	}
	if err != nil {
		return nil, c.unavailable("replay dead letters", err)
	}
	if ask.DryRun {
		answer.Groups = c.deadGroups(by)
		return answer, nil
	}
	c.orders.WithLabelValues(message.VerbReplay).Add(float64(answer.Replayed))
	return answer, nil
}

func (c *Console) replayable(ask replayRequest, key httpapi.Key) (limit int, extend time.Duration, refused httpapi.Refusal) {
	refused = c.reach(ask.Number, key)
	limit, wrong := within("limit", ask.Limit, replayFew, replayMost)
	refused = append(append(refused, wrong...), ask.trial.signed(ask.order)...)
	if ask.Extend != "" {
		extend, wrong = span("extend", ask.Extend)
		refused = append(refused, wrong...)
	}
	return limit, extend, refused
}

// reach refuses an order without a number, and one for a number that its key does not cover.
func (c *Console) reach(number string, key httpapi.Key) httpapi.Refusal {
	switch {
	case number == "":
		return httpapi.RefuseAt("phone_number_id", "phone_number_id_missing")
	case !(key.Covers(number) && c.o.Numbers(number)):
		return httpapi.RefuseAt("phone_number_id", "phone_number_id_not_found")
	}
	return nil
}

// extended is a message's new deadline, extend after from; zero: the message keeps its own.
func extended(o message.Open, from time.Time, extend time.Duration) time.Time {
	if by := from.Add(extend).UTC().Truncate(time.Millisecond); extend > 0 && by.After(o.ExpiresAt) {
		return by
	}
	return time.Time{}
}

// again sends one dead letter again, if it is still dead and its deadline has not passed. On a dry run it only counts it. It
// reports whether the message is, or would be, queued again.
func (c *Console) again(ctx context.Context, id string, extend time.Duration, dry bool, d message.AuditEntry, answer *replayResult) (bool, error) {
	o, err := c.o.Messages.ReadOpen(ctx, id)
	if errors.Is(err, message.ErrNotFound) || err == nil && o.State != message.Dead {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	now := c.now()
	m := message.Move{To: message.Queued, Reason: message.ReasonReplayed, ExpiresAt: extended(o, now, extend), Audit: &d}
	if m.ExpiresAt.IsZero() && !now.Before(o.ExpiresAt) {
		answer.Overdue++
		return false, nil
	}
	done := dry
	if !dry {
		done, err = c.o.Messages.Move(ctx, o, m)
	}
	if done {
		answer.Replayed++
	}
	return done, err
}

// page reads the number that a list is about, empty for all, and its limit.
func (c *Console) page(r *http.Request, key httpapi.Key) (number string, limit int, refused httpapi.Refusal) {
	number = r.URL.Query().Get("phone_number_id")
	if number != "" && !(key.Covers(number) && c.o.Numbers(number)) {
		return "", 0, httpapi.RefuseAt("phone_number_id", "phone_number_id_not_found")
	}
	limit, refused = limitOf(r)
	return number, limit, refused
}

func limitOf(r *http.Request) (limit int, refused httpapi.Refusal) {
	limit = 100
	refused = query(r.URL.Query(), "limit", func(n int) { limit = n }, digits)
	if limit < 1 || limit > 1000 {
		refused = httpapi.RefuseAt("limit", "query_invalid")
	}
	return limit, refused
}

// narrow reads the parameters that the filters of all lists of messages have.
func narrow(q url.Values, code **int, since, until *time.Time) httpapi.Refusal {
	refused := query(q, "code", func(n int) { *code = &n }, digits)
	refused = append(refused, query(q, "since", func(t time.Time) { *since = t }, httpapi.ParseTime)...)
	return append(refused, query(q, "until", func(t time.Time) { *until = t }, httpapi.ParseTime)...)
}

// query calls set with a parameter of a request's query, if the request has it.
func query[T any](q url.Values, name string, set func(T), parse func(string) (T, bool)) httpapi.Refusal {
	if !q.Has(name) {
		return nil
	}
	v, ok := parse(q.Get(name))
	if !ok {
		return httpapi.RefuseAt(name, "query_invalid")
	}
	set(v)
	return nil
}

// digits reads a whole number that is not negative, and has no sign.
func digits(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil
}

package intake

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	defaultPage = 100 // messages on a page
	maxPage     = 200 // messages on a page
	maxIDs      = 100 // ids in a request
)

// messageList is the answer of GET /v1/messages.
type messageList struct {
	Messages   []record `json:"messages" doc:"The records of the messages."`
	NextCursor string   `json:"next_cursor,omitempty" doc:"The cursor of the next page. Absent on the last page."`
}

const aboutList = "There are three ways to ask. With `ids`: the records of these messages, in the order of the ids. The answer leaves out an id that has no record, or whose number " +
	"the API key may not use. With `phone_number_id` and `ref`: the latest 100 messages with this reference, the latest first. With `state`, `tag`, `campaign`, `code` or several of them: all such messages of the numbers " +
	"that the API key may use, page by page. `phone_number_id`, `since` and `until` select fewer.\n\n" +
	"To read all pages, send the request again with `next_cursor` as `cursor`, until an answer has no `next_cursor`. A page can have fewer messages than `limit`, or none, and still have a " +
	"`next_cursor`: one request reads at most about 5,000 entries in Redis. A cursor works only with its API key and its query. " +
	"There is no index of tags and codes: a list by them alone reads all records. If there are millions, add `state` or `phone_number_id`.\n\n" +
	"The list is sorted by state. Each record is as it is at the moment of reading. A message that goes on to a later state while you read pages is not missed, and can come twice. " +
	"A message that goes back to `queued`, for example because an operator sends it again, can be missed."

// paramsList are the parameters of GET /v1/messages.
var paramsList = []httpapi.Param{
	{In: "query", Name: "ids", Doc: "Ids of messages, up to 100, separated by commas.", Example: "106540352242922-ufeqxlws3bsv46lbkkufh7m55l"},
	{In: "query", Name: "phone_number_id", Doc: "From this number: Meta's id of the sending number.", Example: "106540352242922"},
	{In: "query", Name: "ref", Doc: "The `ref` of the messages.", Example: "order-1001"},
	{In: "query", Name: "state", Doc: "In this state, or in one of several states, separated by commas.", Example: "failed,rejected"},
	{In: "query", Name: "tag", Doc: "Accepted with this tag.", Example: "spring"},
	{In: "query", Name: "campaign", Doc: "Of this campaign. With state failed, rejected, expired, cancelled or dead the list reads only the undelivered messages of the campaign.", Example: "spring"},
	{In: "query", Name: "client", Doc: "With `campaign`: of this client. Default: the client of the API key.", Example: "acme"},
	{In: "query", Name: "code", Doc: "With this error code of Meta.", Example: "131026", Type: 0},
	{In: "query", Name: "since", Doc: "Only messages that came into their present state at this time or later.", Example: "2026-01-31T08:00:00Z", Type: time.Time{}},
	{In: "query", Name: "until", Doc: "Only messages that came into their present state at this time or earlier.", Example: "2026-01-31T20:00:00Z", Type: time.Time{}},
	{In: "query", Name: "cursor", Doc: "`next_cursor` of the last page.", Example: "bmV4dA"},
	{In: "query", Name: "limit", Doc: "Number of messages on a page, 1 to 200. Default: 100. A page of `sent` messages can have more.", Example: "50", Type: 0},
}

// list serves GET /v1/messages.
func (in *Intake) list(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead, httpapi.ScopeConsole)
	if refused != nil {
		refused.Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	q := r.URL.Query()
	read := in.byFilter
	switch {
	case q.Has("ids"):
		read = in.byIDs
	case q.Has("ref"):
		read = in.byRef
	}
	records, next, refused := read(ctx, q, key)
	if refused != nil {
		refused.Write(w)
		return
	}
	in.writeList(w, key, records, next)
}

// writeList answers with the records that an API key may see.
func (in *Intake) writeList(w http.ResponseWriter, key httpapi.Key, records []message.Record, next string) {
	shown := messageList{Messages: []record{}, NextCursor: next}
	for _, rec := range records {
		if key.Sees(rec.Client, rec.From) {
			shown.Messages = append(shown.Messages, in.record(rec))
		}
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, shown)
}

// only refuses a query with other parameters than names.
func only(q url.Values, names ...string) refusal {
	for name := range q {
		if !slices.Contains(names, name) {
			return refuseAt(name, "filter_unclear")
		}
	}
	return nil
}

func (in *Intake) byIDs(ctx context.Context, q url.Values, key httpapi.Key) ([]message.Record, string, refusal) {
	if refused := only(q, "ids"); refused != nil {
		return nil, "", refused
	}
	ids := strings.Split(q.Get("ids"), ",")
	if len(ids) > maxIDs {
		return nil, "", refuseAt("ids", "query_invalid")
	}
	ids = slices.DeleteFunc(ids, func(id string) bool {
		number, ok := message.Number(id)
		return !ok || !key.Covers(number)
	})
	records, err := in.o.Reader.Progress(ctx, ids)
	if err != nil {
		return nil, "", in.notListed(err)
	}
	return slices.DeleteFunc(records, func(rec message.Record) bool { return rec.State == "" }), "", nil
}

func (in *Intake) byRef(ctx context.Context, q url.Values, key httpapi.Key) ([]message.Record, string, refusal) {
	number, ref := q.Get("phone_number_id"), q.Get("ref")
	refused := only(q, "phone_number_id", "ref")
	switch {
	case refused != nil:
	case number == "":
		refused = refuseAt("phone_number_id", "phone_number_id_missing")
	case !message.IsNumberID(number):
		refused = refuseAt("phone_number_id", "phone_number_id_invalid")
	case !key.Covers(number):
		refused = refuseAt("phone_number_id", "phone_number_id_not_found")
	case !isLabel(ref, maxRef):
		refused = refuseAt("ref", "ref_invalid")
	}
	if refused != nil {
		return nil, "", refused
	}
	records, err := in.o.Finder.ByRef(ctx, []string{number}, ref)
	if err != nil {
		return nil, "", in.notListed(err)
	}
	return records, "", nil
}

func (in *Intake) byFilter(ctx context.Context, q url.Values, key httpapi.Key) ([]message.Record, string, refusal) {
	f, limit, refused := filterOf(q, key)
	if refused != nil {
		return nil, "", refused
	}
	cursor := q.Get("cursor")
	q.Del("cursor")
	q.Del("limit")
	query := q.Encode()
	var from message.ListPosition
	if cursor != "" {
		var ok bool
		if from, ok = decodeCursor(key, query, cursor); !ok {
			return nil, "", refuseAt("cursor", "cursor_invalid")
		}
	}
	records, next, err := in.o.Finder.List(ctx, f, from, limit)
	if err != nil {
		return nil, "", in.notListed(err)
	}
	if next == nil {
		return records, "", nil
	}
	return records, encodeCursor(key, query, *next), nil
}

// filterOf reads the filter and the limit of a query, for the numbers that an API key covers.
func filterOf(q url.Values, key httpapi.Key) (f message.ListFilter, limit int, refused refusal) {
	if !q.Has("state") && !q.Has("tag") && !q.Has("campaign") && !q.Has("code") {
		return f, 0, refuse("filter_unclear")
	}
	switch number := q.Get("phone_number_id"); {
	case number != "" && !key.Covers(number):
		refused = append(refused, httpapi.Problem("phone_number_id", "phone_number_id_not_found"))
	case number != "":
		f.Numbers = []string{number}
	case !key.CoversAll():
		f.Numbers = append([]string{}, key.Numbers...)
	}
	if q.Has("state") {
		for state := range strings.SplitSeq(q.Get("state"), ",") {
			f.States = append(f.States, message.State(state))
		}
		if slices.ContainsFunc(f.States, func(s message.State) bool { return !slices.Contains(message.States(), s) }) {
			refused = append(refused, httpapi.Problem("state", "query_invalid"))
		}
	}
	if f.Tag = q.Get("tag"); q.Has("tag") && !isLabel(f.Tag, maxTag) {
		refused = append(refused, httpapi.Problem("tag", "tag_invalid"))
	}
	switch {
	case q.Has("campaign") && !isLabel(q.Get("campaign"), maxTag):
		refused = append(refused, httpapi.Problem("campaign", "tag_invalid"))
	case q.Has("campaign"):
		client, wrong := clientOf(q, key)
		refused = append(refused, wrong...)
		f.Flow = &message.Flow{Client: client, Campaign: q.Get("campaign")}
	case q.Has("client"):
		refused = append(refused, httpapi.Problem("client", "filter_unclear"))
	}
	if q.Has("code") {
		code, err := strconv.ParseUint(q.Get("code"), 10, 31)
		if err != nil {
			refused = append(refused, httpapi.Problem("code", "query_invalid"))
		}
		n := int(code)
		f.Code = &n
	}
	for _, bound := range []struct {
		name string
		at   *time.Time
	}{{"since", &f.Since}, {"until", &f.Until}} {
		t, ok := httpapi.ParseTime(q.Get(bound.name))
		if *bound.at = t; q.Has(bound.name) && !ok {
			refused = append(refused, httpapi.Problem(bound.name, "time_invalid"))
		}
	}
	limit = defaultPage
	if q.Has("limit") {
		n, err := strconv.ParseUint(q.Get("limit"), 10, 16)
		if limit = int(n); err != nil || limit < 1 || limit > maxPage {
			refused = append(refused, httpapi.Problem("limit", "query_invalid"))
		}
	}
	return f, limit, refused
}

// notListed logs an error of the finder and returns the refusal.
func (in *Intake) notListed(err error) refusal {
	in.o.Log.Error("cannot list messages", "err", err)
	return refuse("store_unavailable")
}

// stateInfo describes a state.
type stateInfo struct {
	State   message.State `json:"state" doc:"The name of the state."`
	Final   bool          `json:"final" doc:"Whether the state is final."`
	Meaning string        `json:"meaning" doc:"What the state means."`
}

// stateList is the answer of GET /v1/states.
type stateList struct {
	States []stateInfo `json:"states" doc:"All states."`
}

// statesOf returns all states with their descriptions.
func statesOf() (all stateList) {
	for _, s := range message.States() {
		all.States = append(all.States, stateInfo{s, s.Final(), s.Meaning()})
	}
	return all
}

// aboutStates describes all states in Markdown.
func aboutStates() string {
	var b strings.Builder
	b.WriteString("docs/message-life.md describes how a message goes from state to state.\n\n")
	for _, s := range statesOf().States {
		final := ""
		if s.Final {
			final = " (final)"
		}
		b.WriteString("- `" + string(s.State) + "`" + final + ": " + s.Meaning + "\n")
	}
	return strings.TrimSpace(b.String())
}

// states serves GET /v1/states.
func (in *Intake) states(w http.ResponseWriter, r *http.Request) {
	if _, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead, httpapi.ScopeConsole); refused != nil {
		refused.Write(w)
		return
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, statesOf())
}

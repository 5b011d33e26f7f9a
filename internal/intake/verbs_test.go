package intake_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// fakeFinder lists and cancels messages of a fakeStore.
type fakeFinder struct {
	*fakeStore
	standing  message.QueueStatus
	unindexed bool               // there is no index of recipients
	listed    message.ListFilter // of the last call of List
}

func (c *fakeFinder) ByRef(_ context.Context, numbers []string, ref string) ([]message.Record, error) {
	return c.some(numbers, func(r message.Record) bool { return r.Ref == ref })
}

func (c *fakeFinder) ByWAMID(_ context.Context, numbers []string, wamid string) ([]message.Record, error) {
	return c.some(numbers, func(r message.Record) bool { return r.WAMID == wamid })
}

// ByRecipient finds the recipient in the messages. Without recipients there is no index.
func (c *fakeFinder) ByRecipient(_ context.Context, numbers []string, recipient string) ([]message.Record, error) {
	if c.unindexed {
		return nil, message.ErrNoIndex
	}
	return c.some(numbers, func(r message.Record) bool {
		return strings.TrimPrefix(c.messages[r.ID].Content.To, "+") == strings.TrimPrefix(recipient, "+")
	})
}

// some returns the records of some numbers that are wanted; numbers nil: of all.
func (c *fakeFinder) some(numbers []string, wanted func(message.Record) bool) (found []message.Record, err error) {
	for _, r := range c.records {
		if (numbers == nil || slices.Contains(numbers, r.From)) && wanted(r) {
			found = append(found, r)
		}
	}
	return found, c.err
}

// List returns the records with the selected ids, and uses their number as the position.
func (c *fakeFinder) List(_ context.Context, f message.ListFilter, from message.ListPosition, limit int) ([]message.Record, *message.ListPosition, error) {
	c.listed = f
	var all []message.Record
	for _, id := range slices.Sorted(maps.Keys(c.records)) {
		if r := c.records[id]; f.Selects(r, time.Now()) {
			all = append(all, r)
		}
	}
	all = all[from.Offset:]
	if c.err != nil || len(all) <= limit {
		return all, nil, c.err
	}
	return all[:limit], &message.ListPosition{Offset: from.Offset + uint64(limit), Member: all[limit-1].ID}, nil
}

func (c *fakeFinder) QueueStatus(context.Context, message.Record) (message.QueueStatus, error) {
	return c.standing, c.err
}

func (c *fakeFinder) Cancel(_ context.Context, id string) (message.State, error) {
	r, ok := c.records[id]
	switch {
	case c.err != nil:
		return "", c.err
	case !ok:
		return "", message.ErrNotFound
	case r.State == message.Queued || r.State == message.Parked:
		r.State = message.Cancelled
		c.records[id] = r
	}
	return r.State, nil
}

// ask sends a request with a key that has one scope, and returns the status and the JSON of the answer.
func (b *bench) ask(t *testing.T, scope, method, path string) (int, map[string]any) {
	t.Helper()
	r := b.do(t, method, path, "", withHeader("Authorization", "Bearer "+b.keys[scope]))
	answer := map[string]any{}
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
		t.Fatalf("%s %s: %q: %v", method, path, r.body, err)
	}
	return r.status, answer
}

// TestEveryRouteAsksForItsScope: a route accepts only keys with its scope.
func TestEveryRouteAsksForItsScope(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for _, r := range c.in.Document().Routes {
		path := strings.NewReplacer("{id}", message.NewID(ours, "x"), "{version}", "v25.0", "{phone_number_id}", ours, "{edge}", "whatsapp_business_profile", "{$}", "").Replace(r.Path)
		if r.Scope == "" {
			if got := c.do(t, r.Method, path, "", func(r *http.Request) { r.Header.Del("Authorization") }); got.status != 200 {
				t.Errorf("%s %s, which needs no key: %d", r.Method, r.Path, got.status)
			}
			continue
		}
		for _, scope := range httpapi.Scopes() {
			status, answer := c.ask(t, scope, r.Method, path)
			refused := status == http.StatusForbidden && code(answer) == "scope_missing"
			if refused == (r.Scope == scope || r.Console && (scope == httpapi.ScopeConsole || scope == httpapi.ScopeAdmin)) {
				t.Errorf("%s %s, which needs %q, with a key for %s: %d %v", r.Method, r.Path, r.Scope, scope, status, answer["code"])
			}
		}
		if status, answer := c.ask(t, "none", r.Method, path); status != 401 || code(answer) != "unauthenticated" {
			t.Errorf("%s %s without a key: %d %v", r.Method, r.Path, status, answer["code"])
		}
	}
}

// code returns the code of a problem document, or of an error in Meta's form.
func code(answer map[string]any) any {
	if meta, is := answer["error"].(map[string]any); is {
		return map[float64]string{10: "scope_missing", 190: "unauthenticated"}[meta["code"].(float64)]
	}
	return answer["code"]
}

// TestCancel: the answer in each state.
func TestCancel(t *testing.T) {
	t.Parallel()
	c := setup(t)
	want := map[message.State]string{
		message.Queued: "", message.Parked: "", message.Cancelled: "",
		message.Attempting: "in_flight", message.InDoubt: "in_flight",
		message.Submitted: "already_sent", message.Sent: "already_sent", message.Delivered: "already_sent", message.Read: "already_sent", message.Played: "already_sent",
		message.Failed: "already_final", message.Rejected: "already_final", message.Expired: "already_final", message.Dead: "already_final",
	}
	for _, st := range message.States() {
		id := message.NewID(ours, string(st))
		c.store.records[id] = message.Record{State: st}
		code, named := want[st]
		if !named {
			t.Errorf("the test lacks the answer for the state %s", st)
		}
		for range 2 {
			status, answer := c.ask(t, httpapi.ScopeCancel, "POST", "/v1/messages/"+id+"/cancel")
			switch {
			case code == "" && (status != 200 || answer["state"] != "cancelled" || answer["id"] != id):
				t.Errorf("%s: %d %v", st, status, answer)
			case code != "" && (status != 409 || answer["code"] != code):
				t.Errorf("%s: %d %v, want %s", st, status, answer, code)
			}
		}
	}
	for body, code := range map[string]string{
		"": "", "{}": "", " {\n} ": "", `{"reason":"too late"}`: "body_not_allowed", `{"id":null}`: "body_not_allowed", "null": "body_not_allowed", "[]": "body_not_allowed",
		"{": "body_not_allowed", "{} {}": "body_not_allowed", " ": "body_not_allowed", "reason=x": "body_not_allowed", strings.Repeat(" ", 70<<10) + "{}": "body_not_allowed",
	} {
		id := message.NewID(ours, "body")
		c.store.records[id] = message.Record{State: message.Queued}
		r := c.do(t, "POST", "/v1/messages/"+id+"/cancel", body, withHeader("Authorization", "Bearer "+c.keys[httpapi.ScopeCancel]))
		if cancelled := c.store.records[id].State == message.Cancelled; cancelled != (code == "") || !strings.Contains(r.body, cmp.Or(code, "cancelled")) || (code != "") != (r.status == 400) {
			t.Errorf("with the body %.30q: %d %s, want %s", body, r.status, r.body, code)
		}
	}
	for name, id := range map[string]string{
		"not there": message.NewID(ours, "unknown"), "of a number the key does not cover": message.NewID(theirs, "x"), "no id": "..%2f..%2fx",
	} {
		if status, answer := c.ask(t, httpapi.ScopeCancel, "POST", "/v1/messages/"+id+"/cancel"); status != 404 {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	c.store.err = errors.New("away")
	if status, answer := c.ask(t, httpapi.ScopeCancel, "POST", "/v1/messages/"+message.NewID(ours, "queued")+"/cancel"); status != 503 || answer["code"] != "store_unavailable" {
		t.Errorf("without a store: %d %v", status, answer)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for _, number := range []string{ours, theirs} {
		id := message.NewID(number, "x")
		c.store.records[id] = message.Record{Context: message.Context{ID: id, From: number, Ref: "order 1 & 2"}, State: message.Read}
	}
	status, answer := c.ask(t, httpapi.ScopeRead, "GET", "/v1/messages?phone_number_id="+ours+"&ref=order+1+%26+2")
	if all, _ := answer["messages"].([]any); status != 200 || len(all) != 1 || all[0].(map[string]any)["id"] != message.NewID(ours, "x") {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer = c.ask(t, httpapi.ScopeRead, "GET", "/v1/messages?phone_number_id="+ours+"&ref=other"); status != 200 || answer["messages"] == nil {
		t.Errorf("none: %d %v", status, answer)
	}
}

// ids returns the ids in an answer of GET /v1/messages.
func ids(answer map[string]any) (all []string) {
	messages, _ := answer["messages"].([]any)
	for _, m := range messages {
		id, _ := m.(map[string]any)["id"].(string)
		all = append(all, id)
	}
	return all
}

// TestListMessages: messages by ids, and pages by state and tag. Each key lists messages of its numbers only.
func TestListMessages(t *testing.T) {
	t.Parallel()
	c := setup(t)
	var own []string
	for i, state := range []message.State{message.Queued, message.Failed, message.Failed, message.Sent} {
		for _, number := range []string{ours, theirs} {
			id := message.NewID(number, fmt.Sprint(i))
			c.store.records[id] = message.Record{Context: message.Context{ID: id, From: number, Tags: []string{"spring"}}, State: state}
			if number == ours {
				own = append(own, id)
			}
		}
	}
	get := func(query string) (int, map[string]any) {
		return c.ask(t, httpapi.ScopeRead, "GET", "/v1/messages?"+query)
	}

	_, answer := get("ids=" + strings.Join([]string{own[2], message.NewID(theirs, "0"), message.NewID(ours, "none"), "x", own[0]}, ","))
	if got := ids(answer); !slices.Equal(got, []string{own[2], own[0]}) {
		t.Errorf("by ids: %v", answer)
	}
	final := answer["messages"].([]any)
	if final[0].(map[string]any)["final"] != true || final[1].(map[string]any)["final"] != false {
		t.Errorf("final: %v", answer)
	}

	const query = "tag=spring&state=failed,queued&since=2026-01-01T00:00:00Z&until=2126-01-01T00:00:00Z"
	_, first := get(query + "&limit=2")
	cursor, _ := first["next_cursor"].(string)
	_, second := get(query + "&limit=1&cursor=" + cursor)
	all := append(ids(first), ids(second)...)
	want := slices.Clone(own[:3])
	slices.Sort(want)
	if !slices.Equal(all, want) || cursor == "" || second["next_cursor"] != nil {
		t.Errorf("page by page: %v and %v, want %q", first, second, want)
	}
	wantFilter := message.ListFilter{
		Numbers: []string{ours}, States: []message.State{message.Failed, message.Queued}, Tag: "spring",
		Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	if !reflect.DeepEqual(c.finder.listed, wantFilter) {
		t.Errorf("the filter is %+v", c.finder.listed)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(cursor); err != nil || bytes.Contains(raw, []byte(ours)) {
		t.Errorf("the cursor has a readable id: %q", raw)
	}

	for name, tt := range map[string]struct{ token, query string }{
		"of another query":   {c.keys[httpapi.ScopeRead], "tag=spring&cursor=" + cursor},
		"of another API key": {c.narrow, query + "&cursor=" + cursor},
		"changed":            {c.keys[httpapi.ScopeRead], query + "&cursor=" + strings.ToUpper(cursor)},
		"made up":            {c.keys[httpapi.ScopeRead], query + "&cursor=e30"},
	} {
		r := c.do(t, "GET", "/v1/messages?"+tt.query, "", withHeader("Authorization", "Bearer "+tt.token))
		if r.status != 422 || !strings.Contains(r.body, `"cursor_invalid"`) {
			t.Errorf("a cursor %s: %d %s", name, r.status, r.body)
		}
	}
	if r := c.do(t, "GET", "/v1/messages?tag=spring", "", withHeader("Authorization", "Bearer "+c.wide)); r.status != 200 || c.finder.listed.Numbers != nil {
		t.Errorf("for all numbers: %d, %+v", r.status, c.finder.listed)
	}

	for query, code := range map[string]string{
		"": "filter_unclear", "limit=5": "filter_unclear", "ids=x&tag=y": "filter_unclear", "phone_number_id=" + ours + "&ref=1&state=failed": "filter_unclear",
		"ids=" + strings.Repeat("x,", 100): "query_invalid",
		"ref=1":                            "phone_number_id_missing", "phone_number_id=x&ref=1": "phone_number_id_invalid", "phone_number_id=" + theirs + "&ref=1": "phone_number_id_not_found",
		"phone_number_id=" + ours + "&ref=a%00": "ref_invalid", "phone_number_id=" + ours + "&ref=" + strings.Repeat("x", 256): "ref_invalid",
		"phone_number_id=" + theirs + "&tag=1": "phone_number_id_not_found", "state=gone": "query_invalid", "state=failed,": "query_invalid", "tag=" + strings.Repeat("x", 65): "tag_invalid",
		"state=failed&since=yesterday": "time_invalid", "state=failed&limit=0": "query_invalid", "state=failed&limit=201": "query_invalid", "state=failed&limit=-1": "query_invalid",
	} {
		if status, answer := get(query); status < 400 || answer["code"] != code {
			t.Errorf("%s: %d %v, want %s", query, status, answer["code"], code)
		}
	}
	c.store.err = errors.New("away")
	for _, query := range []string{"ids=" + own[0], "state=failed", "phone_number_id=" + ours + "&ref=1"} {
		if status, answer := get(query); status != 503 || answer["code"] != "store_unavailable" {
			t.Errorf("%s without a store: %d %v", query, status, answer)
		}
	}
}

// TestStates: the API lists every state, with its meaning and whether it is final.
func TestStates(t *testing.T) {
	t.Parallel()
	c := setup(t)
	status, answer := c.ask(t, httpapi.ScopeRead, "GET", "/v1/states")
	all, _ := answer["states"].([]any)
	if status != 200 || len(all) != len(message.States()) {
		t.Fatalf("%d %v", status, answer)
	}
	for i, s := range message.States() {
		got := all[i].(map[string]any)
		if got["state"] != string(s) || got["final"] != s.Final() || got["meaning"] == "" || got["meaning"] != s.Meaning() {
			t.Errorf("%s: %v", s, got)
		}
	}
}

// TestExplain: each rule, and which one of several is shown.
func TestExplain(t *testing.T) {
	t.Parallel()
	c := setup(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	soon, later := now.Add(time.Minute), now.Add(time.Hour)
	on := func(until time.Time) message.Hold {
		return message.Hold{Number: ours, Reason: "token", By: "sluice", Code: 190, Since: now, Until: until}
	}
	all := message.QueueStatus{Holds: []message.Hold{on(later)}, Task: message.TaskDelayed, Until: soon}
	for name, tt := range map[string]struct {
		record   message.Record
		standing message.QueueStatus
		rule     string
		until    time.Time
		more     string // a further part of the answer, as JSON
	}{
		"for later":              {message.Record{State: message.Queued, NextAt: later}, all, "scheduled", later, ""},
		"after another one":      {message.Record{State: message.Queued, NextAt: later, After: message.After{ID: "1-a", State: message.Read}}, all, "after", later, `"after":{"id":"1-a","state":"read"}`},
		"between attempts":       {message.Record{State: message.Queued, NextAt: soon, Attempt: 3, Code: 130429}, all, "backoff", soon, `"code":130429`},
		"held":                   {message.Record{State: message.Queued, NextAt: now.Add(-time.Second)}, all, "hold", later, `"phone_number_id":"` + ours + `"`},
		"held twice":             {message.Record{State: message.Queued}, message.QueueStatus{Holds: []message.Hold{on(soon), on(later)}}, "hold", later, `"actor":"sluice"`},
		"held without end":       {message.Record{State: message.Queued}, message.QueueStatus{Holds: []message.Hold{on(soon), on(time.Time{}), on(later)}}, "hold", time.Time{}, `"reason":"token"`},
		"a named message":        {message.Record{State: message.Queued}, message.QueueStatus{Task: message.TaskDelayed, Until: soon, Named: "x"}, "named_message", later, ""},
		"another app":            {message.Record{State: message.Queued}, message.QueueStatus{Task: message.TaskDelayed, Elsewhere: true, Until: soon}, "conversation_of_other_app", soon, "24 hours"},
		"recipient":              {message.Record{State: message.Queued}, message.QueueStatus{Task: message.TaskDelayed, Until: soon}, "pair_limit", soon, ""},
		"waits":                  {message.Record{State: message.Queued}, message.QueueStatus{Task: message.TaskWaiting, Ahead: 120, In: time.Hour}, "queue", later, `"ahead":120`},
		"first":                  {message.Record{State: message.Queued}, message.QueueStatus{Task: message.TaskWaiting}, "queue", now, `"ahead":0`},
		"far behind":             {message.Record{State: message.Queued}, message.QueueStatus{Task: message.TaskWaiting, Ahead: 1e6, Approximate: true, In: time.Hour}, "queue", later, `behind at most 1000000 messages of`},
		"its time has just come": {message.Record{State: message.Queued}, message.QueueStatus{Task: message.TaskDelayed, Until: now.Add(-time.Second)}, "queue", now, ""},
		"fetched":                {message.Record{State: message.Queued}, message.QueueStatus{Task: message.TaskFetched}, "fetched", time.Time{}, ""},
		"lost":                   {message.Record{State: message.Queued}, message.QueueStatus{Task: message.TaskMissing}, "task_missing", later, ""},
		"under way":              {message.Record{State: message.Attempting, Timeline: []message.Step{{At: now}}}, message.QueueStatus{}, "attempt", soon, ""},
		"in doubt":               {message.Record{State: message.InDoubt, Reason: message.ReasonNoAnswer, NextAt: soon}, message.QueueStatus{}, "in_doubt", soon, `"then":"park"`},
		"after a server error":   {message.Record{State: message.InDoubt, Reason: message.ReasonServerError, NextAt: soon}, message.QueueStatus{}, "in_doubt", soon, `"then":"retry"`},
		"parked":                 {message.Record{State: message.Parked}, message.QueueStatus{}, "parked", time.Time{}, ""},
		"submitted":              {message.Record{State: message.Submitted}, message.QueueStatus{}, "awaiting_status", time.Time{}, ""},
		"held by Meta":           {message.Record{State: message.Submitted, Reason: message.ReasonQuality}, message.QueueStatus{}, "awaiting_status", time.Time{}, `its message_status is held_for_quality_assessment`},
		"with Meta's words":      {message.Record{State: message.Failed, Code: 131026, Detail: message.ErrorDetail{Details: "said Meta"}}, message.QueueStatus{}, "final", time.Time{}, `"details":"said Meta"`},
		"moved":                  {message.Record{State: message.Cancelled, MovedTo: "1-x"}, message.QueueStatus{}, "final", time.Time{}, "Message 1-x of another number"},
		"failed":                 {message.Record{State: message.Failed, Code: 131026}, message.QueueStatus{}, "final", time.Time{}, `"title":"Undeliverable"`},
	} {
		t.Run(name, func(t *testing.T) {
			id := message.NewID(ours, name)
			tt.record.Context = message.Context{ID: id, From: ours, Class: message.Utility}
			tt.record.ExpiresAt = later
			c.store.records[id], c.finder.standing = tt.record, tt.standing
			status, answer := c.ask(t, httpapi.ScopeRead, "GET", "/v1/messages/"+id+"/explain")
			text, _ := json.Marshal(answer)
			if status != 200 || answer["rule"] != tt.rule || answer["state"] != string(tt.record.State) || answer["detail"] == "" || !strings.Contains(string(text), tt.more) {
				t.Errorf("%d %s, want the rule %s and %s", status, text, tt.rule, tt.more)
			}
			until, _ := time.Parse(time.RFC3339, fmtAny(answer["until"]))
			if d := until.Sub(tt.until).Abs(); tt.until.IsZero() != until.IsZero() || d > 5*time.Second {
				t.Errorf("until %v, want %s", answer["until"], tt.until)
			}
			if _, given := answer["expires_at"]; given == tt.record.State.Final() {
				t.Errorf("deadline %v", answer["expires_at"])
			}
		})
	}
	for _, st := range message.States() {
		id := message.NewID(ours, string(st))
		c.store.records[id] = message.Record{Context: message.Context{ID: id, From: ours}, State: st}
		if _, answer := c.ask(t, httpapi.ScopeRead, "GET", "/v1/messages/"+id+"/explain"); (answer["rule"] == "final") != st.Final() {
			t.Errorf("%s: the rule is %v", st, answer["rule"])
		}
	}
	removed := message.NewID("109999999999999", "m")
	c.store.records[removed] = message.Record{Context: message.Context{ID: removed, From: "109999999999999"}, State: message.Queued, ExpiresAt: later}
	if r := c.do(t, "GET", "/v1/messages/"+removed+"/explain", "", withHeader("Authorization", "Bearer "+c.wide)); !strings.Contains(r.body, `"rule":"number_not_configured"`) {
		t.Errorf("of a number that was removed from the configuration: %s", r.body)
	}
	if status, _ := c.ask(t, httpapi.ScopeRead, "GET", "/v1/messages/"+message.NewID(ours, "x")+"/explain"); status != 404 {
		t.Errorf("not there: %d", status)
	}
}

func fmtAny(v any) string {
	s, _ := v.(string)
	return s
}

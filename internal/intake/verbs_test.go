package intake_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// fakeFinder finds and cancels messages over the records of a fakeStore.
type fakeFinder struct {
	*fakeStore
	standing message.Standing
}

func (c *fakeFinder) ByRef(_ context.Context, number, ref string) (found []message.Record, err error) {
	for _, r := range c.records {
		if r.From == number && r.Ref == ref {
			found = append(found, r)
		}
	}
	return found, c.err
}

func (c *fakeFinder) Standing(context.Context, message.Record) (message.Standing, error) {
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

// ask returns an answer's status and JSON, with the key that has one scope alone.
func (b *bench) ask(t *testing.T, scope, method, path string) (int, map[string]any) {
	t.Helper()
	r := b.do(t, method, path, "", withHeader("Authorization", "Bearer "+b.keys[scope]))
	answer := map[string]any{}
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
		t.Fatalf("%s %s: %q: %v", method, path, r.body, err)
	}
	return r.status, answer
}

// TestEveryRouteAsksForItsScope: of all scopes only the route's own opens it.
func TestEveryRouteAsksForItsScope(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for _, r := range c.in.Document().Routes {
		path := strings.NewReplacer("{id}", message.NewID(ours, "x"), "{version}", "v25.0", "{number}", ours).Replace(r.Path)
		for _, scope := range httpapi.Scopes() {
			status, answer := c.ask(t, scope, r.Method, path)
			refused := status == http.StatusForbidden && code(answer) == "scope_missing"
			if refused != (r.Scope != "" && r.Scope != scope) {
				t.Errorf("%s %s, which asks for %q, with a key for %s: %d %v", r.Method, r.Path, r.Scope, scope, status, answer["code"])
			}
		}
		if status, answer := c.ask(t, "none", r.Method, path); r.Scope != "" && (status != 401 || code(answer) != "unauthenticated") {
			t.Errorf("%s %s without a key: %d %v", r.Method, r.Path, status, answer["code"])
		}
	}
}

// code is that of a problem, also where it comes in Meta's shape.
func code(answer map[string]any) any {
	if meta, is := answer["error"].(map[string]any); is {
		return map[float64]string{10: "scope_missing", 190: "unauthenticated"}[meta["code"].(float64)]
	}
	return answer["code"]
}

// TestCancel: cases 67 to 69 of what callers do, and the rest of the states.
func TestCancel(t *testing.T) {
	t.Parallel()
	c := setup(t)
	want := map[message.State]string{
		message.Queued: "", message.Parked: "", message.Cancelled: "",
		message.Attempting: "in_flight", message.InDoubt: "in_flight",
		message.Submitted: "already_sent", message.Sent: "already_sent", message.Delivered: "already_sent", message.Read: "already_sent", message.Played: "already_sent",
		message.Failed: "already_ended", message.Rejected: "already_ended", message.Expired: "already_ended", message.Dead: "already_ended",
	}
	for _, st := range message.States() {
		id := message.NewID(ours, string(st))
		c.store.records[id] = message.Record{State: st}
		code, named := want[st]
		if !named {
			t.Errorf("the test does not say what is answered of %s", st)
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
	for name, id := range map[string]string{
		"not there": message.NewID(ours, "nobody"), "of a number the key does not cover": message.NewID(theirs, "x"), "no id": "..%2f..%2fx",
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
	status, answer := c.ask(t, httpapi.ScopeRead, "GET", "/v1/messages?from="+ours+"&ref=order+1+%26+2")
	if all, _ := answer["messages"].([]any); status != 200 || len(all) != 1 || all[0].(map[string]any)["id"] != message.NewID(ours, "x") {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer = c.ask(t, httpapi.ScopeRead, "GET", "/v1/messages?from="+ours+"&ref=other"); status != 200 || answer["messages"] == nil {
		t.Errorf("none: %d %v", status, answer)
	}
	for query, code := range map[string]string{
		"": "from_missing", "from=x&ref=1": "from_invalid", "from=" + theirs + "&ref=1": "phone_not_found",
		"from=" + ours: "ref_invalid", "from=" + ours + "&ref=a%00": "ref_invalid", "from=" + ours + "&ref=" + strings.Repeat("x", 256): "ref_invalid",
	} {
		if status, answer := c.ask(t, httpapi.ScopeRead, "GET", "/v1/messages?"+query); status < 400 || answer["code"] != code {
			t.Errorf("%s: %d %v, want %s", query, status, answer["code"], code)
		}
	}
}

// TestExplain: each rule that may keep a message, and which of several is named.
func TestExplain(t *testing.T) {
	t.Parallel()
	c := setup(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	soon, later := now.Add(time.Minute), now.Add(time.Hour)
	on := func(until time.Time) message.Hold {
		return message.Hold{Number: ours, Reason: "token", By: "sluice", Code: 190, Since: now, Until: until}
	}
	all := message.Standing{Holds: []message.Hold{on(later)}, Task: message.TaskDelayed, Until: soon}
	for name, tt := range map[string]struct {
		record   message.Record
		standing message.Standing
		rule     string
		until    time.Time
		more     string // what the answer tells besides, as JSON
	}{
		"for later":              {message.Record{State: message.Queued, NextAt: later}, all, "scheduled", later, ""},
		"between attempts":       {message.Record{State: message.Queued, NextAt: soon, Attempt: 3, Code: 130429}, all, "backoff", soon, `"code":130429`},
		"held":                   {message.Record{State: message.Queued, NextAt: now.Add(-time.Second)}, all, "hold", later, `"on":"number ` + ours + `"`},
		"held twice":             {message.Record{State: message.Queued}, message.Standing{Holds: []message.Hold{on(soon), on(later)}}, "hold", later, `"by":"sluice"`},
		"held without end":       {message.Record{State: message.Queued}, message.Standing{Holds: []message.Hold{on(soon), on(time.Time{}), on(later)}}, "hold", time.Time{}, `"reason":"token"`},
		"recipient":              {message.Record{State: message.Queued}, message.Standing{Task: message.TaskDelayed, Until: soon}, "recipient", soon, ""},
		"waits":                  {message.Record{State: message.Queued}, message.Standing{Task: message.TaskWaiting, Ahead: 120, In: time.Hour}, "queue", later, `"ahead":120`},
		"first":                  {message.Record{State: message.Queued}, message.Standing{Task: message.TaskWaiting}, "queue", now, `"ahead":0`},
		"far behind":             {message.Record{State: message.Queued}, message.Standing{Task: message.TaskWaiting, Ahead: 1e6, About: true, In: time.Hour}, "queue", later, `behind at most 1000000 of`},
		"its time has just come": {message.Record{State: message.Queued}, message.Standing{Task: message.TaskDelayed, Until: now.Add(-time.Second)}, "queue", now, ""},
		"in hand":                {message.Record{State: message.Queued}, message.Standing{Task: message.TaskTaken}, "taken", time.Time{}, ""},
		"lost":                   {message.Record{State: message.Queued}, message.Standing{Task: message.TaskGone}, "task_gone", later, ""},
		"under way":              {message.Record{State: message.Attempting, Timeline: []message.Step{{At: now}}}, message.Standing{}, "attempt", soon, ""},
		"in doubt":               {message.Record{State: message.InDoubt, Reason: message.ReasonNoAnswer, NextAt: soon}, message.Standing{}, "evidence", soon, `"then":"park"`},
		"after a server error":   {message.Record{State: message.InDoubt, Reason: message.ReasonServerError, NextAt: soon}, message.Standing{}, "evidence", soon, `"then":"again"`},
		"parked":                 {message.Record{State: message.Parked}, message.Standing{}, "person", time.Time{}, ""},
		"submitted":              {message.Record{State: message.Submitted}, message.Standing{}, "receipt", time.Time{}, ""},
		"held by Meta":           {message.Record{State: message.Submitted, Reason: message.ReasonQuality}, message.Standing{}, "receipt", time.Time{}, `its message_status is held_for_quality_assessment`},
		"with Meta's words":      {message.Record{State: message.Failed, Code: 131026, Detail: message.ErrorDetail{Details: "said Meta"}}, message.Standing{}, "end", time.Time{}, `"details":"said Meta"`},
		"failed":                 {message.Record{State: message.Failed, Code: 131026}, message.Standing{}, "end", time.Time{}, `"title":"Undeliverable"`},
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
			if _, told := answer["expires_at"]; told == slices.Contains([]message.State{message.Failed}, tt.record.State) {
				t.Errorf("deadline %v", answer["expires_at"])
			}
		})
	}
	if status, _ := c.ask(t, httpapi.ScopeRead, "GET", "/v1/messages/"+message.NewID(ours, "x")+"/explain"); status != 404 {
		t.Errorf("not there: %d", status)
	}
}

func fmtAny(v any) string {
	s, _ := v.(string)
	return s
}

package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/console"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	ours   = "106540352242922"
	theirs = "200000000000001"
)

// shelf keeps messages and holds in memory, as far as the console asks.
type shelf struct {
	mu    sync.Mutex // of Move
	held  []message.Hold
	open  map[string]message.Open
	moves []message.Move
	dead  []message.DeadLetter
	ended []message.Record
	gone  bool // the content of what ended
	noted []message.AuditEntry
	busy  int // so many moves find that something happened meanwhile
	err   error
}

func (s *shelf) List(context.Context) ([]message.Hold, error) { return s.held, s.err }

// CountHeld says that the first hold keeps one message, the second two, and so on.
func (s *shelf) CountHeld(_ context.Context, holds []message.Hold) (byHold []int, byNumber map[string]int, err error) {
	for i := range holds {
		byHold = append(byHold, i+1)
	}
	return byHold, nil, s.err
}

func (s *shelf) Set(_ context.Context, h message.Hold) (message.Hold, error) {
	s.held = append(s.held, h)
	return h, s.err
}

func (s *shelf) Release(_ context.Context, h message.Hold) (bool, error) {
	for _, other := range s.held {
		if other.On() == h.On() {
			return true, s.err
		}
	}
	return false, s.err
}

func (s *shelf) InDoubt(context.Context, string, int) (all []message.Record, err error) {
	for _, o := range s.open {
		if o.State == message.Parked || o.State == message.InDoubt {
			all = append(all, message.Record{Context: o.Message, State: o.State, Reason: o.Reason})
		}
	}
	return all, s.err
}

func (s *shelf) AwaitingStatus(_ context.Context, number string, before time.Time, _ int) (all []message.Record, err error) {
	for _, o := range s.open {
		if o.State == message.Submitted && o.Since.Before(before) && (number == "" || o.Message.From == number) {
			all = append(all, message.Record{Context: o.Message, State: o.State, Timeline: []message.Step{{State: o.State, At: o.Since}}})
		}
	}
	return all, s.err
}

func (s *shelf) Dead(_ context.Context, filter message.DeadFilter, f func(message.DeadLetter) bool) error {
	for _, d := range s.dead {
		if filter.Selects(d) && s.open[d.ID].State != message.Queued && !f(d) {
			break
		}
	}
	return s.err
}

func (s *shelf) Ended(_ context.Context, filter message.EndedFilter, f func(message.Ended) bool) error {
	for _, r := range s.ended {
		o := s.open[r.ID]
		if o.State == r.State && r.From == filter.Number && filter.Selects(r, r.Timeline[0].At) && !f(message.Ended{Open: o, Code: r.Code, At: r.Timeline[0].At, Kept: !s.gone}) {
			break
		}
	}
	return s.err
}

func (s *shelf) ReadOpen(_ context.Context, id string) (message.Open, error) {
	o, ok := s.open[id]
	if !ok {
		return o, message.ErrNotFound
	}
	return o, s.err
}

func (s *shelf) Move(_ context.Context, o message.Open, m message.Move) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy > 0 {
		s.busy--
		return false, s.err
	}
	o.State, o.Reason = m.To, m.Reason
	s.open[o.ID] = o
	s.moves = append(s.moves, m)
	return true, s.err
}

func (s *shelf) Add(_ context.Context, d message.AuditEntry) error {
	s.noted = append(s.noted, d)
	return s.err
}
func (s *shelf) Latest(context.Context, int) ([]message.AuditEntry, error) { return s.noted, s.err }

// desk is a console in front of a shelf.
type desk struct {
	*httptest.Server
	shelf *shelf
	c     *console.Console
	keys  map[string]string // tokens by scope, and "wide" for all numbers
}

func setup(t *testing.T) *desk {
	t.Helper()
	d := &desk{shelf: &shelf{open: map[string]message.Open{}}, keys: map[string]string{}}
	var keys httpapi.Keys
	add := func(name, scope, number string) {
		d.keys[name] = httpapi.NewToken()
		keys = append(keys, httpapi.Key{Name: "key-" + name, Hash: httpapi.HashToken(d.keys[name]), Scopes: []string{scope}, Numbers: []string{number}})
	}
	for _, scope := range httpapi.Scopes() {
		add(scope, scope, ours)
	}
	add("wide", httpapi.ScopeAdmin, httpapi.AllNumbers)
	d.c = console.New(console.Options{
		Holds: d.shelf, Lists: d.shelf, Messages: d.shelf, Audit: d.shelf, Keys: keys,
		Numbers: func(number string) bool { return number == ours || number == theirs },
	})
	d.Server = httptest.NewUnstartedServer(d.c.Handler())
	d.Config.ReadTimeout = time.Second // of a whole request; only the trickled body needs it
	d.Start()
	t.Cleanup(d.Close)
	return d
}

// do makes a request with a key; change may alter its header.
func (d *desk) do(t *testing.T, key, method, path string, body io.Reader, change func(http.Header)) (status int, header http.Header, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + d.keys[key]}, "Content-Type": {"application/json"}}
	if change != nil {
		change(req.Header)
	}
	resp, err := d.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// ask returns an answer's status and JSON.
func (d *desk) ask(t *testing.T, key, method, path, body string) (int, map[string]any) {
	t.Helper()
	status, _, text := d.do(t, key, method, path, strings.NewReader(body), nil)
	answer := map[string]any{}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%s %s: %q: %v", method, path, text, err)
	}
	return status, answer
}

// TestEveryRouteAsksForItsScope: a key that may send may not hold.
func TestEveryRouteAsksForItsScope(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for _, r := range d.c.Document().Routes {
		path := strings.NewReplacer("{id}", message.NewID(ours, "x"), "{$}", "").Replace(r.Path)
		if r.Scope == "" {
			if status, _, _ := d.do(t, "none", r.Method, path, nil, nil); status != 200 {
				t.Errorf("%s %s, which asks for no key: %d", r.Method, r.Path, status)
			}
			continue
		}
		for _, scope := range httpapi.Scopes() {
			status, answer := d.ask(t, scope, r.Method, path, "{}")
			refused := status == http.StatusForbidden && answer["code"] == "scope_missing"
			if refused != (scope != httpapi.ScopeAdmin) {
				t.Errorf("%s %s with a key for %s: %d %v", r.Method, r.Path, scope, status, answer["code"])
			}
		}
		if status, _ := d.ask(t, "none", r.Method, path, "{}"); status != 401 {
			t.Errorf("%s %s without a key: %d", r.Method, r.Path, status)
		}
	}
	if document := d.c.Document().OpenAPI(); !json.Valid(document) {
		t.Error("the description is no JSON")
	}
}

const signed = `"actor":"anna","reason":"because"`

// TestOrdersAreChecked: what is wrong with an order is said, and nothing is done.
func TestOrdersAreChecked(t *testing.T) {
	t.Parallel()
	parked := message.NewID(ours, "parked")
	resolve, holds, replay, resend := "/v1/in-doubt/"+parked+"/resolve", "/v1/holds", "/v1/dead-letters/replay", "/v1/undelivered/resend"
	for name, tt := range map[string]struct {
		path, body string
		status     int
		code       string
	}{
		"71: without a reason":        {resolve, `{"resolution":"sent","actor":"anna"}`, 422, "reason_missing"},
		"a blank reason":              {resolve, `{"resolution":"sent","actor":"anna","reason":"  "}`, 422, "reason_missing"},
		"a long reason":               {resolve, `{"resolution":"sent","actor":"anna","reason":"` + strings.Repeat("x", 201) + `"}`, 422, "reason_missing"},
		"nobody":                      {resolve, `{"resolution":"sent","reason":"because"}`, 422, "actor_missing"},
		"resolve as what":             {resolve, `{` + signed + `}`, 422, "resolution_unknown"},
		"not there":                   {"/v1/in-doubt/" + message.NewID(ours, "nobody") + "/resolve", `{"resolution":"sent",` + signed + `}`, 404, "not_found"},
		"another's":                   {"/v1/in-doubt/" + message.NewID(theirs, "parked") + "/resolve", `{"resolution":"sent",` + signed + `}`, 404, "not_found"},
		"no id":                       {"/v1/in-doubt/..%2Fx/resolve", `{"resolution":"sent",` + signed + `}`, 404, "not_found"},
		"no body":                     {resolve, ``, 400, "body_empty"},
		"cut off":                     {resolve, `{"resolution"`, 400, "json_invalid"},
		"something behind":            {resolve, `{"resolution":"sent",` + signed + `}x`, 400, "json_trailing_data"},
		"a member nobody knows":       {resolve, `{"resolution":"sent","x":1,` + signed + `}`, 422, "field_unknown"},
		"another type":                {resolve, `{"resolution":7,` + signed + `}`, 422, "type_mismatch"},
		"too much":                    {resolve, `{"resolution":"` + strings.Repeat("x", 70000) + `"}`, 413, "body_too_large"},
		"hold nothing":                {holds, `{` + signed + `}`, 422, "hold_target_invalid"},
		"hold all and one":            {holds, `{"all":true,"phone_number_id":"` + ours + `",` + signed + `}`, 422, "hold_target_invalid"},
		"a template of all":           {holds, `{"template":"a/en",` + signed + `}`, 422, "hold_target_invalid"},
		"a template without language": {holds, `{"phone_number_id":"` + ours + `","template":"a",` + signed + `}`, 422, "hold_target_invalid"},
		"hold all with a narrow key":  {holds, `{"all":true,` + signed + `}`, 403, "all_numbers_required"},
		"a tag with a narrow key":     {holds, `{"tag":"spring",` + signed + `}`, 403, "all_numbers_required"},
		"another's number":            {holds, `{"phone_number_id":"` + theirs + `",` + signed + `}`, 404, "phone_number_id_not_found"},
		"no number of ours":           {holds, `{"phone_number_id":"1",` + signed + `}`, 404, "phone_number_id_not_found"},
		"for how long":                {holds, `{"phone_number_id":"` + ours + `","for":"1 day",` + signed + `}`, 422, "duration_invalid"},
		"why":                         {holds, `{"phone_number_id":"` + ours + `","actor":"anna"}`, 422, "reason_missing"},
		"replay what":                 {replay, `{` + signed + `}`, 422, "phone_number_id_missing"},
		"replay another's":            {replay, `{"phone_number_id":"` + theirs + `",` + signed + `}`, 404, "phone_number_id_not_found"},
		"replay too many":             {replay, `{"phone_number_id":"` + ours + `","limit":501,` + signed + `}`, 422, "query_invalid"},
		"replay for how long":         {replay, `{"phone_number_id":"` + ours + `","extend":"x",` + signed + `}`, 422, "duration_invalid"},
		"a member in capitals":        {resolve, `{"Resolution":"sent",` + signed + `}`, 422, "field_unknown"},
		"a member with a Kelvin sign": {resolve, `{"\u212aey":1,"resolution":"sent",` + signed + `}`, 422, "field_unknown"},
		"a member twice":              {resolve, `{"resolution":"cancel","resolution":"sent",` + signed + `}`, 400, "json_duplicate_member"},
		"an array":                    {resolve, `[{"resolution":"sent",` + signed + `}]`, 400, "json_not_object"},
		"half of a surrogate pair":    {resolve, `{"resolution":"sent\ud800",` + signed + `}`, 400, "utf8_invalid"},
		"a blank template":            {holds, `{"phone_number_id":"` + ours + `","template":"",` + signed + `}`, 422, "value_empty"},
		"a blank number":              {holds, `{"phone_number_id":"","all":true,` + signed + `}`, 422, "value_empty"},
		"for a blank time":            {holds, `{"phone_number_id":"` + ours + `","for":"",` + signed + `}`, 422, "value_empty"},
		"replay none":                 {replay, `{"phone_number_id":"` + ours + `","limit":0,` + signed + `}`, 422, "query_invalid"},
		"replay of a blank cause":     {replay, `{"phone_number_id":"` + ours + `","message_reason":"",` + signed + `}`, 422, "value_empty"},
		"replay since an odd time":    {replay, `{"phone_number_id":"` + ours + `","since":"2026-01-31T15:04:05+25:00",` + signed + `}`, 422, "time_invalid"},
		"resend what":                 {resend, `{` + signed + `}`, 422, "phone_number_id_missing"},
		"resend another's":            {resend, `{"phone_number_id":"` + theirs + `",` + signed + `}`, 404, "phone_number_id_not_found"},
		"resend from a state":         {resend, `{"phone_number_id":"` + ours + `","state":"dead,delivered",` + signed + `}`, 422, "state_unknown"},
		"resend none":                 {resend, `{"phone_number_id":"` + ours + `","limit":0,` + signed + `}`, 422, "query_invalid"},
		"resend too many":             {resend, `{"phone_number_id":"` + ours + `","limit":10001,` + signed + `}`, 422, "query_invalid"},
		"resend too fast":             {resend, `{"phone_number_id":"` + ours + `","rate":501,` + signed + `}`, 422, "query_invalid"},
		"resend for how long":         {resend, `{"phone_number_id":"` + ours + `","extend":"x",` + signed + `}`, 422, "duration_invalid"},
		"resend of a blank tag":       {resend, `{"phone_number_id":"` + ours + `","tag":"",` + signed + `}`, 422, "value_empty"},
		"resend why":                  {resend, `{"phone_number_id":"` + ours + `","actor":"anna"}`, 422, "reason_missing"},
		"replay why":                  {replay, `{"phone_number_id":"` + ours + `"}`, 422, "actor_missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			d.shelf.open[parked] = message.Open{ID: parked, State: message.Parked}
			d.shelf.dead = []message.DeadLetter{{ID: parked, Number: ours}}
			if status, answer := d.ask(t, "admin", "POST", tt.path, tt.body); status != tt.status || answer["code"] != tt.code {
				t.Errorf("%d %v, want %d %s", status, answer, tt.status, tt.code)
			}
			if len(d.shelf.moves)+len(d.shelf.held)+len(d.shelf.noted) > 0 {
				t.Error("something was done")
			}
		})
	}
}

// TestResolve: what becomes of a doubt by a person's word.
func TestResolve(t *testing.T) {
	t.Parallel()
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Second)
	for name, tt := range map[string]struct {
		from    message.State
		reason  string
		as      string
		expires time.Time
		want    message.State // "": 409
		moves   int
	}{
		"sent":                       {message.Parked, "", "sent", soon, message.Submitted, 1},
		"sent, long ago":             {message.Parked, "", "sent", past, message.Submitted, 1},
		"not sent":                   {message.Parked, "", "not-sent", soon, message.Queued, 1},
		"not sent, and too late":     {message.Parked, "", "not-sent", past, message.Expired, 1},
		"cancelled":                  {message.Parked, "", "cancel", soon, message.Cancelled, 1},
		"while evidence is awaited":  {message.InDoubt, "", "not-sent", soon, message.Queued, 1},
		"once more":                  {message.Submitted, message.ReasonResolved, "sent", soon, message.Submitted, 0},
		"once more, another word":    {message.Submitted, message.ReasonResolved, "cancel", soon, "", 0},
		"70: of what was never one":  {message.Queued, "", "not-sent", soon, "", 0},
		"of what evidence settled":   {message.Delivered, "", "sent", soon, "", 0},
		"of what is under way again": {message.Attempting, "", "cancel", soon, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			id := message.NewID(ours, name)
			d.shelf.open[id] = message.Open{ID: id, State: tt.from, Reason: tt.reason, ExpiresAt: tt.expires}
			d.shelf.busy = tt.moves
			status, answer := d.ask(t, "admin", "POST", "/v1/in-doubt/"+id+"/resolve", `{"resolution":"`+tt.as+`",`+signed+`}`)
			switch {
			case tt.want == "" && (status != 409 || answer["code"] != "not_in_doubt"):
				t.Errorf("%d %v", status, answer)
			case tt.want != "" && (status != 200 || answer["state"] != string(tt.want)):
				t.Errorf("%d %v, want %s", status, answer, tt.want)
			}
			if len(d.shelf.moves) != tt.moves {
				t.Fatalf("moves %+v", d.shelf.moves)
			}
			if want := (message.AuditEntry{Verb: tt.as, On: id, Actor: "anna", Key: "key-admin", Reason: "because"}); tt.moves == 1 && *d.shelf.moves[0].Audit != want {
				t.Errorf("deed %+v", d.shelf.moves[0].Audit)
			}
		})
	}
}

// TestReplay: what lives or is overdue is left alone, and what is left is told.
// TestListUnreported: what Meta took long ago without a word since, as far as the key reaches.
func TestListUnreported(t *testing.T) {
	t.Parallel()
	d := setup(t)
	took := func(number, key string, ago time.Duration) string {
		id := message.NewID(number, key)
		d.shelf.open[id] = message.Open{ID: id, State: message.Submitted, Since: time.Now().Add(-ago), Message: message.Context{ID: id, From: number}}
		return id
	}
	long := took(ours, "long ago", time.Hour)
	took(ours, "just now", time.Minute)
	took(theirs, "another's", time.Hour)
	for _, tt := range []struct {
		key, query string
		want       int
	}{{"admin", "", 1}, {"admin", "?phone_number_id=" + ours, 1}, {"wide", "", 2}, {"wide", "?phone_number_id=" + theirs, 1}} {
		status, answer := d.ask(t, tt.key, "GET", "/v1/awaiting-status"+tt.query, "")
		list, _ := answer["messages"].([]any)
		if status != 200 || len(list) != tt.want {
			t.Fatalf("%s sees %d %v, want %d", tt.key, status, answer, tt.want)
		}
		if one := list[0].(map[string]any); tt.key == "admin" && (one["id"] != long || one["since"] == nil) {
			t.Errorf("listed %v, want %s", one, long)
		}
	}
	if status, answer := d.ask(t, "admin", "GET", "/v1/awaiting-status?phone_number_id="+theirs, ""); status != 404 && status != 400 && status != 422 {
		t.Errorf("another's number: %d %v", status, answer)
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	d := setup(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	add := func(key string, state message.State, expires, died time.Time) string {
		id := message.NewID(ours, key)
		d.shelf.open[id] = message.Open{ID: id, State: state, ExpiresAt: expires}
		d.shelf.dead = append(d.shelf.dead, message.DeadLetter{ID: id, Number: ours, Code: 131000, Reason: message.ReasonAttempts, At: died})
		return id
	}
	first := add("1", message.Dead, now.Add(time.Hour), now.Add(-4*time.Second))
	add("2", message.Delivered, now.Add(time.Hour), now.Add(-3*time.Second)) // evidence came between
	late := add("3", message.Dead, now.Add(-time.Hour), now.Add(-2*time.Second))
	last := add("4", message.Dead, now.Add(time.Hour), now.Add(-time.Second))

	status, answer := d.ask(t, "admin", "GET", "/v1/dead-letters?phone_number_id="+ours+"&code=131000", "")
	if groups, _ := answer["groups"].([]any); status != 200 || answer["count"] != 4. || len(groups) != 1 || len(d.shelf.moves) != 0 {
		t.Fatalf("listed: %d %v", status, answer)
	}
	status, answer = d.ask(t, "admin", "POST", "/v1/dead-letters/replay", `{"phone_number_id":"`+ours+`","limit":3,`+signed+`}`)
	if status != 200 || answer["replayed"] != 1. || answer["overdue"] != 1. || answer["more"] != true || answer["next"] != now.Add(-2*time.Second).Format(time.RFC3339Nano) {
		t.Fatalf("the first three: %d %v", status, answer)
	}
	next, _ := answer["next"].(string)
	status, answer = d.ask(t, "admin", "POST", "/v1/dead-letters/replay", `{"phone_number_id":"`+ours+`","limit":3,"since":"`+next+`",`+signed+`}`)
	if status != 200 || answer["replayed"] != 1. || answer["more"] != false {
		t.Fatalf("the rest: %d %v", status, answer)
	}
	if d.shelf.open[first].State != message.Queued || d.shelf.open[last].State != message.Queued || d.shelf.open[late].State != message.Dead {
		t.Errorf("now %+v", d.shelf.open)
	}
	status, answer = d.ask(t, "admin", "POST", "/v1/dead-letters/replay", `{"phone_number_id":"`+ours+`","extend":"2h",`+signed+`}`)
	if m := d.shelf.moves[len(d.shelf.moves)-1]; status != 200 || answer["replayed"] != 1. || time.Until(m.ExpiresAt) < time.Hour || m.Audit.Actor != "anna" {
		t.Errorf("extended: %d %v %+v", status, answer, m)
	}
	if len(d.shelf.noted) != 3 || d.shelf.noted[0].On != "3 dead letters of number "+ours {
		t.Errorf("noted %+v", d.shelf.noted)
	}
}

// A code of 0 is a code: it selects those that died without one of Meta's, not all of them.
func TestCodeZeroIsACode(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for key, code := range map[string]int{"with": 131000, "without": 0} {
		id := message.NewID(ours, key)
		d.shelf.open[id] = message.Open{ID: id, State: message.Dead, ExpiresAt: time.Now().Add(time.Hour)}
		d.shelf.dead = append(d.shelf.dead, message.DeadLetter{ID: id, Number: ours, Code: code, At: time.Now()})
	}
	for query, want := range map[string]float64{"": 2, "&code=0": 1, "&code=131000": 1} {
		if status, answer := d.ask(t, "admin", "GET", "/v1/dead-letters?phone_number_id="+ours+query, ""); status != 200 || answer["count"] != want {
			t.Errorf("%q: %d %v, want %v", query, status, answer, want)
		}
	}
	status, answer := d.ask(t, "admin", "POST", "/v1/dead-letters/replay", `{"phone_number_id":"`+ours+`","code":0,`+signed+`}`)
	if status != 200 || answer["replayed"] != 1. || d.shelf.open[message.NewID(ours, "with")].State != message.Dead {
		t.Errorf("%d %v", status, answer)
	}
}

// What a query says is honoured or refused.
func TestQueries(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for path, code := range map[string]string{
		"/v1/dead-letters?code=%2B131000": "query_invalid", "/v1/dead-letters?code=0x1F": "query_invalid", "/v1/dead-letters?code=-1": "query_invalid", "/v1/dead-letters?code=": "query_invalid",
		"/v1/dead-letters?since=2026-01-31T15:04:05,5Z": "query_invalid", "/v1/dead-letters?limit=1001": "query_invalid", "/v1/dead-letters?limit=1&limit=2": "query_invalid",
		"/v1/dead-letters?cursor=x": "query_unknown", "/v1/dead-letters?Limit=5": "query_unknown", "/v1/holds?phone_number_id=" + ours: "query_unknown", "/v1/dead-letters?phone_number_id=": "query_invalid",
		"/v1/dead-letters?%zz": "query_invalid", "/v1/undelivered": "phone_number_id_missing", "/v1/undelivered?phone_number_id=" + ours + "&state=sent": "state_unknown",
	} {
		if status, answer := d.ask(t, "admin", "GET", path, ""); status != 422 || answer["code"] != code {
			t.Errorf("%s: %d %v, want %s", path, status, answer, code)
		}
	}
	if status, answer := d.ask(t, "admin", "POST", "/v1/holds?dry=true", `{"phone_number_id":"`+ours+`",`+signed+`}`); status != 422 || answer["code"] != "query_unknown" || len(d.shelf.held) > 0 {
		t.Errorf("%d %v", status, answer)
	}
}

// TestResendEnded: what ended undelivered is counted and sent again by what it was, evenly, and by one
// entry of the audit log; what cannot be sent again is told.
func TestResendEnded(t *testing.T) {
	t.Parallel()
	d := setup(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	add := func(key string, state message.State, code int, reason, tag string, expires time.Time) string {
		id := message.NewID(ours, key)
		about := message.Context{ID: id, From: ours, Tags: []string{tag}, Template: "order/en_US"}
		d.shelf.open[id] = message.Open{ID: id, State: state, Reason: reason, ExpiresAt: expires, Message: about}
		d.shelf.ended = append(d.shelf.ended, message.Record{Context: about, State: state, Code: code, Reason: reason, Timeline: []message.Step{{At: now}}})
		return id
	}
	soon, past := now.Add(time.Hour), now.Add(-time.Hour)
	add("1", message.Rejected, 131047, "", "spring", soon)
	add("2", message.Expired, 0, message.ReasonDeadline, "spring", past)
	add("3", message.Dead, 131000, message.ReasonAttempts, "autumn", soon)
	add("4", message.Failed, 0, message.ReasonUndetermined, "spring", soon)
	add("5", message.Delivered, 0, "", "spring", soon)
	for query, want := range map[string][5]float64{ // count, ready, gone, unclear, overdue
		"":                                    {4, 3, 0, 1, 1},
		"&state=expired,dead":                 {2, 2, 0, 0, 1},
		"&tag=spring":                         {3, 2, 0, 1, 1},
		"&template=order/en_US":               {4, 3, 0, 1, 1},
		"&template=other/en_US":               {},
		"&code=131047":                        {1, 1, 0, 0, 0},
		"&code=0":                             {2, 1, 0, 1, 1},
		"&until=" + past.Format(time.RFC3339): {},
		"&since=" + past.Format(time.RFC3339Nano): {4, 3, 0, 1, 1},
	} {
		status, a := d.ask(t, "admin", "GET", "/v1/undelivered?phone_number_id="+ours+query, "")
		if got := [5]any{a["count"], a["resendable"], a["content_dropped"], a["maybe_delivered"], a["overdue"]}; status != 200 || got != [5]any{want[0], want[1], want[2], want[3], want[4]} {
			t.Errorf("%q: %d %v, want %v", query, status, got, want)
		}
	}
	if len(d.shelf.moves) > 0 {
		t.Fatal("counting moved something")
	}
	d.shelf.gone = true
	if _, a := d.ask(t, "admin", "GET", "/v1/undelivered?phone_number_id="+ours, ""); a["content_dropped"] != 3. || a["resendable"] != 0. {
		t.Errorf("without content: %v", a)
	}
	if _, a := d.ask(t, "admin", "POST", "/v1/undelivered/resend", `{"phone_number_id":"`+ours+`",`+signed+`}`); a["resent"] != 0. || a["content_dropped"] != 3. || len(d.shelf.noted) != 0 {
		t.Errorf("without content: %v", a)
	}
	d.shelf.gone = false
	status, a := d.ask(t, "admin", "POST", "/v1/undelivered/resend", `{"phone_number_id":"`+ours+`","rate":2,"limit":1,"state":"rejected,expired,dead","template":"order/en_US","since":"`+past.Format(time.RFC3339)+`",`+signed+`}`)
	if status != 200 || a["resent"] != 1. || a["overdue"] != 1. || a["more"] != true {
		t.Fatalf("the first: %d %v", status, a)
	}
	status, a = d.ask(t, "admin", "POST", "/v1/undelivered/resend", `{"phone_number_id":"`+ours+`","rate":2,"extend":"2h",`+signed+`}`)
	if status != 200 || a["resent"] != 2. || a["overdue"] != 0. || a["maybe_delivered"] != 1. || a["more"] != false {
		t.Fatalf("the rest: %d %v", status, a)
	}
	if last, err := time.Parse(time.RFC3339Nano, fmt.Sprint(a["last"])); err != nil || last.Sub(now) < 500*time.Millisecond || last.Sub(now) > time.Minute {
		t.Errorf("the last is due at %v", a["last"])
	}
	due := map[time.Duration]bool{}
	for _, m := range d.shelf.moves[1:] {
		due[m.In] = true
		if m.To != message.Queued || m.Reason != message.ReasonReplayed || m.Audit.Verb != message.VerbResend || time.Until(m.ExpiresAt) < time.Hour {
			t.Errorf("%+v", m)
		}
	}
	if !due[0] || !due[500*time.Millisecond] {
		t.Errorf("due after %v: two a second are half a second apart", due)
	}
	if len(d.shelf.noted) != 2 || d.shelf.noted[0].On != "1 messages of number "+ours+", state rejected,expired,dead, template order/en_US, since "+past.Format(time.RFC3339) ||
		d.shelf.noted[1].On != "2 messages of number "+ours || d.shelf.noted[1].Actor != "anna" {
		t.Errorf("noted %+v", d.shelf.noted)
	}
	if _, a := d.ask(t, "admin", "GET", "/v1/undelivered?phone_number_id="+ours, ""); a["count"] != 1. {
		t.Errorf("left: %v", a)
	}
}

// TestHold: what is ordered is what is asked for, by whom, with which key.
func TestHold(t *testing.T) {
	t.Parallel()
	d := setup(t)
	status, answer := d.ask(t, "wide", "POST", "/v1/holds", `{"tag":"spring","for":"2h",`+signed+`}`)
	h := d.shelf.held[0]
	if status != 200 || answer["tag"] != "spring" || h.By != "anna" || h.Key != "key-wide" || h.Reason != "because" || time.Until(h.Until) > 2*time.Hour || time.Until(h.Until) < time.Hour {
		t.Errorf("%d %v: %+v", status, answer, h)
	}
	for key, want := range map[string]string{"admin": "[<nil> 3]", "wide": "[1 2 3]"} { // held messages, as far as the key may see
		d.shelf.held = []message.Hold{{Tag: "spring"}, {Number: theirs}, {Number: ours}}
		_, answer := d.ask(t, key, "GET", "/v1/holds", "")
		var counts []any
		for _, h := range answer["holds"].([]any) {
			counts = append(counts, h.(map[string]any)["held_messages"])
		}
		if got := fmt.Sprint(counts); got != want {
			t.Errorf("%s sees %s held messages, want %s: %v", key, got, want, answer)
		}
	}
	if status, answer := d.ask(t, "wide", "POST", "/v1/holds/release", `{"tag":"spring",`+signed+`}`); status != 200 || answer["released"] != true {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer := d.ask(t, "wide", "POST", "/v1/holds/release", `{"all":true,`+signed+`}`); status != 200 || answer["released"] != false {
		t.Errorf("%d %v", status, answer)
	}
}

// TestStoreAway: without a store nothing is claimed.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := message.NewID(ours, "x")
	d.shelf.open[id] = message.Open{ID: id, State: message.Parked}
	d.shelf.err = errors.New("away")
	for path, body := range map[string]string{
		"/v1/holds": `{"phone_number_id":"` + ours + `",` + signed + `}`, "/v1/holds/release": `{"phone_number_id":"` + ours + `",` + signed + `}`,
		"/v1/in-doubt/" + id + "/resolve": `{"resolution":"sent",` + signed + `}`, "/v1/dead-letters/replay": `{"phone_number_id":"` + ours + `",` + signed + `}`,
		"/v1/undelivered/resend": `{"phone_number_id":"` + ours + `",` + signed + `}`,
	} {
		if status, answer := d.ask(t, "admin", "POST", path, body); status != 503 || answer["code"] != "store_unavailable" {
			t.Errorf("%s: %d %v", path, status, answer)
		}
	}
	for _, path := range []string{"/v1/holds", "/v1/in-doubt", "/v1/dead-letters", "/v1/audit", "/v1/undelivered?phone_number_id=" + ours} {
		if status, _ := d.ask(t, "wide", "GET", path, ""); status != 503 {
			t.Errorf("%s: %d", path, status)
		}
	}
}

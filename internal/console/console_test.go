package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
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
	held  []message.Hold
	open  map[string]message.Open
	moves []message.Move
	dead  []message.DeadLetter
	noted []message.Deed
	busy  int // so many moves find that something happened meanwhile
	err   error
}

func (s *shelf) List(context.Context) ([]message.Hold, error) { return s.held, s.err }

func (s *shelf) Set(_ context.Context, h message.Hold) (message.Hold, error) {
	s.held = append(s.held, h)
	return h, s.err
}

func (s *shelf) Lift(_ context.Context, h message.Hold) (bool, error) {
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

func (s *shelf) Unreported(_ context.Context, number string, before time.Time, _ int) (all []message.Record, err error) {
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

func (s *shelf) Look(_ context.Context, id string) (message.Open, error) {
	o, ok := s.open[id]
	if !ok {
		return o, message.ErrNotFound
	}
	return o, s.err
}

func (s *shelf) Move(_ context.Context, o message.Open, m message.Move) (bool, error) {
	if s.busy > 0 {
		s.busy--
		return false, s.err
	}
	o.State, o.Reason = m.To, m.Reason
	s.open[o.ID] = o
	s.moves = append(s.moves, m)
	return true, s.err
}

func (s *shelf) Note(_ context.Context, d message.Deed) error {
	s.noted = append(s.noted, d)
	return s.err
}
func (s *shelf) Deeds(context.Context, int) ([]message.Deed, error) { return s.noted, s.err }

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
		Holds: d.shelf, Records: d.shelf, Keys: keys,
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
		path := strings.ReplaceAll(r.Path, "{id}", message.NewID(ours, "x"))
		for _, scope := range httpapi.Scopes() {
			status, answer := d.ask(t, scope, r.Method, path, "{}")
			refused := status == http.StatusForbidden && answer["code"] == "scope_missing"
			if refused != (r.Scope != "" && scope != httpapi.ScopeAdmin) {
				t.Errorf("%s %s with a key for %s: %d %v", r.Method, r.Path, scope, status, answer["code"])
			}
		}
		if status, _ := d.ask(t, "none", r.Method, path, "{}"); r.Scope != "" && status != 401 {
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
	resolve, holds, replay := "/v1/doubts/"+parked+"/resolve", "/v1/holds", "/v1/dead/replay"
	for name, tt := range map[string]struct {
		path, body string
		status     int
		code       string
	}{
		"71: without a reason":        {resolve, `{"as":"sent","actor":"anna"}`, 422, "reason_missing"},
		"a blank reason":              {resolve, `{"as":"sent","actor":"anna","reason":"  "}`, 422, "reason_missing"},
		"a long reason":               {resolve, `{"as":"sent","actor":"anna","reason":"` + strings.Repeat("x", 201) + `"}`, 422, "reason_missing"},
		"nobody":                      {resolve, `{"as":"sent","reason":"because"}`, 422, "actor_missing"},
		"resolve as what":             {resolve, `{` + signed + `}`, 422, "as_unknown"},
		"not there":                   {"/v1/doubts/" + message.NewID(ours, "nobody") + "/resolve", `{"as":"sent",` + signed + `}`, 404, "not_found"},
		"another's":                   {"/v1/doubts/" + message.NewID(theirs, "parked") + "/resolve", `{"as":"sent",` + signed + `}`, 404, "not_found"},
		"no id":                       {"/v1/doubts/..%2Fx/resolve", `{"as":"sent",` + signed + `}`, 404, "not_found"},
		"no body":                     {resolve, ``, 400, "body_empty"},
		"cut off":                     {resolve, `{"as"`, 400, "json_invalid"},
		"something behind":            {resolve, `{"as":"sent",` + signed + `}x`, 400, "json_trailing_data"},
		"a member nobody knows":       {resolve, `{"as":"sent","x":1,` + signed + `}`, 422, "field_unknown"},
		"another type":                {resolve, `{"as":7,` + signed + `}`, 422, "type_mismatch"},
		"too much":                    {resolve, `{"as":"` + strings.Repeat("x", 70000) + `"}`, 413, "body_too_large"},
		"hold nothing":                {holds, `{` + signed + `}`, 422, "hold_unclear"},
		"hold all and one":            {holds, `{"all":true,"number":"` + ours + `",` + signed + `}`, 422, "hold_unclear"},
		"a template of all":           {holds, `{"template":"a/en",` + signed + `}`, 422, "hold_unclear"},
		"a template without language": {holds, `{"number":"` + ours + `","template":"a",` + signed + `}`, 422, "hold_unclear"},
		"hold all with a narrow key":  {holds, `{"all":true,` + signed + `}`, 403, "key_too_narrow"},
		"a tag with a narrow key":     {holds, `{"tag":"spring",` + signed + `}`, 403, "key_too_narrow"},
		"another's number":            {holds, `{"number":"` + theirs + `",` + signed + `}`, 404, "phone_not_found"},
		"no number of ours":           {holds, `{"number":"1",` + signed + `}`, 404, "phone_not_found"},
		"for how long":                {holds, `{"number":"` + ours + `","for":"1 day",` + signed + `}`, 422, "for_invalid"},
		"why":                         {holds, `{"number":"` + ours + `","actor":"anna"}`, 422, "reason_missing"},
		"replay what":                 {replay, `{` + signed + `}`, 422, "number_missing"},
		"replay another's":            {replay, `{"number":"` + theirs + `",` + signed + `}`, 404, "phone_not_found"},
		"replay too many":             {replay, `{"number":"` + ours + `","limit":501,` + signed + `}`, 422, "query_invalid"},
		"replay for how long":         {replay, `{"number":"` + ours + `","extend":"x",` + signed + `}`, 422, "for_invalid"},
		"replay why":                  {replay, `{"number":"` + ours + `"}`, 422, "actor_missing"},
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
			status, answer := d.ask(t, "admin", "POST", "/v1/doubts/"+id+"/resolve", `{"as":"`+tt.as+`",`+signed+`}`)
			switch {
			case tt.want == "" && (status != 409 || answer["code"] != "not_in_doubt"):
				t.Errorf("%d %v", status, answer)
			case tt.want != "" && (status != 200 || answer["state"] != string(tt.want)):
				t.Errorf("%d %v, want %s", status, answer, tt.want)
			}
			if len(d.shelf.moves) != tt.moves {
				t.Fatalf("moves %+v", d.shelf.moves)
			}
			if want := (message.Deed{Verb: tt.as, On: id, Actor: "anna", Key: "key-admin", Reason: "because"}); tt.moves == 1 && *d.shelf.moves[0].Deed != want {
				t.Errorf("deed %+v", d.shelf.moves[0].Deed)
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
	}{{"admin", "", 1}, {"admin", "?number=" + ours, 1}, {"wide", "", 2}, {"wide", "?number=" + theirs, 1}} {
		status, answer := d.ask(t, tt.key, "GET", "/v1/unreported"+tt.query, "")
		list, _ := answer["unreported"].([]any)
		if status != 200 || len(list) != tt.want {
			t.Fatalf("%s sees %d %v, want %d", tt.key, status, answer, tt.want)
		}
		if one := list[0].(map[string]any); tt.key == "admin" && (one["id"] != long || one["since"] == nil) {
			t.Errorf("listed %v, want %s", one, long)
		}
	}
	if status, answer := d.ask(t, "admin", "GET", "/v1/unreported?number="+theirs, ""); status != 404 && status != 400 && status != 422 {
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

	status, answer := d.ask(t, "admin", "GET", "/v1/dead?number="+ours+"&code=131000", "")
	if groups, _ := answer["groups"].([]any); status != 200 || answer["count"] != 4. || len(groups) != 1 || len(d.shelf.moves) != 0 {
		t.Fatalf("listed: %d %v", status, answer)
	}
	status, answer = d.ask(t, "admin", "POST", "/v1/dead/replay", `{"number":"`+ours+`","limit":3,`+signed+`}`)
	if status != 200 || answer["replayed"] != 1. || answer["overdue"] != 1. || answer["more"] != true || answer["next"] != now.Add(-2*time.Second).Format(time.RFC3339Nano) {
		t.Fatalf("the first three: %d %v", status, answer)
	}
	next, _ := answer["next"].(string)
	status, answer = d.ask(t, "admin", "POST", "/v1/dead/replay", `{"number":"`+ours+`","limit":3,"since":"`+next+`",`+signed+`}`)
	if status != 200 || answer["replayed"] != 1. || answer["more"] != false {
		t.Fatalf("the rest: %d %v", status, answer)
	}
	if d.shelf.open[first].State != message.Queued || d.shelf.open[last].State != message.Queued || d.shelf.open[late].State != message.Dead {
		t.Errorf("now %+v", d.shelf.open)
	}
	status, answer = d.ask(t, "admin", "POST", "/v1/dead/replay", `{"number":"`+ours+`","extend":"2h",`+signed+`}`)
	if m := d.shelf.moves[len(d.shelf.moves)-1]; status != 200 || answer["replayed"] != 1. || time.Until(m.ExpiresAt) < time.Hour || m.Deed.Actor != "anna" {
		t.Errorf("extended: %d %v %+v", status, answer, m)
	}
	if len(d.shelf.noted) != 3 || d.shelf.noted[0].On != "3 dead messages of number "+ours {
		t.Errorf("noted %+v", d.shelf.noted)
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
	for key, want := range map[string]int{"admin": 1, "wide": 2} {
		d.shelf.held = []message.Hold{{Tag: "spring"}, {Number: theirs}}
		if _, answer := d.ask(t, key, "GET", "/v1/holds", ""); len(answer["holds"].([]any)) != want {
			t.Errorf("%s sees %v", key, answer)
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
		"/v1/holds": `{"number":"` + ours + `",` + signed + `}`, "/v1/holds/release": `{"number":"` + ours + `",` + signed + `}`,
		"/v1/doubts/" + id + "/resolve": `{"as":"sent",` + signed + `}`, "/v1/dead/replay": `{"number":"` + ours + `",` + signed + `}`,
	} {
		if status, answer := d.ask(t, "admin", "POST", path, body); status != 503 || answer["code"] != "store_unavailable" {
			t.Errorf("%s: %d %v", path, status, answer)
		}
	}
	for _, path := range []string{"/v1/holds", "/v1/doubts", "/v1/dead", "/v1/audit"} {
		if status, _ := d.ask(t, "wide", "GET", path, ""); status != 503 {
			t.Errorf("%s: %d", path, status)
		}
	}
}

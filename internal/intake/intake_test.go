package intake_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/httpapi"
	"sluice/internal/intake"
	"sluice/internal/message"
)

const (
	ours   = "100000000000001" // within both keys
	theirs = "100000000000002" // within the wide key only
)

// fakeStore stores messages in memory. For the API it works like the real store.
type fakeStore struct {
	mu       sync.Mutex
	err      error // what both methods return instead
	messages map[string]message.Message
	records  map[string]message.Record
}

func (k *fakeStore) Accept(_ context.Context, m message.Message) (message.Acceptance, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return message.Acceptance{}, k.err
	}
	old, duplicate := k.messages[m.ID]
	switch {
	case !duplicate:
		k.messages[m.ID], old = m, m
		k.records[m.ID] = message.Record{Context: m.Context(), State: message.Queued, ExpiresAt: m.ExpiresAt}
	case old.Hash != m.Hash:
		return message.Acceptance{}, message.ErrKeyReused
	}
	return message.Acceptance{ID: old.ID, State: message.Queued, Class: old.Class, ExpiresAt: old.ExpiresAt, Duplicate: duplicate}, nil
}

func (k *fakeStore) AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult {
	return acceptAll(ctx, k.Accept, messages)
}

// acceptAll accepts messages one after the other.
func acceptAll(ctx context.Context, accept func(context.Context, message.Message) (message.Acceptance, error), messages []message.Message) (all []message.AcceptResult) {
	for _, m := range messages {
		a, err := accept(ctx, m)
		all = append(all, message.AcceptResult{Acceptance: a, Err: err})
	}
	return all
}

func (k *fakeStore) Get(_ context.Context, id string) (message.Record, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return message.Record{}, k.err
	}
	rec, ok := k.records[id]
	if !ok {
		return rec, message.ErrNotFound
	}
	return rec, nil
}

func (k *fakeStore) Progress(_ context.Context, ids []string) ([]message.Record, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]message.Record, len(ids))
	for i, id := range ids {
		all[i] = k.records[id]
	}
	return all, k.err
}

// bench is an intake behind real HTTP.
type bench struct {
	*httptest.Server
	store    *fakeStore
	meta     *meta
	finder   *fakeFinder
	in       *intake.Intake
	registry *prometheus.Registry
	log      *bytes.Buffer
	refuse   bool                                                                             // types that are not known
	offset   time.Duration                                                                    // of the store's clock
	drain    func(ctx context.Context, number string, c message.Class) (time.Duration, error) // nil: at once
	// Tokens of keys: for everything, for our number, without the scope to send, without any, revoked, expired.
	wide, narrow, readOnly, scopeless, revoked, expired string
	keys                                                map[string]string // of keys for our number, by the one scope that each has
}

func setup(t testing.TB) *bench {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return setupOn(t, l)
}

func setupOn(t testing.TB, l net.Listener) *bench {
	t.Helper()
	b := &bench{
		store:    &fakeStore{messages: map[string]message.Message{}, records: map[string]message.Record{}},
		meta:     &meta{},
		registry: prometheus.NewRegistry(),
		log:      &bytes.Buffer{},
		wide:     httpapi.NewToken(), narrow: httpapi.NewToken(), readOnly: httpapi.NewToken(), scopeless: httpapi.NewToken(), revoked: httpapi.NewToken(), expired: httpapi.NewToken(),
	}
	b.finder = &fakeFinder{fakeStore: b.store}
	both := []string{httpapi.ScopeSend, httpapi.ScopeRead, httpapi.ScopeCancel}
	keys := httpapi.Keys{
		{Hash: httpapi.HashToken(b.wide), Scopes: both, Numbers: []string{httpapi.AllNumbers}},
		{Hash: httpapi.HashToken(b.narrow), Scopes: both, Numbers: []string{ours}, Expires: time.Now().Add(time.Hour)},
		{Hash: httpapi.HashToken(b.readOnly), Scopes: []string{httpapi.ScopeRead}, Numbers: []string{ours}},
		{Hash: httpapi.HashToken(b.scopeless), Numbers: []string{ours}},
		{Hash: httpapi.HashToken(b.revoked), Scopes: both, Numbers: []string{ours}, Revoked: true},
		{Hash: httpapi.HashToken(b.expired), Scopes: both, Numbers: []string{ours}, Expires: time.Now()},
	}
	b.keys = map[string]string{}
	for _, scope := range httpapi.Scopes() {
		b.keys[scope] = httpapi.NewToken()
		keys = append(keys, httpapi.Key{Hash: httpapi.HashToken(b.keys[scope]), Scopes: []string{scope}, Numbers: []string{ours}})
	}
	b.in = intake.New(intake.Options{
		Acceptor: b.store,
		Reader:   b.store,
		Keys:     keys,
		Numbers:  func(number string) bool { return number == ours || number == theirs },
		Drain: func(ctx context.Context, number string, c message.Class) (time.Duration, error) {
			if b.drain == nil {
				return 0, nil
			}
			return b.drain(ctx, number, c)
		},
		Refuse: func(string) bool { return b.refuse },
		Offset: func() time.Duration { return b.offset },
		Finder: b.finder, Waiting: b.finder, Canceller: b.finder,
		Graph:  b.meta,
		Passes: func(code int) bool { return code == passingCode },
		Explain: func(code int) (title, advice string) {
			if code == unknownCode {
				return "", ""
			}
			return "Undeliverable", "Ask for another number."
		},
		Log:        slog.New(slog.NewJSONHandler(b.log, nil)),
		Registerer: b.registry,
	})
	b.Server = &httptest.Server{Listener: l, Config: &http.Server{
		Handler: b.in.Handler(), ReadTimeout: time.Second, // of a whole request; only the trickled body needs it
	}}
	b.Start()
	t.Cleanup(b.Close)
	return b
}

// reply is an answer, read.
type reply struct {
	status int
	header http.Header
	body   string
}

// problem is the answer's problem document.
func (r reply) problem(t *testing.T) (p struct {
	Type, Title, Detail, Code string
	Status                    int
	Errors                    []message.Problem
	RequestID                 string `json:"request_id"`
},
) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatalf("no problem document: %v in %q", err, r.body)
	}
	return p
}

// accepted is the answer's acceptance.
func (r reply) accepted(t *testing.T) (a struct {
	ID        string
	State     message.State
	Class     message.Class
	ExpiresAt time.Time `json:"expires_at"`
	Duplicate bool
},
) {
	t.Helper()
	if r.status != http.StatusAccepted && r.status != http.StatusOK {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// do sends a request with our narrow key; change may alter it.
func (b *bench) do(t testing.TB, method, path, body string, change func(*http.Request)) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.narrow)
	req.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(req)
	}
	return b.answered(t, req)
}

// answered makes a request and reads the answer.
func (b *bench) answered(t testing.TB, req *http.Request) reply {
	t.Helper()
	resp, err := b.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

func (b *bench) post(t testing.TB, body string) reply {
	t.Helper()
	return b.do(t, http.MethodPost, "/v1/messages", body, nil)
}

const hello = `{"to":"+15551234567","type":"text","text":{"body":"hi"}}`

// envelope is a good request with more members, written as they follow "from".
func envelope(more string) string {
	return `{"from":"` + ours + `","message":` + hello + more + `}`
}

func withHeader(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = values }
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := time.Now()
	r := b.post(t, envelope(`,"key":"order-7","ref":"7","tags":["spring","vip"]`))
	a := r.accepted(t)
	if r.status != http.StatusAccepted || a.State != message.Queued || a.Class != message.Service || a.Duplicate {
		t.Errorf("got %d %+v", r.status, a)
	}
	if a.ID != message.NewID(ours, "order-7") {
		t.Errorf("id %s", a.ID)
	}
	if day := a.ExpiresAt.Sub(before); day < 23*time.Hour+59*time.Minute || day > 24*time.Hour+time.Minute {
		t.Errorf("expires in %v, want the class's 24 h", day)
	}
	m := b.store.messages[a.ID]
	if string(m.Payload) != `{"messaging_product":"whatsapp",`+hello[1:] || m.Ref != "7" || len(m.Tags) != 2 || m.Content.To != "+15551234567" || m.Key != "order-7" {
		t.Errorf("handed over %+v", m)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("media type %q", got)
	}
}

func TestDeadlineAndClass(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now().UTC().Truncate(time.Second)
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	template := `{"from":"` + ours + `","message":{"to":"+15551234567","type":"template","template":{"name":"a","language":{"code":"en"}}}`
	cases := []struct {
		name, body string
		class      message.Class
		expires    time.Duration // from now, to the minute
	}{
		{"template", template + `}`, message.Utility, 24 * time.Hour},
		{"marketing", template + `,"class":"marketing"}`, message.Marketing, 7 * 24 * time.Hour},
		{"authentication", envelope(`,"class":"authentication"`), message.Authentication, 10 * time.Minute},
		{"own deadline", envelope(`,"expires_at":"` + at(time.Hour) + `"`), message.Service, time.Hour},
		{"scheduled", envelope(`,"send_at":"` + at(48*time.Hour) + `"`), message.Service, 72 * time.Hour},
		{"scheduled in the past", envelope(`,"send_at":"` + at(-48*time.Hour) + `"`), message.Service, 24 * time.Hour},
		{"90 days", envelope(`,"send_at":"` + at(90*24*time.Hour) + `"`), message.Service, 91 * 24 * time.Hour},
	}
	for _, c := range cases {
		a := b.post(t, c.body).accepted(t)
		if got := a.ExpiresAt.Sub(now).Round(time.Minute); a.Class != c.class || got != c.expires {
			t.Errorf("%s: %s expires in %v, want %s in %v", c.name, a.Class, got, c.class, c.expires)
		}
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.post(t, envelope(`,"key":"k","tags":["a"]`)).accepted(t)
	repeats := map[string]reply{
		"same":         b.post(t, envelope(`,"key":"k","tags":["a"]`)),
		"other order":  b.post(t, ` { "tags" : ["\u0061"], "key":"k", "message":{"type":"text","text":{"body":"hi"},"to":"+15551234567"},"from":"`+ours+`"}`),
		"as header":    b.do(t, "POST", "/v1/messages", envelope(`,"tags":["a"]`), withHeader("Idempotency-Key", "k")),
		"in both":      b.do(t, "POST", "/v1/messages", envelope(`,"key":"k","tags":["a"]`), withHeader("Idempotency-Key", "k")),
		"null members": b.post(t, envelope(`,"key":"k","tags":["a"],"ref":null,"send_at":null`)),
	}
	for name, r := range repeats {
		a := r.accepted(t)
		if r.status != http.StatusOK || !a.Duplicate || a.ID != first.ID || !a.ExpiresAt.Equal(first.ExpiresAt) {
			t.Errorf("%s: got %d %+v, want a repeat of %+v", name, r.status, a, first)
		}
		if r.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("%s: no Idempotent-Replayed", name)
		}
	}
	for name, body := range map[string]string{
		"other text":  strings.Replace(envelope(`,"key":"k","tags":["a"]`), "hi", "ho", 1),
		"other tags":  envelope(`,"key":"k"`),
		"class added": envelope(`,"key":"k","tags":["a"],"class":"utility"`),
		"time added":  envelope(`,"key":"k","tags":["a"],"expires_at":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"`),
	} {
		if r := b.post(t, body); r.status != http.StatusUnprocessableEntity || r.problem(t).Code != "idempotency_key_reused" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	a := b.do(t, "POST", "/v1/messages", strings.Replace(envelope(`,"key":"k"`), ours, theirs, 1), withHeader("Authorization", "Bearer "+b.wide)).accepted(t)
	if a.Duplicate || a.ID == first.ID {
		t.Errorf("another number's key met ours: %+v", a)
	}
	if one, two := b.post(t, envelope("")).accepted(t), b.post(t, envelope("")).accepted(t); one.ID == two.ID {
		t.Error("two messages without a key became one")
	}
}

// Deadlines are judged by the store's clock, on each way in, and so is what a message waits for.
func TestTheStoresClockDecides(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.offset = 2 * time.Hour
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second) // past, by the store's clock
	at := soon.Format(time.RFC3339)
	lines := withHeader("Content-Type", "application/x-ndjson")
	for name, r := range map[string]reply{
		"a message":      b.post(t, envelope(`,"expires_at":"`+at+`"`)),
		"a batch":        b.do(t, "POST", "/v1/messages/batch", envelope(`,"expires_at":"`+at+`"`), lines),
		"on Meta's path": b.do(t, "POST", metas, `{"messaging_product":"whatsapp",`+hello[1:], withHeader("Sluice-Expires-At", at)),
	} {
		if r.status == http.StatusAccepted || !strings.Contains(r.body, "expires_at_invalid") && !strings.Contains(r.body, "Sluice-Expires-At: ") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if left := time.Until(b.post(t, envelope("")).accepted(t).ExpiresAt); left < 2*time.Hour {
		t.Errorf("without a deadline it has %s", left)
	}
	id := message.NewID(ours, "due")
	b.store.records[id] = message.Record{Context: message.Context{ID: id, From: ours}, State: message.Queued, NextAt: soon, ExpiresAt: soon.Add(24 * time.Hour)}
	r := b.do(t, http.MethodGet, "/v1/messages/"+id+"/explain", "", withHeader("Authorization", "Bearer "+b.readOnly))
	if strings.Contains(r.body, `"scheduled"`) || r.status != http.StatusOK {
		t.Errorf("what is due is explained as %d %s", r.status, r.body)
	}
}

// A caller who repeats a request after its deadline learns what became of the first, and one who uses the
// key for another message that it is taken.
func TestRepeatAfterDeadline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	past := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	id := message.NewID(ours, "k")
	b.store.records[id] = message.Record{Context: message.Context{ID: id}, State: message.Queued, ExpiresAt: past}
	body := envelope(`,"key":"k","expires_at":"` + past.Format(time.RFC3339) + `"`)
	b.post(t, body).accepted(t) // from here on the store knows the content of that record
	if r := b.post(t, body); r.status != http.StatusOK || !r.accepted(t).Duplicate || r.accepted(t).ID != id {
		t.Errorf("repeat: %d %s", r.status, r.body)
	}
	for name, other := range map[string]string{
		"other content":   strings.Replace(body, `"hi"`, `"ho"`, 1),
		"other recipient": strings.Replace(body, "4567", "4568", 1),
		"other deadline":  strings.Replace(body, past.Format(time.RFC3339), past.Add(time.Second).Format(time.RFC3339), 1),
	} {
		if r := b.post(t, other); r.status != http.StatusUnprocessableEntity || r.problem(t).Code != "idempotency_key_reused" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	for name, other := range map[string]string{
		"other key": strings.Replace(body, `"k"`, `"l"`, 1),
		"no key":    strings.Replace(body, `"key":"k",`, ``, 1),
	} {
		if r := b.post(t, other); r.status != http.StatusUnprocessableEntity || r.problem(t).Code != "expires_at_invalid" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	b.store.err = errors.New("away")
	if r := b.post(t, body); r.status != http.StatusServiceUnavailable {
		t.Errorf("store away: %d %s", r.status, r.body)
	}
}

// What would expire before its turn is refused, with the wait.
func TestBacklogBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	cases := []struct {
		name  string
		body  string
		class message.Class // asked about; empty: nothing is asked
		wait  time.Duration
		err   error
		after string // Retry-After of the refusal; empty: accepted
	}{
		{"authentication in time", envelope(`,"class":"authentication"`), message.Authentication, 9 * time.Minute, nil, ""},
		{"authentication too late", envelope(`,"class":"authentication"`), message.Authentication, 11*time.Minute + time.Millisecond, nil, "661"},
		{"the class's own deadline", envelope(`,"class":"marketing"`), message.Marketing, 25 * time.Hour, nil, ""},
		{"default class", envelope(""), message.Service, 25 * time.Hour, nil, "90000"},
		{"deadline of its own", envelope(`,"expires_at":"` + at(time.Minute) + `"`), message.Service, 2 * time.Minute, nil, "120"},
		{"scheduled in the past", envelope(`,"send_at":"` + at(-time.Hour) + `"`), message.Service, 25 * time.Hour, nil, "90000"},
		{"scheduled ahead", envelope(`,"send_at":"` + at(time.Hour) + `"`), "", 100 * time.Hour, nil, ""},
		{"not known", envelope(""), message.Service, 100 * time.Hour, errors.New("away"), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var asked message.Class
			b.drain = func(_ context.Context, number string, class message.Class) (time.Duration, error) {
				if number != ours {
					t.Errorf("asked about number %s", number)
				}
				asked = class
				return c.wait, c.err
			}
			r := b.post(t, c.body)
			if asked != c.class {
				t.Errorf("asked about class %q, want %q", asked, c.class)
			}
			if got := r.header.Get("Retry-After"); got != c.after {
				t.Errorf("Retry-After %q, want %q", got, c.after)
			}
			if c.after == "" {
				r.accepted(t)
				return
			}
			p := r.problem(t)
			if r.status != http.StatusTooManyRequests || p.Code != "deadline_unreachable" || p.Errors[0].Path != "expires_at" {
				t.Errorf("%d %s", r.status, r.body)
			}
			seconds, err := time.ParseDuration(c.after + "s")
			if err != nil || !strings.Contains(p.Detail, " "+seconds.String()+";") || p.Errors[0].Fix == "" {
				t.Errorf("the detail does not tell the wait of %v: %s", seconds, r.body)
			}
			if len(b.store.messages) != 0 {
				t.Error("it was accepted all the same")
			}
		})
	}
}

// A caller who repeats himself is told of the first message, whatever waits by then.
func TestRepeatBehindABacklog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.post(t, envelope(`,"key":"k"`)).accepted(t)
	b.drain = func(context.Context, string, message.Class) (time.Duration, error) { return 100 * time.Hour, nil }
	if r := b.post(t, envelope(`,"key":"k"`)); r.status != http.StatusOK || !r.accepted(t).Duplicate || r.accepted(t).ID != first.ID {
		t.Errorf("repeat: %d %s", r.status, r.body)
	}
	if r := b.post(t, strings.Replace(envelope(`,"key":"k"`), "hi", "ho", 1)); r.problem(t).Code != "idempotency_key_reused" {
		t.Errorf("other content: %d %s", r.status, r.body)
	}
	if r := b.post(t, envelope(`,"key":"l"`)); r.status != http.StatusTooManyRequests {
		t.Errorf("another key: %d %s", r.status, r.body)
	}
	b.store.err = errors.New("away")
	if r := b.post(t, envelope(`,"key":"k"`)); r.status != http.StatusServiceUnavailable {
		t.Errorf("store away: %d %s", r.status, r.body)
	}
}

// Bodies, headers and the answers they get. Message codes themselves are message's to test.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bearer := func(token string) func(*http.Request) { return withHeader("Authorization", "Bearer "+token) }
	key := func(values ...string) func(*http.Request) { return withHeader("Idempotency-Key", values...) }
	text := func(s string) string { return strings.Replace(envelope(""), `"hi"`, s, 1) }
	deep := strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)
	ahead := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	cases := []struct {
		name   string
		change func(*http.Request)
		body   string
		status int
		code   string
		path   string
	}{
		{"no key", func(r *http.Request) { r.Header.Del("Authorization") }, envelope(""), 401, "unauthenticated", ""},
		{"Basic", func(r *http.Request) { r.SetBasicAuth("a", "b") }, envelope(""), 401, "unauthenticated", ""},
		{"Basic with a good token", withHeader("Authorization", "Basic "+b.narrow), envelope(""), 401, "unauthenticated", ""},
		{"unknown key", bearer(httpapi.NewToken()), envelope(""), 401, "unauthenticated", ""},
		{"the hash as key", bearer(httpapi.HashToken(b.narrow)), envelope(""), 401, "unauthenticated", ""},
		{"two keys", withHeader("Authorization", "Bearer "+b.narrow, "Bearer "+b.narrow), envelope(""), 400, "header_duplicate", ""},
		{"expired", bearer(b.expired), envelope(""), 401, "api_key_expired", ""},
		{"revoked", bearer(b.revoked), envelope(""), 401, "api_key_revoked", ""},
		{"no scope", bearer(b.readOnly), envelope(""), 403, "scope_missing", ""},
		{"number of others", nil, strings.Replace(envelope(""), ours, theirs, 1), 404, "phone_number_id_not_found", "from"},
		{"number unknown", bearer(b.wide), strings.Replace(envelope(""), ours, "9", 1), 404, "phone_number_id_not_found", "from"},
		{"number unknown and more", nil, `{"from":"9"}`, 404, "phone_number_id_not_found", "from"},

		{"text/plain", withHeader("Content-Type", "text/plain"), envelope(""), 415, "unsupported_media_type", ""},
		{"no media type", withHeader("Content-Type"), envelope(""), 415, "unsupported_media_type", ""},
		{"gzip", withHeader("Content-Encoding", "gzip"), envelope(""), 415, "encoding_not_supported", ""},

		{"empty", nil, "", 400, "body_empty", ""},
		{"white space", nil, " \n", 400, "body_empty", ""},
		{"cut", nil, "{", 400, "json_invalid", ""},
		{"trailing", nil, envelope("") + " x", 400, "json_trailing_data", ""},
		{"array", nil, "[]", 400, "json_not_object", ""},
		{"twice", nil, strings.Replace(envelope(""), `"to"`, `"to":"+1","to"`, 1), 400, "json_duplicate_member", "message.to"},
		{"deep", nil, envelope(`,"ref":` + deep), 400, "json_too_deep", ""},
		{"no UTF-8", nil, text("\"\xff\""), 400, "utf8_invalid", ""},
		{"half a pair", nil, text(`"\ud800"`), 400, "utf8_invalid", "message.text.body"},
		{"NUL", nil, text(`"a\u0000"`), 422, "char_not_allowed", "message.text.body"},
		{"300 KiB", nil, text(`"` + strings.Repeat("a", 300<<10) + `"`), 413, "body_too_large", ""},

		{"unknown member", nil, envelope(`,"ttl_seconds":60`), 422, "field_unknown", "ttl_seconds"},
		{"member in capitals", nil, envelope(`,"Ref":"7"`), 422, "field_unknown", "Ref"},
		{"from missing", nil, `{"message":` + hello + `}`, 422, "from_missing", "from"},
		{"from null", nil, `{"from":null,"message":` + hello + `}`, 422, "from_missing", "from"},
		{"from number", nil, `{"from":7,"message":` + hello + `}`, 422, "type_mismatch", "from"},
		{"from a phone number", nil, `{"from":"+15551234567","message":` + hello + `}`, 422, "from_invalid", "from"},
		{"message missing", nil, `{"from":"` + ours + `"}`, 422, "message_missing", "message"},
		{"message string", nil, `{"from":"` + ours + `","message":"hi"}`, 422, "type_mismatch", "message"},
		{"message wrong", nil, text(`""`), 422, "text_empty", "message.text.body"},
		{"class unknown", nil, envelope(`,"class":"urgent"`), 422, "class_unknown", "class"},
		{"class number", nil, envelope(`,"class":1`), 422, "type_mismatch", "class"},
		{"ref empty", nil, envelope(`,"ref":""`), 422, "ref_invalid", "ref"},
		{"ref 256", nil, envelope(`,"ref":"` + strings.Repeat("é", 256) + `"`), 422, "ref_invalid", "ref"},
		{"ref with escape", nil, envelope(`,"ref":"\u001b[2J"`), 422, "ref_invalid", "ref"},
		{"tags string", nil, envelope(`,"tags":"a"`), 422, "type_mismatch", "tags"},
		{"tag number", nil, envelope(`,"tags":["a",1]`), 422, "type_mismatch", "tags[1]"},
		{"11 tags", nil, envelope(`,"tags":["0","1","2","3","4","5","6","7","8","9","a"]`), 422, "tags_too_many", "tags"},
		{"tag 65", nil, envelope(`,"tags":["a","` + strings.Repeat("é", 65) + `"]`), 422, "tag_invalid", "tags[1]"},
		{"tag empty", nil, envelope(`,"tags":[""]`), 422, "tag_invalid", "tags[0]"},

		{"no such day", nil, envelope(`,"send_at":"2026-02-30T00:00:00Z"`), 422, "time_invalid", "send_at"},
		{"time number", nil, envelope(`,"send_at":1764000000`), 422, "type_mismatch", "send_at"},
		{"the year 1", nil, envelope(`,"expires_at":"0001-01-01T00:00:00Z"`), 422, "time_invalid", "expires_at"},
		{"91 days", nil, envelope(`,"send_at":"` + ahead(91*24*time.Hour) + `"`), 422, "send_at_too_far", "send_at"},
		{"due after its end", nil, envelope(`,"send_at":"` + ahead(2*time.Hour) + `","expires_at":"` + ahead(time.Hour) + `"`), 422, "send_at_after_expires_at", "send_at"},
		{"already over", nil, envelope(`,"expires_at":"` + ahead(-time.Second) + `"`), 422, "expires_at_invalid", "expires_at"},

		{"key 256", nil, envelope(`,"key":"` + strings.Repeat("k", 256) + `"`), 422, "idempotency_key_invalid", "key"},
		{"key not ASCII", nil, envelope(`,"key":"é"`), 422, "idempotency_key_invalid", "key"},
		{"key with control", nil, envelope(`,"key":"a\tb"`), 422, "idempotency_key_invalid", "key"},
		{"key empty", nil, envelope(`,"key":""`), 422, "idempotency_key_invalid", "key"},
		{"header key 256", key(strings.Repeat("k", 256)), envelope(""), 422, "idempotency_key_invalid", "Idempotency-Key"},
		{"header key empty", key(""), envelope(""), 422, "idempotency_key_invalid", "Idempotency-Key"},
		{"header key twice", key("a", "a"), envelope(""), 400, "header_duplicate", "Idempotency-Key"},
		{"keys differ", key("a"), envelope(`,"key":"b"`), 422, "idempotency_key_mismatch", "key"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := b.do(t, http.MethodPost, "/v1/messages", c.body, c.change)
			if r.header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%d is no problem document: %s", r.status, r.body)
			}
			p := r.problem(t)
			if r.status != c.status || p.Code != c.code || p.Errors[0].Path != c.path && c.code != "json_too_deep" {
				t.Errorf("got %d %s at %q, want %d %s at %q", r.status, p.Code, p.Errors[0].Path, c.status, c.code, c.path)
			}
			if p.Status != r.status || p.Title == "" || p.Detail == "" || p.Type != "about:blank" || p.RequestID != r.header.Get("X-Request-Id") {
				t.Errorf("incomplete: %s", r.body)
			}
			for _, e := range p.Errors {
				if e.Code == "" || e.Detail == "" || e.Fix == "" {
					t.Errorf("incomplete: %+v", e)
				}
			}
			if c.status == http.StatusUnauthorized && r.header.Get("WWW-Authenticate") != "Bearer" {
				t.Error("no WWW-Authenticate")
			}
		})
	}
	if len(b.store.messages) != 0 {
		t.Errorf("%d messages were accepted", len(b.store.messages))
	}
}

func TestAcceptedAtTheLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, r := range map[string]reply{
		"charset":        b.do(t, "POST", "/v1/messages", envelope(""), withHeader("Content-Type", "application/json; charset=utf-8")),
		"identity":       b.do(t, "POST", "/v1/messages", envelope(""), withHeader("Content-Encoding", "identity")),
		"bearer":         b.do(t, "POST", "/v1/messages", envelope(""), withHeader("Authorization", "bearer "+b.narrow)),
		"key 255":        b.post(t, envelope(`,"key":"`+strings.Repeat("k", 255)+`"`)),
		"header key 255": b.do(t, "POST", "/v1/messages", envelope(""), withHeader("Idempotency-Key", strings.Repeat("k", 255))),
		"ref 255":        b.post(t, envelope(`,"ref":"`+strings.Repeat("é", 255)+`"`)),
		"10 tags of 64":  b.post(t, envelope(`,"tags":["0","1","2","3","4","5","6","7","8","`+strings.Repeat("é", 64)+`"]`)),
		"a pair":         b.post(t, strings.Replace(envelope(""), "hi", `\ud83d\ude00 \\ud800`, 1)),
		"256 KiB":        b.post(t, envelope("")+strings.Repeat(" ", 256<<10-len(envelope("")))),
		"callback data":  b.post(t, strings.Replace(envelope(""), `"type"`, `"biz_opaque_callback_data":"theirs","type"`, 1)),
	} {
		if r.status != http.StatusAccepted && r.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

func TestSeveralProblemsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.post(t, `{"from":"`+ours+`","class":"urgent","wait":true,"message":{"to":"15551234567","type":"text","text":{"body":""}}}`)
	var got []string
	for _, e := range r.problem(t).Errors {
		got = append(got, e.Path+" "+e.Code)
	}
	want := "wait field_unknown, class class_unknown, message.to recipient_needs_plus, message.text.body text_empty"
	if s := strings.Join(got, ", "); r.status != http.StatusUnprocessableEntity || s != want {
		t.Errorf("got %d %s\nwant 422 %s", r.status, s, want)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var more strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&more, `,"m%d":1`, i)
	}
	if r := b.post(t, envelope(more.String())); len(r.problem(t).Errors) != 20 {
		t.Errorf("%d problems for 1000 mistakes, want 20", len(r.problem(t).Errors))
	}
}

func TestAnswersNeverRepeatTheInput(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, body := range []string{
		`{"hunter2 <b>":1,"from":"hunter2","class":"hunter2","key":"hunter2é","send_at":"hunter2","message":"hunter2"}`,
		`{"from":"` + ours + `","hunter2 <b>":1,"hunter2 <b>":2}`,
		`hunter2`,
	} {
		r := b.do(t, "POST", "/v1/messages", body, withHeader("X-Request-Id", "hunter2 <b>"))
		if r.status < 400 || strings.Contains(r.body, "hunter2") || strings.Contains(r.header.Get("X-Request-Id"), "hunter2") {
			t.Errorf("%d repeats its input: %s", r.status, r.body)
		}
	}
}

func TestStoreAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store.err = errors.New("connection refused")
	for _, r := range []reply{
		b.post(t, envelope(`,"key":"k"`)),
		b.do(t, "GET", "/v1/messages/"+message.NewID(ours, "k"), "", nil),
	} {
		if r.status != http.StatusServiceUnavailable || r.problem(t).Code != "store_unavailable" || r.header.Get("Retry-After") == "" {
			t.Errorf("%d %v %s", r.status, r.header, r.body)
		}
		if strings.Contains(r.body, "refused") {
			t.Errorf("the answer tells of our inside: %s", r.body)
		}
	}
	if log := b.log.String(); !strings.Contains(log, "connection refused") || strings.Contains(log, "5551234567") {
		t.Errorf("log: %s", log)
	}
}

// direct returns what serves requests of a key for our number without a network, so that
// synctest can pass the time.
func direct(o intake.Options) func(method, path, body string) *httptest.ResponseRecorder {
	token := httpapi.NewToken()
	o.Keys = []httpapi.Key{{Hash: httpapi.HashToken(token), Scopes: httpapi.Scopes(), Numbers: []string{ours}}}
	o.Numbers = func(number string) bool { return number == ours }
	handler := intake.New(o).Handler()
	return func(method, path, body string) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest(method, path, strings.NewReader(body)), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		if strings.HasSuffix(path, "/batch") {
			r.Header.Set("Content-Type", "application/x-ndjson")
		}
		handler.ServeHTTP(w, r)
		return w
	}
}

// A store that hangs must not use up the time the server has to answer.
func TestStoreHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		serve := direct(intake.Options{
			Acceptor: hanging{}, Reader: hanging{},
			Drain: func(ctx context.Context, _ string, c message.Class) (time.Duration, error) {
				if c == message.Utility { // long, and known just in time
					time.Sleep(400 * time.Millisecond)
					return 100 * time.Hour, nil
				}
				return 0, hang(ctx)
			},
		})
		for _, r := range [][3]string{
			{"POST", "/v1/messages", envelope("")},
			{"POST", "/v1/messages", envelope(`,"key":"k","class":"utility"`)},
			{"GET", "/v1/messages/" + message.NewID(ours, "k"), ""},
		} {
			start := time.Now()
			w := serve(r[0], r[1], r[2])
			if took := time.Since(start); w.Code != http.StatusServiceUnavailable || took > 5*time.Second {
				t.Errorf("%s: %d after %v", r[0], w.Code, took)
			}
		}
	})
}

// hanging never answers by itself.
type hanging struct{}

func (hanging) Accept(ctx context.Context, _ message.Message) (message.Acceptance, error) {
	return message.Acceptance{}, hang(ctx)
}

func (h hanging) AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult {
	return acceptAll(ctx, h.Accept, messages)
}

func (hanging) Get(ctx context.Context, _ string) (message.Record, error) {
	return message.Record{}, hang(ctx)
}

func (hanging) Progress(ctx context.Context, _ []string) ([]message.Record, error) {
	return nil, hang(ctx)
}

func hang(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Hour):
		return errors.New("waited for an hour")
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600))
	id := message.NewID(ours, "k")
	b.store.records[id] = message.Record{
		Context: message.Context{
			ID: id, From: ours, Class: message.Utility, Type: "template", To: "+15***67",
			Ref: "7", Tags: []string{"vip"}, Callback: "theirs",
		},
		State: message.Failed, Reason: "code 131026", Code: 131026, Attempt: 2, WAMID: "wamid.x",
		AcceptedAt: at, SendAt: at, ExpiresAt: at, NextAt: at, Duplicates: 1,
		Timeline: []message.Step{{At: at, State: message.Queued}, {At: at, State: message.Failed, Attempt: 2, Code: 131026, Reason: "code 131026"}},
	}
	bare := message.NewID(ours, "bare")
	b.store.records[bare] = message.Record{Context: message.Context{ID: bare, From: ours, Class: message.Service, Type: "text", To: "***"}, State: message.Queued}
	for id, want := range map[string]string{
		id: `{"id":"` + id + `","phone_number_id":"` + ours + `","class":"utility","type":"template","to":"+15***67","ref":"7","tags":["vip"],` +
			`"callback_data":"theirs","state":"failed","final":true,"reason":"code 131026","code":131026,` +
			`"error":{"code":131026,"title":"Undeliverable","advice":"Ask for another number."},"attempt":2,"wamid":"wamid.x",` +
			`"accepted_at":"2026-01-02T02:04:05.006Z","send_at":"2026-01-02T02:04:05.006Z","expires_at":"2026-01-02T02:04:05.006Z","next_at":"2026-01-02T02:04:05.006Z",` +
			`"duplicates":1,"timeline":[{"at":"2026-01-02T02:04:05.006Z","state":"queued"},` +
			`{"at":"2026-01-02T02:04:05.006Z","state":"failed","attempt":2,"code":131026,"reason":"code 131026"}]}`,
		bare: `{"id":"` + bare + `","phone_number_id":"` + ours + `","class":"service","type":"text","to":"***","state":"queued","final":false,"attempt":0,"duplicates":0,"timeline":[]}`,
	} {
		r := b.do(t, "GET", "/v1/messages/"+id, "", withHeader("Authorization", "Bearer "+b.readOnly))
		if r.status != http.StatusOK || strings.TrimSpace(r.body) != want {
			t.Errorf("got  %d %s\nwant 200 %s", r.status, r.body, want)
		}
	}
}

func TestNotThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store.records[message.NewID(theirs, "k")] = message.Record{State: message.Queued}
	cases := []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/v1/messages/" + message.NewID(ours, "none"), 404, "not_found", ""},
		{"GET", "/v1/messages/" + message.NewID(theirs, "k"), 404, "not_found", ""},
		{"GET", "/v1/messages/../../x", 404, "not_found", ""},
		{"GET", "/v1/messages/..%2F..%2Fx", 404, "not_found", ""},
		{"GET", "/v1/messages/%00", 404, "not_found", ""},
		{"GET", "/v1/messages/" + strings.Repeat("a", 300), 404, "not_found", ""},
		{"GET", "/v1//messages", 404, "not_found", ""},
		{"GET", "/v1/messages/", 404, "not_found", ""},
		{"GET", "/other", 404, "not_found", ""},
		{"PUT", "/v1/messages", 405, "method_not_allowed", "GET, HEAD, POST"},
		{"GET", "/v1/messages/" + message.NewID(ours, "k") + "/cancel", 405, "method_not_allowed", "POST"},
		{"DELETE", "/v1/messages/" + message.NewID(ours, "k"), 405, "method_not_allowed", "GET, HEAD"},
	}
	for _, c := range cases {
		r := b.do(t, c.method, c.path, "", nil)
		if p := r.problem(t); r.status != c.status || p.Code != c.code || r.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: got %d %s, Allow %q", c.method, c.path, r.status, p.Code, r.header.Get("Allow"))
		}
	}
	r := b.do(t, "GET", "/v1/messages/"+message.NewID(theirs, "k"), "", withHeader("Authorization", "Bearer "+b.wide))
	if r.status != http.StatusOK {
		t.Errorf("a key for all numbers: %d %s", r.status, r.body)
	}
	r = b.do(t, "GET", "/v1/messages/"+message.NewID(ours, "k"), "", func(r *http.Request) { r.Header.Del("Authorization") })
	if r.status != http.StatusUnauthorized {
		t.Errorf("without a key: %d", r.status)
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if r := b.do(t, "POST", "/v1/messages", envelope(""), withHeader("X-Request-Id", "a-1")); r.header.Get("X-Request-Id") != "a-1" {
		t.Errorf("ours came back as %q", r.header.Get("X-Request-Id"))
	}
	one, two := b.post(t, envelope("")).header.Get("X-Request-Id"), b.post(t, envelope("")).header.Get("X-Request-Id")
	if one == "" || one == two {
		t.Errorf("made %q and %q", one, two)
	}
}

// Requests no client library would send.
func TestBrokenBodies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	head := "POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nAuthorization: Bearer " + b.narrow + "\r\n"
	for name, c := range map[string]struct{ request, status, code string }{
		"shorter Content-Length": {head + "Content-Length: 20\r\n\r\n" + envelope(""), "400", "json_invalid"},
		"never ends":             {head + "Content-Length: 200\r\n\r\n{", "408", "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", b.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			if s := string(answer); !strings.HasPrefix(s, "HTTP/1.1 "+c.status+" ") || !strings.Contains(s, `"code":"`+c.code+`"`) {
				t.Errorf("answer: %s", s)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if n := testutil.CollectAndCount(b.registry, "sluice_api_messages_total"); n != 6 {
		t.Errorf("%d series at the start, want all 6", n)
	}
	b.post(t, envelope(`,"key":"k"`))
	b.post(t, envelope(`,"key":"k"`))
	b.post(t, `{}`)
	b.do(t, "POST", "/v1/messages", "", withHeader("Authorization", "Bearer x"))
	b.drain = func(context.Context, string, message.Class) (time.Duration, error) { return 1000 * time.Hour, nil }
	b.post(t, envelope(""))
	b.drain = nil
	b.store.err = errors.New("away")
	b.post(t, envelope(""))
	want := `
# HELP sluice_api_messages_total Messages that callers sent to the API, by result.
# TYPE sluice_api_messages_total counter
sluice_api_messages_total{result="accepted"} 1
sluice_api_messages_total{result="denied"} 1
sluice_api_messages_total{result="duplicate"} 1
sluice_api_messages_total{result="invalid"} 1
sluice_api_messages_total{result="unavailable"} 1
sluice_api_messages_total{result="deadline_unreachable"} 1
`
	if err := testutil.GatherAndCompare(b.registry, strings.NewReader(want), "sluice_api_messages_total"); err != nil {
		t.Error(err)
	}
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "sluice_api_request_duration_seconds" && f.GetMetric()[0].GetHistogram().GetSampleCount() != 6 {
			t.Errorf("durations: %v", f)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	one, two := httpapi.NewToken(), httpapi.NewToken()
	if one == two || len(one) != len("sk_")+43 || !strings.HasPrefix(one, "sk_") {
		t.Errorf("tokens %q and %q", one, two)
	}
	// SHA-256 of "abc", from FIPS 180-2.
	if got := httpapi.HashToken("abc"); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("hash %s", got)
	}
}

// nothing accepts everything and keeps nothing.
type nothing struct{}

func (nothing) Accept(_ context.Context, m message.Message) (message.Acceptance, error) {
	return message.Acceptance{ID: m.ID, State: message.Queued, Class: m.Class, ExpiresAt: m.ExpiresAt}, nil
}

func (n nothing) AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult {
	return acceptAll(ctx, n.Accept, messages)
}

func (nothing) Progress(context.Context, []string) ([]message.Record, error) { return nil, nil }

func (nothing) Get(context.Context, string) (message.Record, error) {
	return message.Record{}, message.ErrNotFound
}

package intake_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/httpapi"
	"sluice/internal/intake"
	"sluice/internal/message"
)

const (
	ours   = "100000000000001" // both keys cover it
	theirs = "100000000000002" // only the wide key covers it
)

// fakeStore stores messages in memory. For the API it works like the real store.
type fakeStore struct {
	mu       sync.Mutex
	err      error // if not nil, both methods return it
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
	switch leader := m.After.ID; {
	case leader == message.NewID(m.From, "crowd"):
		return message.Acceptance{}, message.ErrFollowers
	case leader != "" && k.records[leader].ID == "":
		return message.Acceptance{}, message.ErrNoLeader
	case !duplicate:
		k.messages[m.ID], old = m, m
		k.records[m.ID] = message.Record{Context: m.Context(), State: message.Queued, After: m.After, NextAt: m.AfterBy, ExpiresAt: m.ExpiresAt}
	case old.Hash != m.Hash:
		return message.Acceptance{}, message.ErrKeyReused
	}
	return message.Acceptance{ID: old.ID, State: message.Queued, Class: old.Class, ExpiresAt: old.ExpiresAt, Duplicate: duplicate}, nil
}

func (k *fakeStore) AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult {
	return acceptAll(ctx, k.Accept, messages)
}

func (k *fakeStore) Repeats(ctx context.Context, messages []message.Message) ([]string, error) {
	return repeats(ctx, k.Get, messages)
}

// repeats returns the ids of messages with a key whose records get returns.
func repeats(ctx context.Context, get func(context.Context, string) (message.Record, error), messages []message.Message) ([]string, error) {
	ids := make([]string, len(messages))
	for i, m := range messages {
		_, err := get(ctx, m.ID)
		if err != nil && !errors.Is(err, message.ErrNotFound) {
			return nil, err
		}
		if err == nil && m.Key != "" {
			ids[i] = m.ID
		}
	}
	return ids, nil
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

// fakeAccounts are the accounts of numbers.
type fakeAccounts map[string]string

func (a fakeAccounts) Accounts(context.Context) (map[string]string, error) { return a, nil }

// fakeUsed has a quota of each client, which refuses nothing.
type fakeUsed struct{ store *fakeStore }

func (fakeUsed) Take(context.Context, []message.Message) ([]error, func([]int)) { return nil, nil }

func (f fakeUsed) Used(_ context.Context, clients []string) (all []message.QuotaUse, err error) {
	for _, client := range clients {
		all = append(all, message.QuotaUse{Client: client, Quota: "per_day", Limit: 5, Used: 3, Refused: 1, Until: time.Now()})
	}
	return all, f.store.err
}

// fakeMedia has what is wrong with links: a code, or busy.
// fakeUploads has one file, at one number.
type fakeUploads struct{ *fakeStore }

var uploadedHash = strings.Repeat("0", 64)

func (f fakeUploads) Add(context.Context, string, string, string) error { return f.err }

func (f fakeUploads) Remove(context.Context, string, string) error { return f.err }

func (f fakeUploads) Find(_ context.Context, number string, hashes []string) ([]string, error) {
	ids := make([]string, len(hashes))
	for i, hash := range hashes {
		if hash == uploadedHash && number == ours {
			ids[i] = "77"
		}
	}
	return ids, f.err
}

type fakeMedia map[string]string

func (f fakeMedia) Check(_ context.Context, kind, link string) (message.MediaFile, []message.Problem, error) {
	switch code := f[link]; code {
	case "":
		return message.MediaFile{Type: kind + "/x", Bytes: 7}, nil, nil
	case "busy":
		return message.MediaFile{}, nil, message.ErrBusy
	default:
		return message.MediaFile{}, []message.Problem{{Path: "link", Code: code, Detail: "It is wrong."}}, nil
	}
}

// bench is an Intake behind a real HTTP server.
type bench struct {
	*httptest.Server
	store     *fakeStore
	meta      *meta
	accounts  fakeAccounts
	known     *fakeTemplates
	finder    *fakeFinder
	campaigns *fakeCampaigns
	cancelled message.Flow // the campaign that is cancelled
	in        *intake.Intake
	registry  *prometheus.Registry
	log       *bytes.Buffer
	refuse    bool                                                                             // refuse unknown types
	offset    time.Duration                                                                    // of Redis's clock
	eta       func(ctx context.Context, number string, c message.Class) (time.Duration, error) // nil: no wait
	forecast  func(ahead int) message.Forecast                                                 // nil: it is not known
	estimate  func(m *message.Message) *message.Cost                                           // nil: no price is known
	// until when another app owns the conversation with a recipient
	elsewhere map[string]time.Time
	outside   map[string]bool // recipients whose customer service windows are closed
	closed    []bool          // the messages that were found outside: whether each was replaced
	account   string          // messaging account of numbers
	media     fakeMedia

	suppressions *fakeSuppressions
	// Tokens of keys: for everything, for ours, without the scope to send, without scopes, revoked, expired, for ours with a messaging account.
	wide, narrow, readOnly, scopeless, revoked, expired, billed string
	acmes                                                       string            // of the client acme, for ours
	keys                                                        map[string]string // for ours, by the only scope of the key
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
		accounts: fakeAccounts{},
		known:    &fakeTemplates{},
		media:    fakeMedia{"https://a/404": "media_unreachable", "https://a/zip": "media_type_wrong", "https://a/big": "media_too_large", "https://a/busy": "busy"},
		registry: prometheus.NewRegistry(),
		log:      &bytes.Buffer{},
		wide:     httpapi.NewToken(), narrow: httpapi.NewToken(), readOnly: httpapi.NewToken(), scopeless: httpapi.NewToken(), revoked: httpapi.NewToken(), expired: httpapi.NewToken(), billed: httpapi.NewToken(), acmes: httpapi.NewToken(),
	}
	b.suppressions = &fakeSuppressions{all: map[string]message.Suppression{}}
	b.finder, b.campaigns = &fakeFinder{fakeStore: b.store}, springCampaign()
	both := []string{httpapi.ScopeSend, httpapi.ScopeRead, httpapi.ScopeCancel, httpapi.ScopeAccount}
	keys := []httpapi.Key{
		{Hash: httpapi.HashToken(b.wide), Scopes: both, Numbers: []string{httpapi.AllNumbers}},
		{Name: "narrow", Hash: httpapi.HashToken(b.narrow), Scopes: both, Numbers: []string{ours}, Expires: time.Now().Add(time.Hour)},
		{Name: "billed", Hash: httpapi.HashToken(b.billed), Scopes: both, Numbers: []string{ours}, Account: "222"},
		{Name: "acmes", Hash: httpapi.HashToken(b.acmes), Scopes: both, Numbers: []string{ours}, Client: "acme"},
		{Name: "readOnly", Hash: httpapi.HashToken(b.readOnly), Scopes: []string{httpapi.ScopeRead}, Numbers: []string{ours}},
		{Hash: httpapi.HashToken(b.scopeless), Numbers: []string{ours}},
		{Name: "revoked", Hash: httpapi.HashToken(b.revoked), Scopes: both, Numbers: []string{ours}, Revoked: true},
		{Name: "expired", Hash: httpapi.HashToken(b.expired), Scopes: both, Numbers: []string{ours}, Expires: time.Now()},
	}
	b.keys = map[string]string{}
	for _, scope := range httpapi.Scopes() {
		b.keys[scope] = httpapi.NewToken()
		keys = append(keys, httpapi.Key{Hash: httpapi.HashToken(b.keys[scope]), Scopes: []string{scope}, Numbers: []string{ours}})
	}
	b.in = intake.New(intake.Options{
		Acceptor: b.store,
		Reader:   b.store,
		Keys:     httpapi.FixedKeys(keys...),
		Numbers:  func(number string) bool { return number == ours || number == theirs },
		ETA: func(ctx context.Context, number string, c message.Class, _ message.Flow) (time.Duration, error) {
			if b.eta == nil {
				return 0, nil
			}
			return b.eta(ctx, number, c)
		},
		Forecast: func() func(context.Context, *message.Message) (message.Forecast, error) {
			ahead := 0
			return func(context.Context, *message.Message) (message.Forecast, error) {
				if b.forecast == nil {
					return message.Forecast{}, errors.New("not known")
				}
				ahead++
				return b.forecast(ahead - 1), nil
			}
		},
		Estimate: func(m *message.Message, _ time.Time) *message.Cost {
			if b.estimate == nil {
				return nil
			}
			return b.estimate(m)
		},
		Clients: func() []string { return []string{"acme", "globex"} },
		Quotas:  fakeUsed{b.store},
		Usage: func(_ context.Context, client string, from, _ time.Time) ([]message.Usage, error) {
			if client != "" && client != "removed" {
				return nil, b.store.err
			}
			return []message.Usage{{Day: from.Format(time.DateOnly), Client: client, Number: ours, Category: "utility", Taken: 2, Billed: 1}}, b.store.err
		},
		Campaigns: b.campaigns,
		Cancelled: func(f message.Flow) bool { return f == b.cancelled && f.Campaign != "" },
		Refuse:    func(string) bool { return b.refuse },
		Elsewhere: func(_ context.Context, all []*message.Message) ([]time.Time, error) {
			until := make([]time.Time, len(all))
			for i, m := range all {
				until[i] = b.elsewhere[m.Content.Recipient()]
			}
			return until, nil
		},
		Media:   b.media,
		Uploads: fakeUploads{b.store},
		OutsideWindow: func(_ context.Context, all []*message.Message) ([]bool, error) {
			found := make([]bool, len(all))
			for i, m := range all {
				found[i] = b.outside[m.Content.Recipient()]
			}
			return found, b.store.err
		},
		WindowClosed: func(replaced bool) {
			b.store.mu.Lock()
			defer b.store.mu.Unlock()
			b.closed = append(b.closed, replaced)
		},
		Suppressions: b.suppressions, Suppressed: func(c message.Class) { b.suppressions.seen = append(b.suppressions.seen, string(c)) },
		Account: func(string) string { return b.account },
		Offset:  func() time.Duration { return b.offset },
		Finder:  b.finder, Waiting: b.finder, Canceller: b.finder,
		Graph: b.meta, Templates: b.known,
		All: func() []string { return []string{ours, theirs} }, Accounts: b.accounts,
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
		Handler: b.in.Handler(), ReadTimeout: time.Second, // for the test with a slow body
	}}
	b.Start()
	t.Cleanup(b.Close)
	return b
}

// reply is the answer to a request.
type reply struct {
	status int
	header http.Header
	body   string
}

// problem returns the problem document of the answer.
func (r reply) problem(t *testing.T) (p struct {
	Type, Title, Detail, Code string
	Status                    int
	Errors                    []message.Problem
	RequestID                 string `json:"request_id"`
},
) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatalf("not a problem document: %v in %q", err, r.body)
	}
	return p
}

// accepted returns the accepted message of the answer.
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

// do sends a request with the narrow key. change may change the request.
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

// answered sends a request and reads the answer.
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

// envelope returns a valid request with more members, written as they follow "from".
func envelope(more string) string {
	return `{"from":"` + ours + `","message":` + hello + more + `}`
}

func withHeader(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = values }
}

// direct returns a function that serves requests of a key for ours without a network, for synctest.
func direct(o intake.Options) func(method, path, body string) *httptest.ResponseRecorder {
	serve := directly(o)
	return func(method, path, body string) *httptest.ResponseRecorder { return serve(method, path, body, nil) }
}

// directly is direct for requests that change alters; nil: it alters nothing.
func directly(o intake.Options) func(method, path, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	token := httpapi.NewToken()
	o.Keys = httpapi.FixedKeys(httpapi.Key{Hash: httpapi.HashToken(token), Scopes: httpapi.Scopes(), Numbers: []string{ours}})
	o.Numbers = func(number string) bool { return number == ours }
	handler := intake.New(o).Handler()
	return func(method, path, body string, change func(*http.Request)) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest(method, path, strings.NewReader(body)), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		if strings.HasSuffix(path, "/batch") {
			r.Header.Set("Content-Type", "application/x-ndjson")
		}
		if change != nil {
			change(r)
		}
		handler.ServeHTTP(w, r)
		return w
	}
}

// hanging answers only when the context ends.
type hanging struct{}

func (hanging) Accept(ctx context.Context, _ message.Message) (message.Acceptance, error) {
	return message.Acceptance{}, hang(ctx)
}

func (h hanging) AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult {
	return acceptAll(ctx, h.Accept, messages)
}

func (h hanging) Repeats(ctx context.Context, messages []message.Message) ([]string, error) {
	return repeats(ctx, h.Get, messages)
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

// nothing accepts everything and stores nothing.
type nothing struct{}

func (nothing) Accept(_ context.Context, m message.Message) (message.Acceptance, error) {
	return message.Acceptance{ID: m.ID, State: message.Queued, Class: m.Class, ExpiresAt: m.ExpiresAt}, nil
}

func (n nothing) AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult {
	return acceptAll(ctx, n.Accept, messages)
}

func (n nothing) Repeats(ctx context.Context, messages []message.Message) ([]string, error) {
	return repeats(ctx, n.Get, messages)
}

func (nothing) Progress(context.Context, []string) ([]message.Record, error) { return nil, nil }

func (nothing) Get(context.Context, string) (message.Record, error) {
	return message.Record{}, message.ErrNotFound
}

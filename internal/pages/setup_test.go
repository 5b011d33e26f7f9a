package pages_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/audit"
	"sluice/internal/backlog"
	"sluice/internal/campaigns"
	"sluice/internal/config"
	"sluice/internal/console"
	"sluice/internal/directory"
	"sluice/internal/fleet"
	"sluice/internal/holds"
	"sluice/internal/httpapi"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/observed"
	"sluice/internal/pages"
	"sluice/internal/poll"
	"sluice/internal/portfolio"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
	"sluice/internal/redistest"
	"sluice/internal/relay"
	"sluice/internal/report"
	"sluice/internal/repository"
	"sluice/internal/schedules"
	"sluice/internal/secrets"
	"sluice/internal/store"
	"sluice/internal/suppression"
)

const (
	ours   = "106540352242922"
	theirs = "200000000000001"
	shards = message.DefaultShards
)

// hostile is a text that must not become a part of a page.
const hostile = `<script>alert("1")</script>`

// site is the pages with the real console API on a real Redis.
type site struct {
	t       testing.TB
	redis   *redis.Client
	db      *store.DB
	keys    []httpapi.Key
	numbers []string          // that are configured
	tokens  map[string]string // by the name of the API key: admin, reader, narrow (only the number ours), sender, acmes (of the client acme)
	pages   *pages.Pages
	fleet   *fleet.Fleet // of the last serve
	api     http.Handler // of callers, of the last serve
	limits  *portfolio.Ledger
	budget  message.Amount    // of each campaign; 0: it has none
	replies *config.AutoReply // of the number theirs; nil: it has none
	summary *report.Summary   // of the archive; nil: there is no archive

	commands atomic.Int64    // that the pages sent to Redis
	usages   []message.Usage // nil: those in Redis
	quotas   config.Quotas   // of the client acme

	catalogue  catalogue
	synced     []string // the accounts whose templates were ordered
	unfinished int      // how many messages need each number
	url        string
}

func setup(t testing.TB) *site {
	t.Helper()
	srv := redistest.Start(t, "--appendonly", "no")
	s := &site{t: t, redis: srv.Client(), tokens: map[string]string{}, numbers: []string{ours, theirs}}
	c := srv.Client()
	c.AddHook(counter{&s.commands})
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	s.db, s.limits = db, portfolio.New(db, portfolio.Window)
	add := func(name, number string, scopes ...string) {
		s.tokens[name] = httpapi.NewToken()
		s.keys = append(s.keys, httpapi.Key{Name: name, Hash: httpapi.HashToken(s.tokens[name]), Scopes: scopes, Numbers: []string{number}})
	}
	add("admin", httpapi.AllNumbers, httpapi.ScopeAdmin, httpapi.ScopeSend)
	add("reader", httpapi.AllNumbers, httpapi.ScopeConsole)
	add("narrow", ours, httpapi.ScopeAdmin)
	add("sender", httpapi.AllNumbers, httpapi.ScopeSend)
	add("acmes", ours, httpapi.ScopeAdmin, httpapi.ScopeSend)
	last := &s.keys[len(s.keys)-1]
	last.Client, last.Numbers, last.Shared = "acme", []string{ours, theirs}, []string{theirs}
	s.pages, s.url = s.serve(s.keys)
	return s
}

// serve starts another server with the same Redis, as another producer has it.
func (s *site) serve(all []httpapi.Key) (*pages.Pages, string) {
	s.t.Helper()
	log := slog.New(slog.DiscardHandler)
	covered := slices.Clone(all) // of operators: a key of a client covers no shared number
	for i := range covered {
		covered[i].Numbers = slices.DeleteFunc(slices.Clone(covered[i].Numbers), func(number string) bool { return slices.Contains(covered[i].Shared, number) })
	}
	reader, keys := backlog.New(s.db, shards, func(string) int { return 80 }).WithLimits(s.limits), httpapi.FixedKeys(all...)
	book := ledger.New(s.db, ledger.Options{Shards: shards, RecipientHash: secrets.Hasher("a key of the tests", "recipient index")})
	held := struct {
		*holds.Store
		*backlog.Reader
	}{holds.New(s.db, shards, log), reader}
	s.fleet = fleet.New(fleet.Options{Numbers: func() []string { return s.numbers }, Rates: reader.ReadAll, Holds: held, Lists: book.CountLists, Observed: observed.New(s.db, shards)})
	o := console.Options{
		Holds: held, Fleet: s.fleet,
		Rates: ratelimit.NewController(s.db, shards, func(string) int { return 80 }),
		Directory: directory.NewStore(directory.StoreOptions{
			DB: s.db, Box: secrets.New("a key of the tests", ""), File: directory.File{Numbers: []config.Number{{ID: ours}, {ID: theirs, AutoReply: s.replies}}},
			Unfinished: func(context.Context, string) (int, error) { return s.unfinished, nil },
			Accounts: func(context.Context) (map[string]string, error) {
				return map[string]string{"77": "900", "79": "900"}, nil
			},
		}),
		Accounts:  func(context.Context) (map[string]string, error) { return nil, nil },
		Templates: s.catalogue, SyncTemplates: func(_ context.Context, account string) error {
			s.synced = append(s.synced, account)
			return nil
		},
		Lists: book, Messages: repository.New(book, queue.NewClient(s.db, shards)), Audit: audit.New(s.db, shards),
		Suppressions: suppression.New(s.db, suppression.Options{}),
		Schedules:    schedules.New(schedules.Options{DB: s.db, Box: secrets.New("a key of the tests", ""), Keys: keys, Log: log}),
		Campaigns:    repository.NewCampaigns(book, reader, held.Store, campaigns.NewStore(s.db, held.Store, audit.New(s.db, shards)), nil),
		Relay:        relay.NewTargets(s.db, shards, secrets.New("", "")), Keys: httpapi.FixedKeys(covered...),
		Numbers: func(number string) bool { return number == ours || number == theirs }, Explain: explain,
	}
	if s.summary != nil {
		o.Reports = archived{*s.summary}
	}
	operators := console.New(o)
	s.api = s.callers(keys, reader, book)
	p := pages.New(pages.Options{
		Console: operators.Handler(), API: s.api, Keys: keys, DB: s.db,
		Left: func(ctx context.Context) <-chan struct{} { return ctx.Done() },
	})
	srv := httptest.NewServer(p.Handler())
	s.t.Cleanup(srv.Close)
	s.t.Cleanup(p.Stop)
	return p, srv.URL
}

// browser keeps cookies, and does not follow redirects.
type browser struct {
	t    testing.TB
	url  string
	http http.Client
}

func (s *site) browser(url string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{s.t, url, http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// signIn returns a browser that is signed in with an API key.
func (s *site) signIn(key string) *browser {
	s.t.Helper()
	b := s.browser(s.url)
	if a := b.post("/console/sign-in", url.Values{"actor": {"anna"}, "key": {s.tokens[key]}}); a.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("sign in with %s: %d %s", key, a.StatusCode, a.text)
	}
	return b
}

// session returns the id of the session in the cookie.
func (b *browser) session() string {
	b.t.Helper()
	at, err := url.Parse(b.url + "/console/holds")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.http.Jar.Cookies(at) {
		if c.Name == "sluice_session" {
			return c.Value
		}
	}
	b.t.Fatal("the browser has no session")
	return ""
}

// page is an answer, read completely.
type page struct {
	*http.Response
	text string
}

func (p page) location() string { return p.Header.Get("Location") }

func (b *browser) do(method, path string, form url.Values, header ...string) page {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{resp, string(text)}
}

func (b *browser) get(path string) page {
	b.t.Helper()
	return b.do(http.MethodGet, path, nil)
}

func (b *browser) post(path string, form url.Values) page {
	b.t.Helper()
	return b.do(http.MethodPost, path, form)
}

// act sends the form of an act and returns the page after it, or the page that says why nothing was done.
func (b *browser) act(path, act string, fields ...string) page {
	b.t.Helper()
	form := url.Values{"act": {act}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	p := b.post(path, form)
	if p.StatusCode == http.StatusSeeOther {
		return b.get(p.location())
	}
	return p
}

// stream opens the stream of a live page. Its function returns the next event, with a line for each field; empty: the stream has ended.
func (b *browser) stream(path string) (status int, next func() string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), poll.Limit)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { cancel(); resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	return resp.StatusCode, func() string {
		var text strings.Builder
		for lines.Scan() && lines.Text() != "" {
			text.WriteString(lines.Text() + "\n")
		}
		return text.String()
	}
}

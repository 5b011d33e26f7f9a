package templates_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/cloudapi"
	"sluice/internal/content"
	"sluice/internal/graphsim"
	"sluice/internal/holds"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
	"sluice/internal/templates"
)

const (
	first   = "106540352242922" // of the account 900
	second  = "106540352242923" // of the account 901
	account = "900"
	foreign = "901"
)

// world is a Redis, and two accounts at a simulated Meta.
type world struct {
	testing.TB
	db       *store.DB
	sims     map[string]*graphsim.Sim // by account
	of       map[string]string        // the accounts of numbers
	requests atomic.Int64             // for lists of templates
	bytes    atomic.Int64             // in answers to them
	log      *slog.Logger
	url      string
	refuse   atomic.Bool // Meta refuses calls because of its limits

	mu     sync.Mutex
	states []string // that the syncers reported: "900 sale/en_US PAUSED"
}

func setup(t testing.TB, accounts map[string][]graphsim.Template) *world {
	t.Helper()
	db, err := store.Open(t.Context(), redistest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &world{TB: t, db: db, sims: map[string]*graphsim.Sim{}, log: slog.New(slog.DiscardHandler)}
	w.of = map[string]string{first: account, second: foreign}
	for id, all := range accounts {
		w.sims[id] = graphsim.New(graphsim.Options{Account: graphsim.Account{ID: id, Templates: all}})
	}
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		id := strings.Split(r.URL.Path, "/")[2]
		if w.of[id] != "" {
			id = w.of[id]
		}
		if strings.HasSuffix(r.URL.Path, "/message_templates") {
			w.requests.Add(1)
			rw = counted{rw, &w.bytes}
		}
		if w.refuse.Load() {
			http.Error(rw, `{"error":{"message":"(#80008) too many calls","code":80007}}`, http.StatusBadRequest)
			return
		}
		w.sims[id].Handler().ServeHTTP(rw, r)
	}))
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

// Write counts the bytes.
func (c counted) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return c.ResponseWriter.Write(b)
}

// syncer returns a Syncer of numbers that synchronises every account in each step, unless every is longer.
func (w *world) syncer(every time.Duration, numbers ...string) (*templates.Syncer, *templates.Catalogue) {
	owners := holds.NewAccounts(w.db)
	c := templates.NewCatalogue(templates.NewStore(w.db), owners, w.log)
	return templates.NewSyncer(templates.SyncOptions{
		Catalogue: c, Owners: owners, Every: every, Pace: time.Millisecond, Worker: fmt.Sprint("worker-", len(numbers)), Log: w.log, Registerer: prometheus.NewRegistry(),
		Graph:   cloudapi.NewClient(cloudapi.Options{BaseURL: w.url, Version: "v25.0", Token: func(string) (string, error) { return "token", nil }}),
		Numbers: func() []string { return numbers }, Ready: func(string) bool { return true },
		Throttled: func(err error) bool { return strings.Contains(err.Error(), "80007") },
		States: func(_ context.Context, account string, changed []message.Template) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, t := range changed {
				w.states = append(w.states, account+" "+t.TemplateID()+" "+t.Status)
			}
			return nil
		},
	}), c
}

// step runs a step of a Syncer, which must not fail.
func (w *world) step(s *templates.Syncer) {
	w.Helper()
	if err := s.Step(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// wantStates compares the states that were reported since the last call.
func (w *world) wantStates(want ...string) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Sort(w.states); !slices.Equal(w.states, want) {
		w.Errorf("states %q, want %q", w.states, want)
	}
	w.states = nil
}

// patch changes a template at Meta.
func (w *world) patch(account, id, members string) {
	w.Helper()
	req := httptest.NewRequest(http.MethodPatch, "/_sim/templates/"+id, strings.NewReader(members))
	answer := httptest.NewRecorder()
	if w.sims[account].Handler().ServeHTTP(answer, req); answer.Code != http.StatusOK {
		w.Fatalf("%d %s", answer.Code, answer.Body)
	}
}

// check checks a template message without parameters; it returns the code of the first problem.
func check(t testing.TB, c *templates.Catalogue, number, name string) (code string, unchecked bool) {
	t.Helper()
	var d jsondoc.Doc
	if err := d.Read(`{"to":"+15551234567","type":"template","template":{"name":"` + name + `","language":{"code":"en_US"}}}`); err != nil {
		t.Fatal(err)
	}
	m, _ := content.Check(d.Root())
	problems, unchecked := c.Check(number, d.Root(), m)
	if len(problems) > 0 {
		code = problems[0].Code
	}
	return code, unchecked
}

var body = []byte(`{"type":"BODY","text":"Hello {{1}}"}`)

// TestSync: templates are read page by page, and again only when Meta's list has changed. Their states are reported when they
// change, of the account alone that they belong to. A second worker does not repeat the work.
func TestSync(t *testing.T) {
	t.Parallel()
	var many []graphsim.Template
	for n := range 250 {
		many = append(many, graphsim.Template{Name: fmt.Sprintf("t%03d", n), Category: "MARKETING"})
	}
	many = append(many, graphsim.Template{Name: "sale"}, graphsim.Template{Name: "with_parameter", Components: []json.RawMessage{body}})
	w := setup(t, map[string][]graphsim.Template{account: many, foreign: {{Name: "sale"}}})
	s, c := w.syncer(time.Hour, first, second)
	w.step(s)
	if n := w.requests.Load(); n != 4 { // 3 pages, and 1
		t.Errorf("%d requests", n)
	}
	if len(w.states) != 253 {
		t.Errorf("%d states", len(w.states))
	}
	w.states = nil
	for name, want := range map[string]string{"t000": "", "t249": "", "sale": "", "unknown": "template_unknown", "with_parameter": "template_parameter_count"} {
		if code, unchecked := check(t, c, first, name); code != want || unchecked {
			t.Errorf("%s: %q, unchecked: %t; want %q", name, code, unchecked, want)
		}
	}
	if class := c.Class(first, "t000", "en_US"); class != message.Marketing {
		t.Errorf("class %q", class)
	}
	owner, err := holds.NewAccounts(w.db).Portfolios(t.Context())
	if err != nil || owner[account] != "2729063490586005" || owner[foreign] == "" {
		t.Errorf("portfolios %v, %v", owner, err)
	}

	other, _ := w.syncer(time.Hour, first)
	w.step(other)
	if n := w.requests.Load(); n != 4 {
		t.Errorf("%d requests after a step of a second worker", n)
	}

	w.again(account)
	w.step(s)
	if n := w.requests.Load(); n != 7 { // each page has its ETag
		t.Errorf("%d requests after a sync without changes", n)
	}
	w.wantStates()
	w.patch(account, "sale/en_US", `{"status":"PAUSED"}`)
	w.again(account)
	w.step(s)
	w.wantStates("900 sale/en_US PAUSED")
	for number, want := range map[string]string{first: "template_paused", second: ""} {
		if code, _ := check(t, c, number, "sale"); code != want {
			t.Errorf("%s: %q, want %q", number, code, want)
		}
	}
	w.patch(account, "sale/en_US", `{"status":"APPROVED","category":"AUTHENTICATION"}`)
	w.again(account)
	w.step(s)
	w.wantStates("900 sale/en_US APPROVED")
	if class := c.Class(first, "sale", "en_US"); class != message.Authentication {
		t.Errorf("class %q", class)
	}
	a := w.sims[account]
	if err := a.SetAccount(graphsim.Account{ID: account, Templates: many[:250]}); err != nil {
		t.Fatal(err)
	}
	w.again(account)
	w.step(s)
	w.wantStates("900 sale/en_US DELETED", "900 with_parameter/en_US DELETED")
	if code, _ := check(t, c, first, "sale"); code != "template_unknown" {
		t.Errorf("a deleted template: %q", code)
	}
}

// again makes the sync of an account due at once, as an hour later.
func (w *world) again(account string) {
	w.Helper()
	text, err := w.db.HGet(w.Context(), "sluice:templates:syncs", account).Result()
	if err != nil {
		w.Fatal(err)
	}
	_, after, _ := strings.Cut(text, `,`)
	w.db.HSet(w.Context(), "sluice:templates:syncs", account, `{"started":1,`+after)
	w.db.Incr(w.Context(), "sluice:templates:revision")
}

// TestStale: while Meta refuses, the last copy stays in use until it is too old: then messages pass unchecked. Without any
// sync they pass too.
func TestStale(t *testing.T) {
	t.Parallel()
	w := setup(t, map[string][]graphsim.Template{account: {{Name: "sale"}}, foreign: nil})
	s, c := w.syncer(time.Hour, first, second)
	if code, unchecked := check(t, c, first, "unknown"); code != "" || unchecked {
		t.Errorf("before a sync: %q, %t", code, unchecked)
	}
	w.step(s)
	if code, unchecked := check(t, c, second, "unknown"); code != "" || unchecked {
		t.Errorf("an account without templates: %q, %t", code, unchecked)
	}
	w.refuse.Store(true)
	w.again(account)
	w.step(s)
	if a := c.Accounts()[0]; a.Sync.Fails != 1 || !strings.Contains(a.Sync.Error, "80007") || len(a.Templates) != 1 {
		t.Errorf("%+v", a)
	}
	if code, _ := check(t, c, first, "unknown"); code != "template_unknown" {
		t.Errorf("the last copy: %q", code)
	}
	if ttl := w.db.PTTL(t.Context(), "sluice:templates:turn").Val(); ttl < 30*time.Second {
		t.Errorf("after a refusal for Meta's limits the next request may begin in %s", ttl)
	}
	text := w.db.HGet(t.Context(), "sluice:templates:syncs", account).Val()
	_, after, _ := strings.Cut(text, `"fresh":`)
	_, after, _ = strings.Cut(after, `,`)
	w.db.HSet(t.Context(), "sluice:templates:syncs", account, `{"started":9999999999999,"fresh":1,`+after)
	w.db.Incr(t.Context(), "sluice:templates:revision")
	w.step(s)
	for _, name := range []string{"unknown", "sale"} {
		if code, unchecked := check(t, c, first, name); code != "" || !unchecked {
			t.Errorf("a stale copy, %s: %q, unchecked: %t", name, code, unchecked)
		}
	}
}

// TestWebhook: a change by webhook applies at once, and asks for a sync. An older list of Meta does not undo it.
func TestWebhook(t *testing.T) {
	t.Parallel()
	w := setup(t, map[string][]graphsim.Template{account: {{Name: "sale"}}, foreign: nil})
	s, c := w.syncer(time.Hour, first)
	w.step(s)
	w.wantStates("900 sale/en_US APPROVED")
	stored := templates.NewStore(w.db)
	if err := stored.Change(t.Context(), account, message.TemplateChange{Name: "sale", Language: "en-US", Status: "PAUSED", Quality: "RED"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := c.Accounts()[0].Templates[0]
	if got.Status != "PAUSED" || got.Quality != "RED" || got.Category != "UTILITY" {
		t.Errorf("%+v", got)
	}
	if wanted := w.db.HGet(t.Context(), "sluice:templates:wanted", account).Val(); wanted == "" {
		t.Error("no sync was asked for")
	}
	if err := stored.Change(t.Context(), account, message.TemplateChange{Name: "new", Language: "en_US", Status: "APPROVED"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(t.Context()); err != nil || len(c.Accounts()[0].Templates) != 1 {
		t.Errorf("a template that is not known yet: %+v, %v", c.Accounts(), err)
	}
}

// TestStatesFirst: templates are not stored when their states cannot be applied, so that the next sync applies them.
func TestStatesFirst(t *testing.T) {
	t.Parallel()
	w := setup(t, map[string][]graphsim.Template{account: {{Name: "sale", Status: "PAUSED"}}, foreign: nil})
	owners := holds.NewAccounts(w.db)
	c := templates.NewCatalogue(templates.NewStore(w.db), owners, w.log)
	registry := prometheus.NewRegistry()
	fails := errors.New("Redis is away")
	s := templates.NewSyncer(templates.SyncOptions{
		Catalogue: c, Owners: owners, Every: time.Hour, Pace: time.Millisecond, Worker: "worker", Log: w.log, Registerer: registry,
		Graph:   cloudapi.NewClient(cloudapi.Options{BaseURL: w.url, Version: "v25.0", Token: func(string) (string, error) { return "token", nil }}),
		Numbers: func() []string { return []string{first} }, Ready: func(string) bool { return true },
		Throttled: func(error) bool { return false },
		States:    func(context.Context, string, []message.Template) error { return fails },
	})
	w.step(s)
	if a := c.Accounts()[0]; len(a.Templates) != 0 || a.Sync.Fails != 1 {
		t.Errorf("%+v", a)
	}
	fails = nil
	w.again(account)
	w.step(s)
	if a := c.Accounts()[0]; len(a.Templates) != 1 || a.Sync.Fails != 0 {
		t.Errorf("%+v", a)
	}
	const want = `# HELP sluice_template_syncs_total Syncs of the templates of an account with Meta, by result: changed, unchanged, failed.
# TYPE sluice_template_syncs_total counter
sluice_template_syncs_total{result="changed"} 1
sluice_template_syncs_total{result="failed"} 1
sluice_template_syncs_total{result="unchanged"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "sluice_template_syncs_total"); err != nil {
		t.Error(err)
	}
}

// BenchmarkSync measures what a catalogue of 5,000 templates in 200 accounts costs: docs/templates.md has the figures.
func BenchmarkSync(t *testing.B) {
	const accounts, each = 200, 25
	all := map[string][]graphsim.Template{}
	of := map[string]string{}
	var numbers []string
	for a := range accounts {
		id, number := fmt.Sprint(900_000+a), fmt.Sprint(100_000_000+a)
		of[number], numbers = id, append(numbers, number)
		for n := range each {
			all[id] = append(all[id], graphsim.Template{Name: fmt.Sprintf("order_update_%02d", n), Category: "UTILITY", Components: []json.RawMessage{
				[]byte(`{"type":"HEADER","format":"IMAGE","example":{"header_handle":["https://scontent.example.com/v/t61.29466-34/41284734_9876543210_n.jpg"]}}`),
				[]byte(`{"type":"BODY","text":"Hello {{1}}, your order {{2}} has left our store in {{3}} and arrives at the address that you gave us on {{4}}. Thank you for your order.","example":{"body_text":[["Jo","4711","Berlin","1 May"]]}}`),
				[]byte(`{"type":"FOOTER","text":"Answer STOP to get no more messages"}`),
				[]byte(`{"type":"BUTTONS","buttons":[{"type":"URL","text":"Track it","url":"https://example.com/orders/{{1}}","example":["https://example.com/orders/4711"]},{"type":"QUICK_REPLY","text":"Help"}]}`),
			}})
		}
	}
	w := setup(t, all)
	w.of = of
	commands := func() (n int64) {
		for line := range strings.Lines(w.db.Info(t.Context(), "stats").Val()) {
			if text, found := strings.CutPrefix(strings.TrimSpace(line), "total_commands_processed:"); found {
				n, _ = strconv.ParseInt(text, 10, 64)
			}
		}
		return n
	}
	memory := func() (n int64) {
		for line := range strings.Lines(w.db.Info(t.Context(), "memory").Val()) {
			if text, found := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); found {
				n, _ = strconv.ParseInt(text, 10, 64)
			}
		}
		return n
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	owners := holds.NewAccounts(w.db)
	for number, id := range of {
		owners.Note(t.Context(), number, id)
		owners.NotePortfolio(t.Context(), id, "1")
	}
	s, _ := w.syncer(time.Hour, numbers...)
	before, redis := commands(), memory()
	start := time.Now()
	w.step(s)
	t.Logf("first sync: %d requests, %d bytes in answers, %d commands, %s", w.requests.Load(), w.bytes.Load(), commands()-before, time.Since(start).Round(time.Millisecond))
	for id := range all {
		w.again(id)
	}
	before, requests, bytes := commands(), w.requests.Load(), w.bytes.Load()
	w.step(s)
	t.Logf("sync without changes: %d requests, %d bytes in answers, %d commands", w.requests.Load()-requests, w.bytes.Load()-bytes, commands()-before)
	if w.requests.Load() != 2*accounts {
		t.Errorf("%d requests, want one for each account and sync", w.requests.Load())
	}
	empty := heap()
	_, c := w.syncer(time.Hour, numbers...)
	if err := c.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("memory: %d KiB in a program, %d KiB in Redis", (heap()-empty)>>10, (memory()-redis)>>10)
	if code, _ := check(t, c, numbers[7], "order_update_07"); code != "template_header_missing" {
		t.Errorf("%q", code)
	}
	start = time.Now()
	const checks = 10_000
	for range checks {
		check(t, c, numbers[7], "unknown")
	}
	t.Logf("a message is read and compared in %s", time.Since(start)/checks)
}

// TestActive: a template is active when it is first read, edited and restored, and not when Meta changes its status or quality.
func TestActive(t *testing.T) {
	t.Parallel()
	w := setup(t, map[string][]graphsim.Template{account: {{Name: "sale"}}, foreign: nil})
	s, c := w.syncer(time.Hour, first)
	w.step(s)
	since := c.Accounts()[0].Templates[0].Active
	if since == 0 {
		t.Error("not when it is first read")
	}
	moved := func(what string, want bool) {
		t.Helper()
		if err := c.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		is := c.Accounts()[0].Templates[0].Active
		if (is != since) != want {
			t.Errorf("%s: active since %d, before %d", what, is, since)
		}
		since = is
	}
	for _, change := range []struct {
		members string
		counts  bool
	}{
		{`{"status":"PAUSED","quality_score":"RED"}`, false}, {`{"status":"ARCHIVED"}`, false}, {`{"status":"APPROVED"}`, true}, {`{"components":[` + string(body) + `]}`, true},
	} {
		w.patch(account, "sale/en_US", change.members)
		w.again(account)
		w.step(s)
		moved(change.members, change.counts)
	}
	for _, status := range []string{"ARCHIVED", "APPROVED"} {
		if err := templates.NewStore(w.db).Change(t.Context(), account, message.TemplateChange{Name: "sale", Language: "en_US", Status: status}); err != nil {
			t.Fatal(err)
		}
		moved(status+" by webhook", status == "APPROVED")
	}
}

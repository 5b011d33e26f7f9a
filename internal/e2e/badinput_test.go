package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/app"
	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/store"
)

// The numbers and keys of the site that bad input is sent to.
const (
	ours    = "106540352242922" // within every key; its phone number is ownPhone
	theirs  = "106540352242923" // within the key "wide" alone
	slowOne = "106540352242924" // sends one message a second; within every key

	ownPhone = "+15550783881"
)

const (
	wide    = "bad-input-wide-0123456789"
	narrow  = "bad-input-narrow-0123456789"
	reader  = "bad-input-reader-0123456789"
	revoked = "bad-input-revoked-0123456789"

	currentSecret, previousSecret, otherSecret = "bad-input-secret", "bad-input-secret-before", "bad-input-secret-of-another-app"
)

// site is a producer, a webhook program and a reconciler with a Redis. No worker sends.
type site struct {
	*world
	api, console, hooks string // base URLs; that of the webhook ends before the app's name
	book                *ledger.Ledger
	logs                *locked
}

// locked is a buffer that all programs log to.
type locked struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

func (l *locked) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

func newSite(t *testing.T, on kind) *site {
	t.Helper()
	s := &site{world: &world{t: t, redis: on.start(t)}, logs: &locked{}}
	log := slog.New(slog.NewJSONHandler(s.logs, nil))
	common := config.Common{
		Environment: "e2e", Shards: int(message.DefaultShards), Ops: "127.0.0.1:0",
		Redis: config.Redis{URL: config.Secret(s.redis.url), Durability: s.redis.durability}, Graph: config.Graph{BaseURL: "http://127.0.0.1:1"},
		Numbers: []config.Number{{ID: ours, Rate: 80, Display: ownPhone}, {ID: theirs, Rate: 80}, {ID: slowOne, Rate: 1}},
	}
	key := func(name, token string, numbers []string, scopes ...string) config.APIKey {
		return config.APIKey{Name: name, SHA256: sha256.Sum256([]byte(token)), Numbers: numbers, Scopes: scopes, Revoked: token == revoked}
	}
	producer := s.start(app.NewProducer(t.Context(), config.Producer{
		Common: common, Listen: "127.0.0.1:0", Console: "127.0.0.1:0", APIKeys: []config.APIKey{
			key("wide", wide, []string{"*"}, config.Scopes()...),
			key("narrow", narrow, []string{ours, slowOne}, config.Scopes()...),
			key("reader", reader, []string{"*"}, config.ScopeRead),
			key("revoked", revoked, []string{"*"}, config.Scopes()...),
		},
	}, log))
	webhook := s.start(app.NewWebhook(t.Context(), config.Webhook{Common: common, Listen: "127.0.0.1:0", Apps: []config.App{
		{Name: "main", Secret: currentSecret, PreviousSecret: previousSecret, VerifyToken: verify},
		{Name: "other", Secret: otherSecret, PreviousSecret: previousSecret, PreviousExpires: time.Now(), VerifyToken: verify},
	}}, log))
	s.start(app.NewWorker(t.Context(), config.Worker{Common: common, Roles: []string{config.RoleReconcile}, MarkerKey: markerKey}, log))
	s.api, s.console, s.hooks = "http://"+producer.Addr(), "http://"+producer.ConsoleAddr(), "http://"+webhook.Addr()+"/webhooks/whatsapp/"
	db, err := store.New(t.Context(), s.redis.admin)
	if err != nil {
		t.Fatal(err)
	}
	s.book = trusting(t, db)
	return s
}

// trusting returns a ledger whose servers allow attempts.
func trusting(t testing.TB, db *store.DB) *ledger.Ledger {
	t.Helper()
	book := ledger.New(db, ledger.Options{})
	for _, s := range message.DefaultShards.All() {
		run, err := book.CurrentEpoch(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if err := book.BeginEpoch(t.Context(), s, run.ID); err != nil {
			t.Fatal(err)
		}
	}
	return book
}

const markerKey = "bad-input-marker-key-0123456789"

// TestBadInput sends wrong input to the listeners of the programs, with a real Redis. Each row has the answer, and what
// is stored.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := newSite(t, suite())
	t.Run("refused", s.refuses)
	if n := s.count(t, "sluice:*:m:*"); n != 0 {
		t.Errorf("%d messages were kept of what was refused", n)
	}
	slow := s.slow(t) // the other requests come at the same time
	t.Run("wire", s.wire)
	t.Run("half-closed", s.halfClosed)
	t.Run("orders", s.orders)
	t.Run("webhook", s.reports)
	t.Run("handshake", s.handshakes)
	t.Run("slow", slow)
	if s.redis.server != nil {
		t.Run("full and away", s.withoutRedis)
	}
	if t.Failed() {
		t.Logf("the programs said:\n%s", s.logs.text())
	}
	for _, private := range []string{wide, narrow, reader, revoked, currentSecret, previousSecret, verify, "15551234567", "secret text", "\x1b", `\u001b`, `\u202e`} {
		if strings.Contains(s.logs.text(), private) {
			t.Errorf("%q is in the logs", private)
		}
	}
}

// answer is the answer of a program.
type answer struct {
	status int
	header http.Header
	body   string
}

// code returns the code of a problem, or "".
func (a answer) code() string {
	var p struct{ Code string }
	json.Unmarshal([]byte(a.body), &p)
	return p.Code
}

func (a answer) member(name string) any {
	var all map[string]any
	json.Unmarshal([]byte(a.body), &all)
	return all[name]
}

// ask makes a request. Its headers are those of a valid request, with changes: a header comes once for each value, and
// not at all without a value.
func ask(t *testing.T, method, url, body string, changes http.Header) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + wide}, "Content-Type": {"application/json"}}
	for name, values := range changes {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// order returns the body of a request: a text message from the number ours, with more members.
func order(more string) string {
	return `{"from":"` + ours + `","message":` + hello + more + `}`
}

const hello = `{"to":"+15551234567","type":"text","text":{"body":"secret text"}}`

// count returns how many keys of Redis match.
func (s *site) count(t *testing.T, pattern string) int {
	t.Helper()
	return len(s.redis.keys(t, pattern))
}

// send sends a message to the API and returns its id.
func (s *site) send(t *testing.T, more string) string {
	t.Helper()
	a := ask(t, "POST", s.api+"/v1/messages", order(more), nil)
	id, _ := a.member("id").(string)
	if a.status != http.StatusAccepted || id == "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	return id
}

// try begins the first attempt of a message and ends it with a move. Without a move the attempt goes on.
func (s *site) try(t *testing.T, id string, end message.Move) {
	t.Helper()
	a, err := s.book.Begin(t.Context(), id, 0, "w/1", nil)
	if err == nil && end.To != "" {
		_, _, err = s.book.Finish(t.Context(), a, end)
	}
	if err != nil || a.Verdict != message.Go {
		t.Fatal(a.Verdict, err)
	}
}

// until waits until is returns true.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll.Until(t, what, holds)
}

// withoutRedis: while Redis is nearly full, new messages are refused, and repeats and webhooks are accepted. While
// it is down, every request is answered with 503.
func (s *site) withoutRedis(t *testing.T) {
	kept := order(`,"key":"before"`)
	s.send(t, `,"key":"before"`)
	body := notification(ours, status("wamid.away", "sent", ""))
	signed := http.Header{cloudapi.SignatureHeader: {cloudapi.Sign(currentSecret, []byte(body))}}
	redis := s.redis.admin
	info, err := redis.InfoMap(t.Context(), "memory").Result()
	if err != nil {
		t.Fatal(err)
	}
	used, _ := strconv.Atoi(info["Memory"]["used_memory"])
	if err := redis.ConfigSet(t.Context(), "maxmemory", strconv.Itoa(used*6/5)).Err(); err != nil {
		t.Fatal(err)
	}
	until(t, "nothing is taken on a nearly full Redis", func() bool {
		a := ask(t, "POST", s.api+"/v1/messages", order(""), nil)
		return a.status == 503 && a.code() == "overloaded" && a.header.Get("Retry-After") != ""
	})
	if a := ask(t, "POST", s.api+"/v1/messages", kept, nil); a.status != 200 {
		t.Errorf("a repeat on a nearly full Redis: %d %s", a.status, a.body)
	}
	if a := ask(t, "POST", s.hooks+"main", body, signed); a.status != 200 {
		t.Errorf("a webhook on a nearly full Redis: %d", a.status)
	}
	s.redis.server.Kill()
	if a := ask(t, "POST", s.api+"/v1/messages", kept, nil); a.status != 503 || a.code() != "store_unavailable" || a.header.Get("Retry-After") == "" {
		t.Errorf("an order without Redis: %d %s", a.status, a.body)
	}
	if a := ask(t, "POST", s.hooks+"main", body, signed); a.status != 503 {
		t.Errorf("a webhook without Redis: %d", a.status)
	}
	s.redis.server.Restart()
	until(t, "the repeat meets what was kept", func() bool {
		a := ask(t, "POST", s.api+"/v1/messages", kept, nil)
		return a.status == 200 && a.member("duplicate") == true
	})
}

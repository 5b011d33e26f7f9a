package autoreply_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/autoreply"
	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
	"sluice/internal/suppression"
)

const (
	number = "106540352242922"
	other  = "200000000000001"
	shards = message.Shards(4)
	secret = "the secret of the hook"
)

var hash = secrets.Hasher("a key of the tests", "recipient index")

// world is a Redis, and what was accepted.
type world struct {
	t   *testing.T
	db  *store.DB
	reg *prometheus.Registry // of the last replier

	serial   atomic.Int64
	settings sync.Map // by number: *config.AutoReply

	mu       sync.Mutex
	refuse   error             // what Accept returns after it accepted; with a welcome text it accepts nothing
	refused  int               // how often it did so
	closed   int               // of so many orders the customer service window is not known to be open
	accepted map[string]string // by idempotency key: the body
	order    []string          // keys
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, db: db, accepted: map[string]string{}}
}

// start runs a replier until stop, which waits for its end.
func (w *world) start(consumer string, set ...func(*autoreply.Replier)) (stop func()) {
	w.t.Helper()
	w.reg = prometheus.NewRegistry()
	r := autoreply.New(w.db, autoreply.Options{
		Consumer: consumer, Shards: shards, Registerer: w.reg, PrivateHosts: []string{"127.0.0.1"},
		Numbers: func() []string { return []string{number, other} },
		Settings: func(number string) *config.AutoReply {
			s, _ := w.settings.Load(number)
			one, _ := s.(*config.AutoReply)
			return one
		},
		Stops:  suppression.NewWords(suppression.WordChanges{}, suppression.WordChanges{}).Stop,
		Person: func(_ context.Context, _, recipient string) (string, error) { return hash(recipient), nil },
		Accept: w.accept,
		Log:    slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	})
	for _, f := range set {
		f(r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	w.t.Cleanup(stop)
	return stop
}

// accept is an intake that knows idempotency keys.
func (w *world) accept(_ context.Context, key string, orders []message.Order) (all []message.OrderResult, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if key != "bot" {
		return nil, fmt.Errorf("API key %s: it is unknown", key)
	}
	if w.refuse != nil && strings.Contains(string(orders[0].Body), "Welcome!") {
		w.refused++
		return nil, w.refuse
	}
	for _, o := range orders {
		body, known := w.accepted[o.Key]
		switch {
		case w.closed > 0:
			w.closed--
			all = append(all, message.OrderResult{Code: "service_window_closed"})
		case !known:
			w.accepted[o.Key] = string(o.Body)
			w.order = append(w.order, o.Key)
			all = append(all, message.OrderResult{ID: o.Key})
		case body != string(o.Body):
			all = append(all, message.OrderResult{Code: "idempotency_key_reused"})
		default:
			all = append(all, message.OrderResult{ID: o.Key, Duplicate: true})
		}
	}
	return all, w.refuse
}

// replies returns what was accepted for a recipient, in order.
func (w *world) replies(to string) (texts []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range w.order {
		var body struct {
			From, Class string
			Message     struct {
				To, Recipient string
				Kind          string `json:"recipient_type"`
				Text          struct{ Body string }
			}
		}
		if err := json.Unmarshal([]byte(w.accepted[key]), &body); err != nil || body.Class != "service" || body.Message.Kind != "" {
			w.t.Errorf("accepted %s: %v", w.accepted[key], err)
		}
		if body.Message.To == to || body.Message.Recipient == to {
			texts = append(texts, body.Message.Text.Body)
		}
	}
	return texts
}

// counted returns a counter with the only label that it has.
func (w *world) counted(name, label, value string) float64 {
	w.t.Helper()
	all, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetName() == label && m.GetLabel()[0].GetValue() == value {
				return m.GetCounter().GetValue()
			}
		}
	}
	w.t.Fatalf("no metric %s{%s=%s}", name, label, value)
	return 0
}

// says appends what a person wrote, with more members of the message.
func (w *world) says(to, person, kind, members string, ago time.Duration) {
	w.t.Helper()
	n := w.serial.Add(1)
	meta := fmt.Sprintf(`{"message":{"from":%q,"id":"wamid.%d","timestamp":"%d","type":%q%s}}`, person, n, time.Now().Add(-ago).Unix(), kind, members)
	e := message.Event{Version: message.EventVersion, Type: message.EventInbound, At: time.Now().UnixMilli(), Number: to, Field: "messages", Meta: json.RawMessage(meta)}
	if err := events.New(w.db, shards, events.Options{}).Append(w.t.Context(), []message.Event{e}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) writes(person, text string) {
	w.says(number, person, "text", fmt.Sprintf(`,"text":{"body":%q}`, text), 0)
}

// handled waits until all messages are acknowledged.
func (w *world) handled() {
	w.t.Helper()
	poll.Until(w.t, "all messages are handled", func() bool {
		for _, s := range shards.All() {
			groups, err := w.db.XInfoGroups(w.t.Context(), events.MetaKey(s)).Result()
			last, _ := w.db.XInfoStream(w.t.Context(), events.MetaKey(s)).Result()
			if err != nil || len(groups) != 1 || last == nil || groups[0].Pending > 0 || last.Length > 0 && groups[0].LastDeliveredID != last.LastGeneratedID {
				return false
			}
		}
		return true
	})
}

// begin sets the settings of the number, and starts a replier that knows them.
func (w *world) begin(s *config.AutoReply, set ...func(*autoreply.Replier)) (stop func()) {
	w.t.Helper()
	w.settings.Store(number, s)
	stop = w.start("first", set...)
	w.ready(1)
	return stop
}

// ready waits until the settings of some numbers apply.
func (w *world) ready(n int) {
	w.t.Helper()
	poll.Until(w.t, "the settings apply", func() bool {
		keys, total := []string{}, 0
		for _, s := range shards.All() {
			keys = append(keys, store.Key(s, "replies:since"))
		}
		for _, key := range keys {
			total += int(w.db.HLen(w.t.Context(), key).Val())
		}
		return total == n
	})
}

func (w *world) check(person string, want ...string) {
	w.t.Helper()
	w.handled()
	if got := w.replies(person); !slices.Equal(got, want) {
		w.t.Errorf("%s got %q, want %q", person, got, want)
	}
}

// hook is a hook of the user that answers by the text of the message.
func hook(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, text string)) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get(cloudapi.SignatureHeader) != cloudapi.Sign(secret, body) {
			t.Error("the signature is wrong")
		}
		e, err := message.DecodeEvent(body)
		var meta struct {
			Message struct{ Text struct{ Body string } }
		}
		if json.Unmarshal(e.Meta, &meta); err != nil || e.Type != "inbound" || e.Number == "" {
			t.Errorf("the hook got %s: %v", body, err)
		}
		answer(w, r, meta.Message.Text.Body)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/answer"
}

// TestAnswers: of the rules, the hook, the away text and the welcome text the first one that has an answer counts. A stop word, a reaction, and
// messages of groups get none.
func TestAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked atomic.Int64
	url := hook(t, func(rw http.ResponseWriter, _ *http.Request, text string) {
		asked.Add(1)
		switch text {
		case "two":
			io.WriteString(rw, `{"messages":[{"to":"+15559999999","recipient_type":"group","type":"text","text":{"body":"one"}},{"type":"text","text":{"body":"two"}}]}`)
		case "silence":
			io.WriteString(rw, `{"messages":[]}`)
		case "broken":
			io.WriteString(rw, `{"messages":"none"}`)
		case "six":
			io.WriteString(rw, `{"messages":[`+strings.Repeat(`{"type":"text"},`, 5)+`{"type":"text"}]}`)
		case "error":
			rw.WriteHeader(500)
		default:
			rw.WriteHeader(204)
		}
	})
	w.begin(&config.AutoReply{
		APIKey: "bot", Rules: []config.ReplyRule{{Words: []string{"Price", "price list"}, Text: "10 EUR"}, {Words: []string{"price"}, Text: "never"}},
		Hook: &config.ReplyHook{URL: url, Secret: secret}, Welcome: "Welcome!",
	})
	for i, c := range []struct {
		text string
		want []string
	}{
		{"  PRICE?! ", []string{"10 EUR"}},
		{"price   list", []string{"10 EUR"}},
		{"the price", []string{"Welcome!"}},
		{"two", []string{"one", "two"}},
		{"silence", nil},
		{"broken", []string{"Welcome!"}},
		{"six", []string{"Welcome!"}},
		{"error", []string{"Welcome!"}},
		{"Stop.", nil},
	} {
		person := fmt.Sprintf("1555000000%d", i)
		w.writes(person, c.text)
		w.check("+"+person, c.want...)
	}
	if n := asked.Load(); n != 6 {
		t.Errorf("the hook was asked %d times, want 6: a rule and a stop word come first", n)
	}
	w.writes("15550000000", "hello") // the second message: no welcome
	w.check("+15550000000", "10 EUR")
	w.says(number, "15550000020", "reaction", `,"reaction":{"emoji":"x"}`, 0)
	w.says(number, "15550000021", "text", `,"group_id":"g","text":{"body":"price"}`, 0)
	w.says(number, "15550000022", "text", `,"text":{"body":"price"}`, 20*time.Minute)
	w.says(number, "15550000023", "button", `,"button":{"text":"Price"}`, 0)
	w.says(other, "15550000024", "text", `,"text":{"body":"price"}`, 0)
	w.check("+15550000020")
	w.check("+15550000021")
	w.check("+15550000022") // it is too old
	w.check("+15550000023", "10 EUR")
	w.check("+15550000024") // its number has no automatic replies
	for reason, want := range map[string]float64{"hook_answer": 2, "hook_status": 1, "too_old": 1, "loop": 0} {
		if got := w.counted("sluice_auto_replies_missed_total", "reason", reason); got != want {
			t.Errorf("%s was counted %v times, want %v", reason, got, want)
		}
	}
	for by, want := range map[string]float64{"rule": 3, "hook": 2, "welcome": 4, "none": 1, "away": 0} {
		if got := w.counted("sluice_auto_replies_total", "by", by); got != want {
			t.Errorf("%s was counted %v times, want %v", by, got, want)
		}
	}
	if n := testutil.CollectAndCount(w.reg, "sluice_auto_reply_hook_seconds"); n != 1 {
		t.Error("the requests to the hook were not measured")
	}
}

// TestAway: in the window a person gets the away text once, in place of the welcome text. Outside of it none gets it.
func TestAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Now().UTC()
	clock := func(d time.Duration) string { return now.Add(d).Format("15:04") }
	w.begin(&config.AutoReply{APIKey: "bot", Welcome: "Welcome!", Away: &config.AwayText{Text: "We are closed", From: clock(-time.Hour), To: clock(2 * time.Hour), Zone: "UTC"}})
	for range 3 {
		w.writes("15550000001", "hello")
		w.handled()
	}
	w.writes("15550000002", "hello")
	w.check("+15550000001", "We are closed")
	w.check("+15550000002", "We are closed")
	w.settings.Store(number, &config.AutoReply{APIKey: "bot", Welcome: "Hi", Away: &config.AwayText{Text: "We are closed", From: clock(2 * time.Hour), To: clock(3 * time.Hour), Zone: "UTC"}})
	n := 0
	poll.Until(t, "the new settings apply", func() bool {
		n++
		person := fmt.Sprintf("1556%07d", n)
		w.writes(person, "hello")
		w.handled()
		return slices.Equal(w.replies("+"+person), []string{"Hi"})
	})
}

// TestLoop: another bot that answers each answer gets 5 of them, and a person who writes meanwhile gets an answer.
func TestLoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(&config.AutoReply{APIKey: "bot", Rules: []config.ReplyRule{{Words: []string{"price"}, Text: "10 EUR"}}})
	for range 8 {
		w.writes("15550000001", "price")
	}
	w.writes("15550000002", "price")
	w.check("+15550000001", "10 EUR", "10 EUR", "10 EUR", "10 EUR", "10 EUR")
	w.check("+15550000002", "10 EUR")
	if n := w.counted("sluice_auto_replies_missed_total", "reason", "loop"); n != 3 {
		t.Errorf("%v messages were counted as a loop, want 3", n)
	}
}

// TestSlowHook: a hook that hangs delays no other number, and after its deadline the welcome text counts.
func TestSlowHook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hanging, release := make(chan struct{}, 1000), make(chan struct{})
	var hangs atomic.Bool // until the caller gives up
	slow := hook(t, func(_ http.ResponseWriter, r *http.Request, _ string) {
		hanging <- struct{}{}
		if hangs.Load() {
			<-r.Context().Done()
			return
		}
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	fast := hook(t, func(rw http.ResponseWriter, _ *http.Request, _ string) {
		io.WriteString(rw, `{"messages":[{"type":"text","text":{"body":"fast"}}]}`)
	})
	w.settings.Store(other, &config.AutoReply{APIKey: "bot", Hook: &config.ReplyHook{URL: fast, Secret: secret, Deadline: "10s"}})
	w.settings.Store(number, &config.AutoReply{APIKey: "bot", Welcome: "Welcome!", Hook: &config.ReplyHook{URL: slow, Secret: secret, Deadline: "10s"}})
	w.start("first")
	w.ready(2)
	for i := range 20 {
		w.writes(fmt.Sprintf("155500001%02d", i), "hello")
	}
	for range 16 { // as many as run at the same time
		<-hanging
	}
	w.says(other, "15550000001", "text", `,"text":{"body":"price"}`, 0)
	poll.Until(t, "the other number answers", func() bool { return len(w.replies("+15550000001")) == 1 })
	if n := w.counted("sluice_auto_replies_missed_total", "reason", "hook_timeout"); n > 0 {
		t.Errorf("the other number answered after %v requests to the slow hook had ended", n)
	}
	close(release)
	for i := range 20 {
		w.check(fmt.Sprintf("+155500001%02d", i), "Welcome!")
	}
	hangs.Store(true)
	w.settings.Store(number, &config.AutoReply{APIKey: "bot", Welcome: "Late", Hook: &config.ReplyHook{URL: slow, Secret: secret, Deadline: "100ms"}})
	n := 0
	poll.Until(t, "the welcome text after the deadline", func() bool {
		n++
		person := fmt.Sprintf("1556%07d", n)
		w.writes(person, "hello")
		w.handled()
		return slices.Equal(w.replies("+"+person), []string{"Late"}) && w.counted("sluice_auto_replies_missed_total", "reason", "hook_timeout") > 0
	})
}

// TestRestart: a program that dies after it accepted an answer, and before it acknowledged the message, leaves one answer: the next program gets
// the message again, and the idempotency key is the same. One that dies before leaves the answer to the next program. Messages of the downtime
// are answered.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refuse = errors.New("the answer of Redis was lost")
	rules := &config.AutoReply{APIKey: "bot", Welcome: "Welcome!", Rules: []config.ReplyRule{{Words: []string{"price"}, Text: "10 EUR"}}}
	stop := w.begin(rules)
	w.writes("15550000001", "price")
	w.writes("15550000002", "hello")
	poll.Until(t, "one answer was accepted, and the other one was not", func() bool {
		accepted := len(w.replies("+15550000001"))
		w.mu.Lock()
		defer w.mu.Unlock()
		return accepted == 1 && w.refused > 0
	})
	stop()
	w.mu.Lock()
	w.refuse = nil
	w.mu.Unlock()
	w.writes("15550000003", "price")
	again := *rules // as it is read from the file again
	w.settings.Store(number, &again)
	w.start("second", func(r *autoreply.Replier) { r.ReclaimAfter(50 * time.Millisecond) })
	poll.Until(t, "the message of the downtime is answered", func() bool { return len(w.replies("+15550000003")) == 1 })
	w.check("+15550000001", "10 EUR")
	w.check("+15550000002", "Welcome!")
}

// TestWindowOpens: an answer that comes before a worker knows that its message opened the customer service window is tried again.
func TestWindowOpens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.closed = 2
	w.begin(&config.AutoReply{APIKey: "bot", Welcome: "Welcome!"})
	w.writes("15550000001", "hello")
	poll.Until(t, "the answer", func() bool { return len(w.replies("+15550000001")) > 0 })
	w.check("+15550000001", "Welcome!")
}

// TestSince: messages from before the settings are not answered, and when the settings are removed the group is gone.
func TestSince(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writes("15550000001", "price")
	written := time.Now().Truncate(time.Millisecond)
	poll.Until(t, "the next millisecond", func() bool { return time.Since(written) > time.Millisecond })
	w.begin(&config.AutoReply{APIKey: "bot", Rules: []config.ReplyRule{{Words: []string{"price"}, Text: "10 EUR"}}})
	w.writes("15550000002", "price")
	w.check("+15550000002", "10 EUR")
	w.check("+15550000001")
	w.settings.Delete(number)
	w.ready(0)
	poll.Until(t, "the group is gone", func() bool {
		groups, err := w.db.XInfoGroups(t.Context(), events.MetaKey(shards.Of(number))).Result()
		return err == nil && len(groups) == 0
	})
}

package relay

import (
	"context"
	"encoding/json"
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

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"sluice/internal/cloudapi"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

const testShards message.Shards = 2

var marks = cloudapi.NewMarks("test", []byte("marker key"))

// world is a Redis with event streams and targets.
type world struct {
	db      *store.DB
	stream  *events.Stream
	targets *Targets
	records map[string]Record
}

func newWorld(t *testing.T, c redis.UniversalClient) *world {
	t.Helper()
	return newWorldAt(c)
}

func newWorldAt(c redis.UniversalClient) *world {
	db, err := store.New(context.Background(), c)
	if err != nil {
		panic(err)
	}
	return &world{
		db: db, stream: events.New(db, testShards, events.Options{}), records: map[string]Record{},
		targets: NewTargets(db, testShards, secrets.New("0123456789abcdef", "")),
	}
}

// options are those of a worker whose requests take up to timeout.
func (w *world) options(worker string, timeout time.Duration, tail *events.Tail) Options {
	return Options{
		Worker: worker, Shards: testShards, Targets: w.targets, Tail: tail, Mark: marks.Parse, PrivateHosts: []string{"127.0.0.1"}, Timeout: timeout,
		Display: func(string) string { return "15550783881" },
		Records: func(_ context.Context, _ message.Shard, ids []string) (map[string]Record, error) {
			return w.records, nil
		},
		Log: slog.New(slog.DiscardHandler),
	}
}

// run runs a worker until stop.
func (w *world) run(t *testing.T, worker string, timeout time.Duration) (r *Relay, stop func()) {
	t.Helper()
	tail := events.NewTail(w.stream)
	r = New(w.db, w.options(worker, timeout, tail))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { tail.Run(ctx) })
	wg.Go(func() { r.Run(ctx) })
	stop = func() {
		cancel()
		wg.Wait()
	}
	t.Cleanup(stop)
	return r, stop
}

func (w *world) set(t *testing.T, target message.RelayTarget, secret string) {
	t.Helper()
	if target.Batch == 0 {
		target.Batch, target.Concurrency, target.GiveUpAfter = 1, 16, 24*time.Hour
	}
	if _, err := w.targets.Set(t.Context(), target, secret); err != nil {
		t.Fatal(err)
	}
}

func (w *world) append(t *testing.T, all ...message.Event) {
	t.Helper()
	if err := w.stream.Append(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

// webhook appends the events of a webhook of Meta's.
func (w *world) webhook(t *testing.T, value string) {
	t.Helper()
	body := `{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"field":"messages","value":` + value + `}]}]}`
	all, err := cloudapi.Events([]byte(body), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.append(t, all...)
}

const metadata = `"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"` + testNumber + `"}`

// receiver is a handler of webhooks.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	heads  []http.Header
	answer func(n int, w http.ResponseWriter, r *http.Request) bool // false: not taken
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request) bool) *receiver {
	t.Helper()
	v := &receiver{answer: answer}
	n := 0
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		v.mu.Lock()
		n++
		i := n
		v.mu.Unlock()
		if v.answer != nil && !v.answer(i, w, r) {
			return
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.bodies, v.heads = append(v.bodies, string(body)), append(v.heads, r.Header)
	}))
	t.Cleanup(v.Close)
	return v
}

func (v *receiver) got() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.bodies)
}

// until waits until n requests have come, and returns their bodies. It fails if none comes for half a minute.
func (v *receiver) until(t *testing.T, n int) []string {
	t.Helper()
	const quiet = 30 * time.Second
	last, since := 0, time.Now()
	poll.Until(t, fmt.Sprintf("%d requests", n), func() bool {
		got := v.got()
		if len(got) != last {
			last, since = len(got), time.Now()
		}
		if time.Since(since) > quiet {
			t.Fatalf("%d of %d requests came, and no other for %s:\n%s", last, n, quiet, strings.Join(got, "\n"))
		}
		return last >= n
	})
	return v.got()
}

// TestMetaForm: an existing handler gets what Meta sends, signed, with the caller's own callback data, and with what Sluice
// knows of the message.
func TestMetaForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Client(t))
	hook := newReceiver(t, nil)
	w.set(t, message.RelayTarget{Name: "crm", URL: hook.URL, Format: message.RelayMeta, MessageIDs: message.RelayMeta}, "the secret")
	ours := newReceiver(t, nil)
	w.set(t, message.RelayTarget{Name: "shop", URL: ours.URL, Format: message.RelayMeta, MessageIDs: message.RelaySluice, Tags: []string{"autumn"}}, "")
	id := message.NewID(testNumber, "order-1")
	w.records[id] = Record{Context: message.Context{ID: id, Ref: "order-1", Tags: []string{"autumn"}, Callback: "mine"}, Accepted: 1764000000123, Recipient: "+16505551234"}
	w.run(t, "a", 10*time.Second)

	w.webhook(t, `{`+metadata+`,"contacts":[{"profile":{"name":"Zoë 😀"},"wa_id":"1"}],"statuses":[{"id":"wamid.A","status":"sent","timestamp":"1750030073","recipient_id":"1","biz_opaque_callback_data":"`+marks.Make(id, 1, 1764000000123)+`"}]}`)
	w.webhook(t, `{`+metadata+`,"contacts":[{"wa_id":"2"}],"messages":[{"from":"2","id":"wamid.B","type":"text","text":{"body":"hi"}}]}`)
	w.webhook(t, `{`+metadata+`,"statuses":[{"id":"wamid.C","status":"read","biz_opaque_callback_data":"of another"}]}`)
	w.webhook(t, `{`+metadata+`,"errors":[{"code":130429}]}`)
	final := `{"v":2,"type":"final","at":1764000000999,"phone_number_id":"` + testNumber + `","message":{"id":"` + id + `","phone_number_id":"` + testNumber + `","class":"utility","type":"text","tags":["autumn"],"ref":"order-1","callback_data":"mine"},"final":{"result":"not_delivered","certain":true,"state":"expired","reason":"deadline","text":"The message expired before an attempt."}}`
	if err := w.db.XAdd(t.Context(), &redis.XAddArgs{Stream: events.MessageKey(testShards.Of(testNumber)), Values: []any{events.Field, final}}).Err(); err != nil {
		t.Fatal(err)
	}

	entry := func(value string) string {
		return `{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"value":{` + metadata + value + `},"field":"messages"}]}]}`
	}
	status := `,"contacts":[{"profile":{"name":"Zo\u00eb \ud83d\ude00"},"wa_id":"1"}],"statuses":[{"id":"%s","status":"sent","timestamp":"1750030073","recipient_id":"1","biz_opaque_callback_data":"mine","sluice":{"id":"` + id + `","ref":"order-1","tags":["autumn"],"callback_data":"mine"}}]`
	failed := `,"statuses":[{"id":"` + id + `","status":"failed","timestamp":"1764000000","recipient_id":"16505551234","errors":[{"code":131000,"title":"Something went wrong","message":"Something went wrong","error_data":{"details":"The message expired before an attempt."}}],"biz_opaque_callback_data":"mine","sluice":{"id":"` + id + `","ref":"order-1","tags":["autumn"],"callback_data":"mine","state":"expired","reason":"deadline"}}]`
	want := []string{
		entry(fmt.Sprintf(status, "wamid.A")),
		entry(`,"contacts":[{"wa_id":"2"}],"messages":[{"from":"2","id":"wamid.B","type":"text","text":{"body":"hi"}}]`),
		entry(`,"statuses":[{"id":"wamid.C","status":"read","biz_opaque_callback_data":"of another"}]`),
		strings.Replace(entry(failed), `"id":"102290129340398"`, `"id":""`, 1),
	}
	got := hook.until(t, 5)
	for i, head := range hook.heads {
		if _, ok := cloudapi.Verify(head.Get(cloudapi.SignatureHeader), []byte(hook.bodies[i]), "the secret"); !ok || head.Get("Content-Length") == "0" {
			t.Errorf("signature %q of %s", head.Get(cloudapi.SignatureHeader), hook.bodies[i])
		}
	}
	for _, body := range want {
		if !slices.Contains(got, body) {
			t.Errorf("missing %s", body)
		}
	}
	update := slices.IndexFunc(got, func(body string) bool { return strings.Contains(body, "130429") })
	if update < 0 || !strings.Contains(got[update], `"changes":[{"value":{`+metadata+`,"errors":[{"code":130429}]},"field":"messages"}]`) {
		t.Errorf("update %q", got)
	}
	if t.Failed() {
		t.Logf("got %s", strings.Join(got, "\n"))
	}
	got = ours.until(t, 2)
	if !slices.Contains(got, entry(fmt.Sprintf(status, id))) || len(got) != 2 || ours.heads[0].Get(cloudapi.SignatureHeader) != "" {
		t.Errorf("with our ids: %v", got)
	}
	for _, body := range append(hook.got(), ours.got()...) {
		if _, err := cloudapi.Events([]byte(body), time.Now()); err != nil || !json.Valid([]byte(body)) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestOneTargetDelaysNoOther: while a target hangs and another answers 500, a third gets its events at once.
func TestOneTargetDelaysNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Client(t))
	hanging := make(chan struct{})
	bad := newReceiver(t, func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-hanging:
		case <-r.Context().Done():
		}
		return false
	})
	defer close(hanging)
	broken := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(500)
		return false
	})
	good := newReceiver(t, nil)
	for name, v := range map[string]*receiver{"bad": bad, "broken": broken, "good": good} {
		w.set(t, message.RelayTarget{Name: name, URL: v.URL, Format: message.RelaySluice}, "")
	}
	const hangs = 20 * time.Second // the time limit of a request
	w.run(t, "a", hangs)
	for n := range 300 {
		w.webhook(t, fmt.Sprintf(`{%s,"statuses":[{"id":"wamid.%d","status":"sent"}]}`, metadata, n))
	}
	start := time.Now()
	good.until(t, 300)
	if took := time.Since(start); took > hangs {
		t.Errorf("the last event arrived after %v", took)
	}
	poll.Until(t, "the expected state", func() bool {
		all, err := w.targets.List(t.Context())
		return err == nil && len(all) == 3 && all[0].Error == "timeout" && all[1].Error == "status_500" && all[2].Error == "" && all[2].Lag == 0 && all[0].Lag > 0
	})
}

// TestTargetsChangeAtRunTime: targets are held, released, replayed, changed and removed while a worker runs.
func TestTargetsChangeAtRunTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Client(t))
	var changed atomic.Bool
	hook := newReceiver(t, func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		changed.Store(r.URL.Path == "/changed")
		return true
	})
	began := time.Now().Add(-time.Second)
	r, _ := w.run(t, "a", 2*time.Second)
	status := func(n int) {
		w.webhook(t, fmt.Sprintf(`{%s,"statuses":[{"id":"wamid.%d","status":"sent"}]}`, metadata, n))
	}
	status(1) // before there is a target
	time.Sleep(2 * time.Millisecond)
	w.set(t, message.RelayTarget{Name: "crm", URL: hook.URL, Format: message.RelaySluice}, "a secret")
	status(2)
	if got := hook.until(t, 1); !strings.Contains(got[0], "wamid.2") {
		t.Errorf("a new target began with %s", got[0])
	}
	ordered := func(ok bool, err error) {
		t.Helper()
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	ordered(w.targets.Hold(t.Context(), "crm", "anna", "test"))
	poll.Until(t, "the worker holds the target", func() bool {
		return testutil.ToFloat64(r.metrics.of("crm").states[message.RelayHeld]) == 1
	})
	status(3)
	poll.Until(t, "the event waits", func() bool {
		all, err := w.targets.List(t.Context())
		return err == nil && all[0].Lag > 0
	})
	if got := hook.got(); len(got) != 1 {
		t.Errorf("a held target got %v", got)
	}
	ordered(w.targets.Release(t.Context(), "crm"))
	hook.until(t, 2)
	ordered(w.targets.Replay(t.Context(), "crm", began))
	if got := hook.until(t, 5); !strings.Contains(got[2]+got[3]+got[4], "wamid.1") {
		t.Errorf("replayed %v", got[2:])
	}
	w.set(t, message.RelayTarget{Name: "crm", URL: hook.URL + "/changed", Format: message.RelaySluice, Types: []string{"inbound"}}, "")
	inbound := func(id string) { w.webhook(t, `{`+metadata+`,"messages":[{"from":"2","id":"`+id+`"}]}`) }
	poll.Until(t, "the worker follows the change", func() bool {
		inbound("wamid.5")
		return changed.Load()
	})
	status(4)
	inbound("wamid.6")
	poll.Until(t, "the last event arrives", func() bool {
		got := hook.got()
		return strings.Contains(got[len(got)-1], "wamid.6")
	})
	if got := hook.got()[5:]; strings.Contains(fmt.Sprint(got), "wamid.4") || hook.heads[5].Get(cloudapi.SignatureHeader) == "" {
		t.Errorf("a changed target got %v", got)
	}
	if err := w.db.XAdd(t.Context(), &redis.XAddArgs{Stream: deadKey(1, "crm"), Values: []string{"event", `{"event":"{}"}`}}).Err(); err != nil {
		t.Fatal(err)
	}
	ordered(w.targets.DropDead(t.Context(), "crm"))
	if all, err := w.targets.Dead(t.Context(), "crm", 10); err != nil || len(all) != 0 {
		t.Errorf("dead letters after they were dropped: %v, %v", all, err)
	}
	ordered(w.targets.Remove(t.Context(), "crm"))
	poll.Until(t, "the expected state", func() bool {
		n, err := w.db.Exists(t.Context(), progressKey(0), progressKey(1)).Result()
		return err == nil && n == 0
	})
	for what, f := range map[string]func() (bool, error){
		"held":                      func() (bool, error) { return w.targets.Hold(t.Context(), "crm", "anna", "test") },
		"freed of its dead letters": func() (bool, error) { return w.targets.DropDead(t.Context(), "crm") },
	} {
		if ok, err := f(); ok || err != nil {
			t.Errorf("a removed target was %s: %v", what, err)
		}
	}
}

// TestAWorkerTakesOver: a shard is relayed by one of the living workers. A stopped worker gives it back at once, and the
// next one continues.
func TestAWorkerTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Client(t))
	hook := newReceiver(t, nil)
	w.set(t, message.RelayTarget{Name: "crm", URL: hook.URL, Format: message.RelaySluice}, "")
	_, stopA := w.run(t, "a", time.Second)
	poll.Until(t, "the expected state", func() bool { return w.owner(t, 0) == "a" && w.owner(t, 1) == "a" })
	w.run(t, "b", time.Second)
	poll.Until(t, "the expected state", func() bool { return w.owner(t, 0) == "b" || w.owner(t, 1) == "b" })
	for n := range 50 {
		w.webhook(t, fmt.Sprintf(`{%s,"statuses":[{"id":"wamid.%d","status":"sent"}]}`, metadata, n))
	}
	stopA()
	poll.Until(t, "the expected state", func() bool { return w.owner(t, 0) == "b" && w.owner(t, 1) == "b" })
	w.webhook(t, `{`+metadata+`,"statuses":[{"id":"wamid.50","status":"sent"}]}`)
	poll.Until(t, "nothing waits", func() bool {
		all, err := w.targets.List(t.Context())
		return err == nil && len(hook.got()) >= 51 && all[0].Lag == 0
	})
	if got := hook.got(); len(got) != 51 {
		t.Errorf("%d events arrived, want 51", len(got))
	}
}

func (w *world) owner(t *testing.T, s message.Shard) string {
	t.Helper()
	return w.db.Get(t.Context(), leaseKey(s)).Val()
}

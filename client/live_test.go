package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/client"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/relay"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// cutting is a proxy in front of the producer that cuts the connection of the first n answers of a POST, each after a
// number of bytes.
func (w *world) cutting(t *testing.T, n int32, after int64) (c *client.Client, posts *atomic.Int32) {
	t.Helper()
	target, err := url.Parse("http://" + w.addr)
	if err != nil {
		t.Fatal(err)
	}
	posts = new(atomic.Int32)
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(resp *http.Response) error {
			if resp.Request.Method == http.MethodPost && posts.Add(1) <= n {
				resp.Body = struct {
					io.Reader
					io.Closer
				}{io.MultiReader(io.LimitReader(resp.Body, after), broken{}), resp.Body}
			}
			return nil
		},
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		defer func() {
			if recover() != nil {
				panic(http.ErrAbortHandler) // without a log
			}
		}()
		proxy.ServeHTTP(w, r)
	}))
	srv.Start()
	t.Cleanup(srv.Close)
	return client.New(srv.URL, apiKey), posts
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// stored counts the messages with a tag that wait.
func (w *world) stored(t *testing.T, tag string) int {
	t.Helper()
	ids := map[string]bool{}
	for r, err := range w.client().List(t.Context(), client.ListOptions{States: []client.State{client.StateQueued}, Tag: tag, PageSize: 50}) {
		if err != nil {
			t.Fatal(err)
		}
		ids[r.ID] = true
	}
	return len(ids)
}

// later returns a message that is not sent during the test.
func later(n int, tag string) client.Message {
	return client.Message{From: number, Content: client.Text(fmt.Sprintf("+1555%07d", 3_000_000+n), "later"), Tags: []string{tag}, SendAt: time.Now().Add(time.Hour)}
}

// TestLostAnswer: when the answer to a message is cut, the client repeats it, and Sluice has one message.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	w := build(t)
	c, posts := w.cutting(t, 2, 10)
	accepted, err := c.Send(t.Context(), later(1, "lost-answer"))
	if err != nil || accepted.ID == "" || !accepted.Duplicate {
		t.Fatalf("%+v, %v", accepted, err)
	}
	if n := posts.Load(); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	if n := w.stored(t, "lost-answer"); n != 1 {
		t.Errorf("Sluice has %d messages, want 1", n)
	}
}

// TestBrokenBatch: when batches are cut in the middle, each message gets one result, and Sluice has each message once.
func TestBrokenBatch(t *testing.T) {
	t.Parallel()
	w := build(t)
	const n = 200
	c, posts := w.cutting(t, 3, 6_000) // after about 30 results
	results := map[int]string{}
	for r, err := range c.SendBatch(t.Context(), func(yield func(client.Message) bool) {
		for i := range n {
			if !yield(later(i, "broken-batch")) {
				return
			}
		}
	}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Problem != nil || results[r.Line] != "" {
			t.Errorf("message %d: %v, the result before: %q", r.Line, r.Problem, results[r.Line])
		}
		results[r.Line] = r.ID
	}
	ids := slices.Compact(slices.Sorted(maps.Values(results)))
	if len(results) != n || len(ids) != n || posts.Load() != 4 {
		t.Errorf("%d results, %d ids in %d requests, want %d in 4", len(results), len(ids), posts.Load(), n)
	}
	if stored := w.stored(t, "broken-batch"); stored != n {
		t.Errorf("Sluice has %d messages, want %d", stored, n)
	}
}

// TestAfter: a message waits for another one; both can be read, explained and cancelled.
func TestAfter(t *testing.T) {
	t.Parallel()
	ctx, c := t.Context(), build(t).client()
	m := later(1, "after")
	m.Key = "after-first"
	first, err := c.Send(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Send(ctx, client.Message{
		From: number, Ref: "after-ref", Content: client.Text("+15553000002", "second"),
		After: &client.After{Key: "after-first", State: client.StateSubmitted, Within: (2 * time.Hour).String()},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Get(ctx, second.ID)
	if err != nil || r.Final || r.State != client.StateQueued || r.After == nil || *r.After != (client.WaitsFor{ID: first.ID, State: client.StateSubmitted}) || r.PhoneNumberID != number {
		t.Errorf("%+v, %v", r, err)
	}
	e, err := c.Explain(ctx, second.ID)
	if err != nil || e.Rule != "after" || e.After == nil || e.After.ID != first.ID || e.Until.IsZero() {
		t.Errorf("%+v, %v", e, err)
	}
	for range 2 {
		if err := c.Cancel(ctx, second.ID); err != nil {
			t.Error(err)
		}
	}
	for _, o := range []client.ListOptions{{IDs: []string{second.ID, "no-such-id"}}, {PhoneNumberID: number, Ref: "after-ref"}} {
		for r, err := range c.List(ctx, o) {
			if err != nil || r.ID != second.ID || r.State != client.StateCancelled || !r.Final {
				t.Errorf("%+v: %+v, %v", o, r, err)
			}
		}
	}
	if _, err := c.Get(ctx, "no-such-id"); !hasCode(err, client.CodeNotFound) {
		t.Errorf("%v", err)
	}
	m.Content = client.Text("+15553000001", "other")
	if _, err := c.Send(ctx, m); !hasCode(err, client.CodeKeyReused) {
		t.Errorf("%v", err)
	}
	states, err := c.States(ctx)
	if err != nil || len(states) != 14 || states[0].State != client.StateQueued || states[0].Meaning == "" {
		t.Errorf("%+v, %v", states, err)
	}
}

func hasCode(err error, code string) bool {
	p, ok := errors.AsType[*client.Problem](err)
	return ok && p.Code == code && p.RequestID != ""
}

// send sends a message at once, and fails the test if it is not accepted.
func (w *world) send(t *testing.T, ref string) client.Accepted {
	t.Helper()
	accepted, err := w.client().Send(t.Context(), client.Message{From: number, Ref: ref, Content: client.Text("+15553000009", "now")})
	if err != nil {
		t.Fatal(err)
	}
	return accepted
}

// finals selects the ends of messages.
func finals() client.EventOptions {
	return client.EventOptions{From: "oldest", PhoneNumberIDs: []string{number}, Types: []client.EventType{client.EventFinal}}
}

// TestEventsAfterRestart: a loop over events goes on by itself when the producer was stopped and started again, and misses
// nothing.
func TestEventsAfterRestart(t *testing.T) {
	t.Parallel()
	w, addr := build(t), freeAddr(t)
	_, stop := w.producer(addr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w.send(t, "1")
	var got []string
	for e, err := range client.New("http://"+addr, apiKey).Events(ctx, finals()) {
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, e.Message.Ref)
		if got[len(got)-1] == "2" {
			break
		}
		if e.Final.Result != client.ResultDelivered || e.Cursor == "" || time.Since(e.Time()) > time.Minute {
			t.Errorf("%+v", e)
		}
		stop()
		w.send(t, "2") // by the other producer
		time.AfterFunc(time.Second, func() { w.producer(addr) })
	}
	if fmt.Sprint(got) != "[1 2]" {
		t.Errorf("events of %v, want of 1 and 2", got)
	}
}

// TestCursorTooOld: when events were dropped before they were read, the loop gets an error with the first cursor, and a
// loop that continues gets the events that are available.
func TestCursorTooOld(t *testing.T) {
	t.Parallel()
	w := build(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o := finals()
	start, err := w.client().ReadEvents(ctx, o, 0)
	if err != nil || len(start.Events) > 0 || start.Cursor == "" {
		t.Fatalf("%+v, %v", start, err)
	}
	o.Cursor = start.Cursor
	for _, ref := range []string{"1", "2"} {
		w.send(t, ref)
		at := o
		for { // until the message has ended
			page, err := w.client().ReadEvents(ctx, at, 20*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			at.Cursor = page.Cursor
			if n := len(page.Events); n > 0 && page.Events[n-1].Message.Ref == ref {
				break
			}
		}
	}
	rdb := redis.NewClient(&redis.Options{Addr: w.redis.Addr})
	defer rdb.Close()
	key := events.MessageKey(message.DefaultShards.Of(number))
	entries := rdb.XRange(ctx, key, "-", "+").Val()
	if err := rdb.XTrimMinID(ctx, key, entries[len(entries)-1].ID).Err(); err != nil {
		t.Fatal(err)
	}
	addr, _ := w.producer("127.0.0.1:0") // the other one still has the events in memory
	old := false
	for e, err := range client.New("http://"+addr, apiKey).Events(ctx, o) {
		if p, ok := errors.AsType[*client.Problem](err); ok {
			if old = p.Code == client.CodeCursorTooOld && p.Status == http.StatusGone && p.FirstCursor != "" && !p.FirstAt.IsZero(); !old {
				t.Fatal(err)
			}
			continue
		}
		if err != nil || !old || e.Message.Ref != "2" {
			t.Errorf("after the error %v: %+v, %v", old, e.Message, err)
		}
		break
	}
}

// TestNamedCursor: Sluice keeps the position of a consumer. What a loop has handled completely does not come again.
func TestNamedCursor(t *testing.T) {
	t.Parallel()
	w := build(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, o := w.client(), finals()
	o.CursorName, o.Limit = "client-test", 1
	for _, ref := range []string{"a", "b", "c"} {
		w.send(t, ref)
	}
	read := func(n int) (refs []string) {
		for e, err := range c.Events(ctx, o) {
			if err != nil {
				t.Fatal(err)
			}
			if refs = append(refs, e.Message.Ref); len(refs) == n {
				break
			}
		}
		return refs
	}
	first := read(2)
	second := read(2)
	if all := slices.Concat(first[:1], second); len(slices.Compact(slices.Sorted(slices.Values(all)))) != 3 || second[0] != first[1] {
		t.Errorf("first %v, then %v: the event at which the loop was left comes again, and no other", first, second)
	}
	cursors, err := c.Cursors(ctx)
	if err != nil || len(cursors) != 1 || cursors[0].Name != "client-test" || cursors[0].APIKey != "test" {
		t.Fatalf("%+v, %v", cursors, err)
	}
	o.Limit = 0
	page, err := c.ReadEvents(ctx, client.EventOptions{From: "oldest", PhoneNumberIDs: o.PhoneNumberIDs, Types: o.Types, Limit: 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if stored, err := c.SetCursor(ctx, "client-test", page.Cursor); err != nil || stored.Cursor != page.Cursor {
		t.Errorf("%+v, %v", stored, err)
	}
	if again := read(2); !slices.Contains(again, second[1]) {
		t.Errorf("set back to the first event: %v", again)
	}
	if err := c.DeleteCursor(ctx, "client-test"); err != nil {
		t.Error(err)
	}
	if err := c.DeleteCursor(ctx, "client-test"); !hasCode(err, "cursor_name_not_found") {
		t.Errorf("%v", err)
	}
}

// TestRelayedRequest: what the relay sends has a signature that VerifyWebhook accepts, and a body that ParseWebhook reads.
func TestRelayedRequest(t *testing.T) {
	t.Parallel()
	w := build(t)
	type request struct {
		header http.Header
		body   []byte
	}
	got := make(chan request, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- request{r.Header, body}
	}))
	t.Cleanup(srv.Close)
	db, err := store.Open(t.Context(), w.redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	const secret = "relay-secret-0123456789"
	targets := relay.NewTargets(db, message.DefaultShards, secrets.New(secretsKey, ""))
	if _, err := targets.Set(t.Context(), message.RelayTarget{
		Name: "client", URL: srv.URL, Format: message.RelaySluice, Numbers: []string{number}, Types: []string{message.EventFinal}, Batch: 1, Concurrency: 1, GiveUpAfter: time.Hour,
	}, secret); err != nil {
		t.Fatal(err)
	}
	sent := w.send(t, "relayed")
	r := <-got
	if err := client.VerifyWebhook(secret, r.header, r.body); err != nil {
		t.Error(err)
	}
	parsed, err := client.ParseWebhook(r.body)
	if err != nil || len(parsed) != 1 || parsed[0].Type != client.EventFinal || parsed[0].Message.ID != sent.ID {
		t.Errorf("%+v, %v", parsed, err)
	}
	for name, err := range map[string]error{
		"another secret": client.VerifyWebhook("relay-secret-012345678x", r.header, r.body),
		"no secret":      client.VerifyWebhook("", r.header, r.body),
		"no signature":   client.VerifyWebhook(secret, http.Header{}, r.body),
		"another body":   client.VerifyWebhook(secret, r.header, append(slices.Clone(r.body), ' ')),
		"half of it":     client.VerifyWebhook(secret, http.Header{client.SignatureHeader: {r.header.Get(client.SignatureHeader)[:40]}}, r.body),
	} {
		if !errors.Is(err, client.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := client.ParseWebhook([]byte(`{"object":"whatsapp_business_account","entry":[]}`)); err == nil || !strings.Contains(err.Error(), "format sluice") {
		t.Errorf("the format meta: %v", err)
	}
}

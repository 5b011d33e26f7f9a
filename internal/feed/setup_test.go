package feed_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"sluice/internal/events"
	"sluice/internal/feed"
	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/ops"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const (
	numberA = "100000000000001"
	numberB = "100000000000002"
	shards  = message.Shards(4)
)

// bench is a feed behind a real HTTP server with short time limits, and a real Redis.
type bench struct {
	url          string
	db           *store.DB
	stream       *events.Stream
	feed         *feed.Feed
	registry     *prometheus.Registry
	stop         func() // as a stop of the program does
	wide, narrow string // API keys: for all numbers, for numberA
	expiring     string // for all numbers, for some seconds
	scopeless    string
}

func setup(t testing.TB, change ...func(*feed.Options)) *bench {
	t.Helper()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		db: db, registry: prometheus.NewRegistry(), stream: events.New(db, shards, events.Options{}),
		wide: httpapi.NewToken(), narrow: httpapi.NewToken(), scopeless: httpapi.NewToken(), expiring: httpapi.NewToken(),
	}
	tail := events.NewTail(b.stream)
	o := feed.Options{
		Tail: tail, Names: feed.NewNames(db), Registerer: b.registry, MessagesOf: noMessages, Left: ops.Left,
		Keys: httpapi.FixedKeys([]httpapi.Key{
			{Name: "wide", Hash: httpapi.HashToken(b.wide), Scopes: []string{httpapi.ScopeEvents}, Numbers: []string{httpapi.AllNumbers}},
			{Name: "narrow", Hash: httpapi.HashToken(b.narrow), Scopes: []string{httpapi.ScopeEvents}, Numbers: []string{numberA}},
			{Name: "expiring", Hash: httpapi.HashToken(b.expiring), Scopes: []string{httpapi.ScopeEvents}, Numbers: []string{httpapi.AllNumbers}, Expires: time.Now().Add(3 * time.Second)},
			{Name: "scopeless", Hash: httpapi.HashToken(b.scopeless), Scopes: []string{httpapi.ScopeRead}, Numbers: []string{httpapi.AllNumbers}},
		}...),
	}
	for _, f := range change {
		f(&o)
	}
	b.feed = feed.New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { tail.Run(ctx) })
	wg.Go(func() {
		// The answers below take longer than these limits.
		err := ops.Serve(ctx, l, httpapi.Handler(b.feed.Routes()), ops.ServeOptions{
			ReadTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond, Detach: true,
		})
		if err != nil {
			t.Error(err)
		}
	})
	b.stop = sync.OnceFunc(func() {
		b.feed.Stop()
		cancel()
		wg.Wait()
	})
	t.Cleanup(func() {
		b.stop()
		http.DefaultClient.CloseIdleConnections()
	})
	return b
}

// clock returns the millisecond of Redis's clock.
func (b *bench) clock(t testing.TB) int64 {
	t.Helper()
	now, err := b.db.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return now.UnixMilli()
}

func noMessages(context.Context, []string) ([]message.Context, error) { return nil, nil }

// event returns the nth event of a number.
func event(number string, n int) message.Event {
	return message.Event{
		Type: message.EventStatus, At: 1750030073000, Number: number, WABA: "77",
		Report: &message.StatusReport{Number: number, WAMID: fmt.Sprintf("wamid.%d", n), Status: "sent"},
	}
}

func (b *bench) append(t testing.TB, all ...message.Event) {
	t.Helper()
	if err := b.stream.Append(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

// several returns events of a number.
func several(number string, from, to int) (all []message.Event) {
	for n := from; n < to; n++ {
		all = append(all, event(number, n))
	}
	return all
}

// answer is a page, or a problem.
type answer struct {
	Events      []message.Event
	Cursor      string
	More        bool
	Status      int
	Code        string
	FirstCursor string    `json:"first_cursor"`
	FirstAt     time.Time `json:"first_at"`
	Errors      []message.Problem
}

// wamids returns what identifies the events.
func (a answer) wamids() (all []string) {
	for _, e := range a.Events {
		all = append(all, e.Report.WAMID)
	}
	return all
}

func wamids(from, to int) (all []string) {
	for n := from; n < to; n++ {
		all = append(all, fmt.Sprintf("wamid.%d", n))
	}
	return all
}

func (b *bench) do(t testing.TB, method, path, key, body string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
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
	return resp, text
}

// ask returns the answer to GET /v1/events with a query.
func (b *bench) ask(t testing.TB, key, query string) answer {
	t.Helper()
	resp, text := b.do(t, "GET", "/v1/events?"+query, key, "")
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	a.Status = resp.StatusCode
	return a
}

// page returns a page of events.
func (b *bench) page(t testing.TB, query string) answer {
	t.Helper()
	a := b.ask(t, b.wide, query)
	if a.Status != http.StatusOK {
		t.Fatalf("%s: %+v", query, a)
	}
	return a
}

// sse is a consumer of a stream.
type sse struct {
	t      testing.TB
	resp   *http.Response
	body   *bufio.Reader
	lastID string
}

// open opens a stream at url.
func open(t testing.TB, url, key, last string) *sse {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	s := &sse{t: t, resp: resp, body: bufio.NewReaderSize(resp.Body, 64<<10), lastID: last}
	t.Cleanup(s.close)
	if resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		t.Fatalf("Content-Type %q", resp.Header.Get("Content-Type"))
	}
	return s
}

func (s *sse) close() { s.resp.Body.Close() }

// block returns the fields of the next block with something in it. It returns io.EOF at the end of the stream.
func (s *sse) block() (map[string]string, error) {
	fields := map[string]string{}
	for {
		line, err := s.body.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" && len(fields) > 0 {
			if id := fields["id"]; id != "" {
				s.lastID = id
			}
			return fields, nil
		}
		if name, value, ok := strings.Cut(line, ": "); ok {
			fields[name] = value // a comment has the empty name
		}
	}
}

// next returns the next event.
func (s *sse) next() (message.Event, error) {
	for {
		fields, err := s.block()
		if err != nil || fields["event"] != "" {
			return message.Event{}, fmt.Errorf("the stream ended: %w %v", err, fields)
		}
		if text := fields["data"]; text != "" {
			return message.DecodeEvent([]byte(text))
		}
	}
}

// take returns the wamids of the next n events.
func (s *sse) take(n int) (got []string) {
	s.t.Helper()
	for len(got) < n {
		e, err := s.next()
		if err != nil {
			s.t.Fatalf("after %d of %d events: %v", len(got), n, err)
		}
		got = append(got, e.Report.WAMID)
	}
	return got
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

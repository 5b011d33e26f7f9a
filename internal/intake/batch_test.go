package intake_test

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
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/intake"
	"sluice/internal/message"
)

// lineAnswer is the result of a line.
type lineAnswer struct {
	Line, Status int
	ID           string
	State        message.State
	Duplicate    bool
	Warnings     []message.Problem
	Problem      struct {
		Code   string
		Errors []message.Problem
	}
}

// batch is a running batch: line writes lines, and next reads results.
type batch struct {
	*io.PipeWriter
	t       *testing.T
	resp    *http.Response
	answers *bufio.Scanner
}

func (b *bench) batch(t *testing.T) *batch {
	t.Helper()
	out, in := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.URL+"/v1/messages/batch", out)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.narrow)
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := b.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); resp.Body.Close() })
	return &batch{in, t, resp, bufio.NewScanner(resp.Body)}
}

func (b *batch) line(text string) {
	b.t.Helper()
	if _, err := io.WriteString(b, text+"\n"); err != nil {
		b.t.Error(err)
	}
}

// next returns the next result. It is false at the end.
func (b *batch) next() (v lineAnswer, ok bool) {
	b.t.Helper()
	if !b.answers.Scan() {
		return v, false
	}
	if err := json.Unmarshal(b.answers.Bytes(), &v); err != nil {
		b.t.Fatalf("%v in %q", err, b.answers.Text())
	}
	return v, true
}

// The answer to a line comes while the body is still being written.
func TestBatchAnswersWhileItReads(t *testing.T) {
	t.Parallel()
	b := setup(t).batch(t)
	for n := 1; n <= 3; n++ {
		b.line(envelope(fmt.Sprintf(`,"key":"k-%d"`, n)))
		if v, _ := b.next(); v.Line != n || v.Status != http.StatusAccepted || v.ID != message.NewID(ours, fmt.Sprintf("k-%d", n)) {
			t.Errorf("%+v", v)
		}
	}
	b.Close()
	if v, ok := b.next(); ok {
		t.Errorf("one result too many: %+v", v)
	}
}

// Results come in the order of the lines, and a bad line does not affect the others.
func TestBatchVerdicts(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.batch(t)
	for _, c := range []struct {
		line   string
		status int
		code   string
	}{
		{envelope(`,"key":"a"`), 202, ""},
		{envelope(`,"key":"a"`), 200, ""},
		{`{`, 400, "json_invalid"},
		{`[]`, 400, "json_not_object"},
		{`{"from":"` + ours + `","message":{"to":"+15551234567","type":"text"}}`, 422, "content_missing"},
		{`{"from":"` + theirs + `","message":` + hello + `}`, 404, "phone_number_id_not_found"},
		{envelope(`,"ref":"` + strings.Repeat("x", 300<<10) + `"`), 413, "body_too_large"},
		{" " + envelope(`,"key":"b"`) + " \r", 202, ""},
	} {
		go b.line(c.line) // a line of 300 KiB fills the buffers, so the write blocks until the server reads
		v, _ := b.next()
		if v.Status != c.status || v.Problem.Code != c.code || (v.ID == "") != (c.code != "") || v.Duplicate != (v.Status == 200) {
			t.Errorf("%.60s: %+v", c.line, v)
		}
	}
	go func() { b.line(""); b.line(envelope("")); b.Close() }()
	if v, _ := b.next(); v.Line != 10 || v.Status != 202 { // a blank line has a number but no result
		t.Errorf("after a blank line: %+v", v)
	}
	if n := len(s.store.messages); n != 3 {
		t.Errorf("%d messages stored, want 3", n)
	}
}

// Many lines work, even if the caller reads no result before it has written all of them.
func TestBatchOfMany(t *testing.T) {
	t.Parallel()
	s := setup(t)
	const n = 5000
	var body strings.Builder
	for i := range n {
		fmt.Fprintln(&body, envelope(fmt.Sprintf(`,"key":"%d"`, i)))
	}
	r := s.do(t, http.MethodPost, "/v1/messages/batch", body.String(), withHeader("Content-Type", "application/jsonl"))
	lines := strings.Split(strings.TrimSpace(r.body), "\n")
	if len(lines) != n || len(s.store.messages) != n {
		t.Fatalf("%d verdicts, %d messages", len(lines), len(s.store.messages))
	}
	for i, l := range lines {
		if !strings.HasPrefix(l, fmt.Sprintf(`{"line":%d,"status":202,"id":"%s"`, i+1, message.NewID(ours, fmt.Sprint(i)))) {
			t.Fatalf("line %d: %s", i+1, l)
		}
	}
}

// When the server stops, the result of the line where the batch ended says so.
func TestBatchStops(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.batch(t)
	b.line(envelope(""))
	if v, _ := b.next(); v.Status != 202 {
		t.Fatalf("%+v", v)
	}
	start := time.Now()
	s.in.Stop()
	if v, _ := b.next(); v.Line != 2 || v.Status != 503 || v.Problem.Code != "stopping" {
		t.Errorf("%+v", v)
	}
	if v, ok := b.next(); ok {
		t.Errorf("one result too many: %+v", v)
	}
	if took := time.Since(start); took > 25*time.Second { // without the stop the batch would wait 30 s for a line
		t.Errorf("the end took %v", took)
	}
}

func TestBatchIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ndjson := withHeader("Content-Type", "application/x-ndjson")
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
		code   string
	}{
		"no key":    {func(r *http.Request) { ndjson(r); r.Header.Del("Authorization") }, 401, "unauthenticated"},
		"no scope":  {func(r *http.Request) { ndjson(r); r.Header.Set("Authorization", "Bearer "+b.readOnly) }, 403, "scope_missing"},
		"JSON":      {nil, 415, "unsupported_media_type"},
		"gzip":      {func(r *http.Request) { ndjson(r); r.Header.Set("Content-Encoding", "gzip") }, 415, "encoding_not_supported"},
		"one key":   {func(r *http.Request) { ndjson(r); r.Header.Set("Idempotency-Key", "k") }, 400, "idempotency_key_not_allowed"},
		"two tries": {func(r *http.Request) { ndjson(r); r.Header["Authorization"] = []string{"a", "b"} }, 400, "header_duplicate"},
	} {
		if r := b.do(t, http.MethodPost, "/v1/messages/batch", envelope(""), c.change); r.status != c.status || r.problem(t).Code != c.code {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// A caller that disconnects in the middle leaves no goroutine (TestMain checks that), and every answered line is
// stored.
func TestBatchCallerGoes(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.batch(t)
	b.line(envelope(`,"key":"k"`))
	if v, _ := b.next(); v.Status != 202 {
		t.Fatalf("%+v", v)
	}
	b.CloseWithError(io.ErrUnexpectedEOF)
	if _, ok := b.next(); ok {
		t.Error("one result too many")
	}
}

// pipes is a network in memory, for synctest.
type pipes struct {
	conns chan net.Conn
	open  context.Context
	close func()
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.open.Done():
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { p.close(); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.conns <- there
	return here, nil
}

// The time limits of a batch are independent of those of other requests.
func TestBatchTimes(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(t *testing.T, b *batch){
		"half a minute without a byte": func(t *testing.T, b *batch) {
			b.line(envelope(""))
			b.next()
			start := time.Now()
			if v, _ := b.next(); v.Line != 2 || v.Status != 408 || v.Problem.Code != "timeout" || time.Since(start) != 30*time.Second {
				t.Errorf("after %s: %+v", time.Since(start), v)
			}
		},
		"ten minutes with a line now and then": func(t *testing.T, b *batch) {
			start := time.Now()
			n := 1
			for ; ; n++ {
				b.line(envelope(""))
				if v, _ := b.next(); v.Line != n || v.Status != 202 {
					t.Fatalf("%+v", v)
				}
				if time.Since(start) > 570*time.Second {
					break
				}
				time.Sleep(29 * time.Second)
			}
			if v, _ := b.next(); v.Line != n+1 || v.Problem.Code != "timeout" || time.Since(start) != 10*time.Minute {
				t.Errorf("after %s: %+v", time.Since(start), v)
			}
		},
		"half a minute without reading the answer": func(t *testing.T, b *batch) {
			start := time.Now()
			for {
				if _, err := io.WriteString(b, envelope("")+"\n"); err != nil {
					break
				}
			}
			if took := time.Since(start); took != 30*time.Second {
				t.Errorf("the batch ended after %s", took)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				net := pipes{conns: make(chan net.Conn)}
				net.open, net.close = context.WithCancel(t.Context())
				s := setupOn(t, net)
				s.Client().Transport = &http.Transport{DialContext: net.dial}
				run(t, s.batch(t))
			})
		})
	}
}

// grouped records the sizes of stored groups.
type grouped struct {
	*fakeStore
	mu    sync.Mutex
	sizes []int
}

func (g *grouped) AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult {
	g.mu.Lock()
	g.sizes = append(g.sizes, len(messages))
	g.mu.Unlock()
	return g.fakeStore.AcceptAll(ctx, messages)
}

// Lines that have arrived together are stored together. Invalid lines, and messages that expire too early, are
// answered in their place, and do not delay the others.
func TestBatchGroups(t *testing.T) {
	t.Parallel()
	k := &fakeStore{messages: map[string]message.Message{}, records: map[string]message.Record{}}
	g := &grouped{fakeStore: k}
	var asked atomic.Int64
	serve := direct(intake.Options{
		Acceptor: g, Reader: k,
		ETA: func(_ context.Context, _ string, c message.Class, _ message.Flow) (time.Duration, error) {
			asked.Add(1)
			if c == message.Authentication {
				return time.Hour, nil
			}
			return time.Minute, nil
		},
	})
	past := time.Now().Add(-time.Second).Format(time.RFC3339)
	var body strings.Builder
	for i := range 600 {
		more := ""
		switch i {
		case 3:
			more = `,"class":"x"`
		case 5:
			more = `,"class":"authentication"`
		case 7:
			more = `,"expires_at":"` + past + `"`
		}
		fmt.Fprintf(&body, "%s\n", envelope(fmt.Sprintf(`,"key":"%d"`, i)+more))
	}
	serve("POST", "/v1/messages", envelope(`,"key":"9"`)) // so that the tenth line is a duplicate
	asked.Store(0)
	w := serve("POST", "/v1/messages/batch", body.String())
	want := map[int]int{4: 422, 6: 429, 8: 422, 10: 200}
	scanner := bufio.NewScanner(w.Body)
	n := 0
	for scanner.Scan() {
		n++
		var v lineAnswer
		if err := json.Unmarshal(scanner.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		status := want[n]
		if status == 0 {
			status = http.StatusAccepted
		}
		if v.Line != n || v.Status != status || status == 202 && v.ID != message.NewID(ours, fmt.Sprint(n-1)) {
			t.Errorf("line %d: %+v", n, v)
		}
	}
	slices.Sort(g.sizes) // groups are stored concurrently
	if n != 600 || !slices.Equal(g.sizes, []int{88, 253, 256}) {
		t.Errorf("%d lines in groups of %v", n, g.sizes)
	}
	if n := asked.Load(); n > 2*3+1 {
		t.Errorf("%d estimates", n)
	}
}

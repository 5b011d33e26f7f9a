package feed_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/events"
	"sluice/internal/feed"
	"sluice/internal/message"
)

func TestStream(t *testing.T) {
	t.Parallel()
	b := setup(t)
	feed.KeepAlive(b.feed, 100*time.Millisecond)
	// An ordinary HTTP proxy: it neither buffers what is flushed, nor changes the events.
	target, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(httputil.NewSingleHostReverseProxy(target))
	t.Cleanup(proxy.Close)
	for _, base := range []string{b.url, proxy.URL} {
		s := open(t, base+"/v1/events", b.wide, "")
		if _, err := s.block(); err != nil || s.lastID == "" { // the position at the start
			t.Fatalf("%v, id %q", err, s.lastID)
		}
		e := event(numberA, 0)
		e.Meta = []byte("{\r\n\"x\": 1}")
		b.append(t, e)
		same(t, "the first", s.take(1), wamids(0, 1))
		for range 5 { // longer than the time limits of the server
			if _, err := s.block(); err != nil {
				t.Fatal(err)
			}
		}
		b.append(t, several(numberA, 1, 700)...)
		same(t, "the others", s.take(699), wamids(1, 700))
		s.close()
		b.append(t, several(numberA, 700, 710)...)
		s = open(t, base+"/v1/events?from=oldest", b.wide, s.lastID) // the position wins over from
		same(t, "connected again", s.take(10), wamids(700, 710))
		s.close()
	}
}

func TestStreamEndsAtAStop(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := open(t, b.url+"/v1/events?from=oldest", b.wide, "")
	b.append(t, several(numberA, 0, 3)...)
	same(t, "before the stop", s.take(3), wamids(0, 3))
	go b.stop()
	for {
		if _, err := s.block(); errors.Is(err, io.EOF) {
			return // with the end of a complete answer
		} else if err != nil {
			t.Fatalf("the stream was cut off: %v", err)
		}
	}
}

func TestStreamEndsWithItsKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	feed.KeepAlive(b.feed, 50*time.Millisecond)
	s := open(t, b.url+"/v1/events", b.expiring, "")
	for n := 0; ; n++ {
		if _, err := s.block(); errors.Is(err, io.EOF) && n > 0 {
			return
		} else if err != nil {
			t.Fatalf("after %d parts: %v", n, err)
		}
	}
}

// TestKeepAlive: a stream without events gets comments, and the cursor moves past events that the filter does not
// select.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	feed.KeepAlive(b.feed, 50*time.Millisecond)
	s := open(t, b.url+"/v1/events?type=inbound", b.wide, "")
	if _, err := s.block(); err != nil {
		t.Fatal(err)
	}
	b.append(t, several(numberA, 0, 3)...)
	past := func() bool {
		_, places, err := feed.DecodeCursor(s.lastID, shards)
		return err == nil && places[events.MetaKey(shards.Of(numberA))].N == 3
	}
	for !past() {
		fields, err := s.block()
		if err != nil || fields[""] != "keep-alive" || fields["data"] != "" {
			t.Fatalf("%v, %v", fields, err)
		}
	}
	b.append(t, message.Event{Type: message.EventInbound, Number: numberA, Report: &message.StatusReport{WAMID: "wamid.3"}})
	same(t, "all types after the cursor", b.page(t, "cursor="+s.lastID+"&wait=10s").wamids(), wamids(3, 4))
}

// numbered is an event of a test with two consumers.
type numbered struct {
	number string
	n      int
}

// inOrder checks that got has the events 0 to n of every number at least once, and the first of each in order.
func inOrder(t *testing.T, who string, got []numbered, all []string, n int) (repeated int) {
	t.Helper()
	next := map[string]int{}
	for _, e := range got {
		switch {
		case e.n == next[e.number]:
			next[e.number]++
		case e.n > next[e.number]:
			t.Fatalf("%s: event %d of %s comes when %d is next", who, e.n, e.number, next[e.number])
		default:
			repeated++
		}
	}
	for _, number := range all {
		if next[number] != n {
			t.Errorf("%s: %d of %d events of %s", who, next[number], n, number)
		}
	}
	return repeated
}

// TestTwoConsumers: a slow consumer that reads pages, and one that reads a stream and restarts at random moments, get
// every event at least once, and in order for each number. They read the first half from Redis, and the rest from memory.
func TestTwoConsumers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const each, restarts = 4000, 25
	numbers := []string{"1", "2", "3", "4", "5"}
	start := b.page(t, "").Cursor
	parse := func(e message.Event) numbered {
		var n int
		fmt.Sscanf(e.Report.WAMID, "wamid.%d", &n)
		return numbered{e.Number, n}
	}
	write := func(from, to int) {
		for n := from; n < to; n += 20 {
			var batch []message.Event
			for _, number := range numbers {
				batch = append(batch, several(number, n, n+20)...)
			}
			if err := b.stream.Append(t.Context(), batch); err != nil {
				t.Error(err)
				return
			}
		}
	}
	write(0, each/2)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { write(each/2, each) })
	total := each * len(numbers)
	wg.Go(func() {
		var got []numbered
		for at := start; len(got) < total; {
			a := b.ask(t, b.wide, "wait=10s&limit=137&cursor="+at)
			if a.Status != 200 || len(a.Events) == 0 {
				t.Errorf("the slow consumer after %d events: %+v", len(got), a)
				return
			}
			for _, e := range a.Events {
				got = append(got, parse(e))
			}
			at = a.Cursor
		}
		if n := inOrder(t, "slow", got, numbers, each); n > 0 {
			t.Errorf("the slow consumer got %d events twice", n)
		}
	})
	wg.Go(func() {
		random := rand.New(rand.NewPCG(1, 2))
		var got []numbered
		s := open(t, b.url+"/v1/events", b.wide, start)
		stop, left := random.IntN(total/restarts), restarts
		for seen := map[numbered]bool{}; len(seen) < total; {
			e, err := s.next()
			if err != nil {
				t.Errorf("the consumer that restarts after %d events: %v", len(got), err)
				return
			}
			got, seen[parse(e)] = append(got, parse(e)), true
			if stop--; stop < 0 && left > 0 {
				s.close()
				s = open(t, b.url+"/v1/events", b.wide, s.lastID)
				stop, left = random.IntN(total/restarts), left-1
			}
		}
		repeated := inOrder(t, "restarting", got, numbers, each)
		t.Logf("the consumer that restarts: %d restarts, %d of %d events twice", restarts-left, repeated, total)
		if left == restarts || repeated > restarts*500 {
			t.Errorf("%d events came twice after %d restarts", repeated, restarts-left)
		}
	})
}

func TestNamedCursors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := "/v1/events/cursors/crm"
	if a := b.page(t, "cursor_name=crm"); len(a.Events) > 0 { // it begins now
		t.Errorf("new: %v", a.wamids())
	}
	b.append(t, several(numberA, 0, 10)...)
	a := b.page(t, "cursor_name=crm&limit=4")
	same(t, "first", a.wamids(), wamids(0, 4))
	same(t, "not acknowledged", b.page(t, "cursor_name=crm&limit=4").wamids(), wamids(0, 4))
	a = b.page(t, "cursor_name=crm&limit=4&cursor="+a.Cursor)
	same(t, "acknowledged", a.wamids(), wamids(4, 8))
	same(t, "after a restart", b.page(t, "cursor_name=crm").wamids(), wamids(4, 10))

	s := open(t, b.url+"/v1/events?cursor_name=crm", b.wide, "")
	same(t, "stream", s.take(6), wamids(4, 10))
	s = open(t, b.url+"/v1/events?cursor_name=crm", b.wide, s.lastID) // received, and not acknowledged
	s.close()
	same(t, "a stream acknowledges nothing", b.page(t, "cursor_name=crm").wamids(), wamids(4, 10))
	if resp, text := b.do(t, "PUT", name, b.wide, `{"cursor":"`+a.Cursor+`"}`); resp.StatusCode != 200 || !strings.Contains(string(text), a.Cursor) {
		t.Errorf("acknowledge: %d %s", resp.StatusCode, text)
	}
	same(t, "acknowledged by PUT", b.page(t, "cursor_name=crm").wamids(), wamids(8, 10))

	b.ask(t, b.narrow, "cursor_name=shop")
	for _, tt := range []struct {
		method, path, key, body string
		status                  int
		with                    []string // in the answer
	}{
		{"GET", "/v1/events/cursors", b.wide, "", 200, []string{`"name":"crm"`, `"name":"shop"`, `"lag_seconds":0`, `"api_key":"narrow"`}},
		{"GET", "/v1/events/cursors", b.narrow, "", 200, []string{`{"cursors":[{"name":"shop"`}},
		{"GET", "/v1/events/cursors", b.scopeless, "", 403, nil},
		{"GET", "/v1/events?cursor_name=crm", b.narrow, "", 409, []string{"cursor_name_taken"}},
		{"PUT", name, b.narrow, `{"cursor":"` + a.Cursor + `"}`, 409, nil},
		{"PUT", name, b.wide, `{"cursor":"x"}`, 422, []string{"cursor_invalid"}},
		{"PUT", "/v1/events/cursors/X", b.wide, `{"cursor":"x"}`, 422, []string{"cursor_name_invalid"}},
		{"DELETE", name, b.narrow, "", 409, nil},
		{"DELETE", name, b.wide, "", 200, []string{`"name":"crm"`}},
		{"DELETE", name, b.wide, "", 404, []string{"cursor_name_not_found"}},
		{"DELETE", "/v1/events/cursors/shop", b.wide, "", 200, nil}, // a key for all numbers
		{"GET", "/v1/events/cursors", b.wide, "", 200, []string{`{"cursors":[]}`}},
	} {
		resp, text := b.do(t, tt.method, tt.path, tt.key, tt.body)
		if resp.StatusCode != tt.status || slices.ContainsFunc(tt.with, func(part string) bool { return !strings.Contains(string(text), part) }) {
			t.Errorf("%s %s: %d %s, want %d with %q", tt.method, tt.path, resp.StatusCode, text, tt.status, tt.with)
		}
	}
}

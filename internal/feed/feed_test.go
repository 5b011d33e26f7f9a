package feed_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/events"
	"sluice/internal/feed"
	"sluice/internal/message"
	"sluice/internal/poll"
)

func TestPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.page(t, "").Cursor // from now on
	b.append(t, several(numberA, 0, 250)...)
	for n, limit := range []int{1, 99, 100, 1, 30} { // also within entries, which have 100 events
		want := []int{0, 1, 100, 200, 201, 231}
		a := b.page(t, fmt.Sprintf("cursor=%s&limit=%d", at, limit))
		same(t, "page", a.wamids(), wamids(want[n], want[n+1]))
		if !a.More {
			t.Errorf("page %d has no more", n)
		}
		at = a.Cursor
	}
	a := b.page(t, "limit=1000&cursor="+at)
	same(t, "rest", a.wamids(), wamids(231, 250))
	if a.More {
		t.Error("there is no more")
	}
	same(t, "from the oldest", b.page(t, "from=oldest&limit=3").wamids(), wamids(0, 3))
	same(t, "from a time", b.page(t, "limit=3&from="+url.QueryEscape(time.Now().Add(-time.Hour).Format(time.RFC3339))).wamids(), wamids(0, 3))
	if a := b.page(t, "from="+url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339))); len(a.Events) > 0 {
		t.Errorf("from a time ahead: %v", a.wamids())
	}
	// A cursor does not depend on the process or the filter.
	again := setup(t, func(o *feed.Options) { o.Tail, o.Names = events.NewTail(b.stream), feed.NewNames(b.db) })
	for _, filter := range []string{"", "&phone_number_id=" + numberA, "&waba_id=77&type=status&type=gap"} {
		a := again.ask(t, again.wide, "limit=2&cursor="+at+filter)
		same(t, "in another process "+filter, a.wamids(), wamids(231, 233))
	}
}

// TestOrder: events of several streams come in the order of their entries.
func TestOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var want []string
	for n := range 60 {
		number := []string{numberA, numberB}[n%2]
		e := event(number, n)
		if n%3 == 0 {
			e.Type, e.Message, e.Report = message.EventMessage, &message.Context{ID: "x"}, &message.StatusReport{WAMID: e.Report.WAMID}
		}
		b.append(t, e)
		want = append(want, fmt.Sprintf("wamid.%d", n))
		for now := b.clock(t); b.clock(t) == now; { // entries of one millisecond have no order between streams
		}
	}
	same(t, "all", b.page(t, "from=oldest").wamids(), want)
	var got []string
	for at := "from=oldest"; len(got) < len(want); {
		a := b.page(t, at+"&limit=7")
		if len(a.Events) == 0 {
			t.Fatal("no more events")
		}
		got, at = append(got, a.wamids()...), "cursor="+a.Cursor
	}
	same(t, "in pages", got, want)
}

func TestFilters(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *feed.Options) {
		o.MessagesOf = func(_ context.Context, markers []string) (all []message.Context, err error) {
			for _, m := range markers {
				all = append(all, message.Context{Tags: []string{m}})
			}
			return all, nil
		}
		o.Accounts = events.NewAccounts(func(context.Context) (map[string]string, error) { return map[string]string{numberB: "79"}, nil })
	})
	marked := event(numberA, 2)
	marked.Report.Marker = "spring"
	b.append(t,
		event(numberA, 0), event(numberB, 1), marked,
		message.Event{Type: message.EventInbound, Number: numberA, WABA: "78", Report: &message.StatusReport{WAMID: "wamid.3"}},
		message.Event{Type: message.EventUpdate, WABA: "77", Report: &message.StatusReport{WAMID: "wamid.4"}},
		message.Event{Type: message.EventMessage, Number: numberB, Message: &message.Context{Tags: []string{"spring"}}, Report: &message.StatusReport{WAMID: "wamid.5"}},
	)
	for _, tt := range []struct{ key, query, want string }{
		{b.wide, "", "0 1 2 3 4 5"},
		{b.narrow, "", "0 2 3"},
		{b.narrow, "phone_number_id=" + numberA, "0 2 3"},
		{b.wide, "phone_number_id=" + numberB, "1 5"},
		{b.wide, "phone_number_id=" + numberB + "&phone_number_id=" + numberA, "0 1 2 3 5"},
		{b.wide, "waba_id=78&waba_id=79", "3 5"},
		{b.wide, "type=inbound&type=update", "3 4"},
		{b.wide, "type=message", "5"},
		{b.narrow, "type=message", ""},
		{b.wide, "tag=spring", "2 5"},
		{b.narrow, "tag=spring&tag=autumn", "2"},
		{b.wide, "tag=spring&type=message", "5"},
	} {
		a := b.ask(t, tt.key, "from=oldest&"+tt.query)
		got := map[string]bool{}
		for _, w := range a.wamids() {
			got[strings.TrimPrefix(w, "wamid.")] = true
		}
		for want := range strings.FieldsSeq(tt.want) {
			if !got[want] {
				t.Errorf("%s: no event %s in %v", tt.query, want, a.wamids())
			}
		}
		if len(got) != len(strings.Fields(tt.want)) || len(got) != len(a.Events) || a.More {
			t.Errorf("%s: %v, want %s", tt.query, a.wamids(), tt.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct {
		key, query string
		status     int
		code       string
	}{
		{"", "", 401, "unauthenticated"},
		{b.scopeless, "", 403, "scope_missing"},
		{b.narrow, "phone_number_id=" + numberB, 404, "phone_number_id_not_found"},
		{b.wide, "phone_number_id=x", 422, "phone_number_id_invalid"},
		{b.wide, "type=nosuch", 422, "event_type_unknown"},
		{b.wide, "limit=0", 422, "query_invalid"},
		{b.wide, "limit=1001", 422, "query_invalid"},
		{b.wide, "limit=1&limit=2", 422, "query_invalid"},
		{b.wide, "type=", 422, "query_invalid"},
		{b.wide, "type=status&type=", 422, "query_invalid"},
		{b.wide, "wait=31s", 422, "query_invalid"},
		{b.wide, "wait=-1s", 422, "query_invalid"},
		{b.wide, "from=yesterday", 422, "from_unclear"},
		{b.wide, "cursor=x", 422, "cursor_invalid"},
		{b.wide, "cursor_name=A", 422, "cursor_name_invalid"},
		{b.wide, "nosuch=1", 422, "query_unknown"},
	} {
		if a := b.ask(t, tt.key, tt.query); a.Status != tt.status || a.Code != tt.code {
			t.Errorf("%q: %d %s, want %d %s", tt.query, a.Status, a.Code, tt.status, tt.code)
		}
	}
	s := open(t, b.url+"/v1/events?from=x", b.wide, "")
	if s.resp.StatusCode != 422 {
		t.Errorf("a stream from x: %d", s.resp.StatusCode)
	}
}

func TestLongPoll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.page(t, "").Cursor
	answers := make(chan answer)
	wait := func(query string) { go func() { answers <- b.ask(t, b.wide, query+"&cursor="+at) }() }
	wait("wait=30s")
	wait("wait=30s&type=inbound") // no such event comes
	began := time.Now()
	// Longer than the time limits of the server.
	if a := b.page(t, "wait=500ms&cursor="+at); len(a.Events) > 0 || time.Since(began) < 500*time.Millisecond {
		t.Errorf("after the wait, %s: %+v", time.Since(began), a)
	}
	select {
	case a := <-answers:
		t.Errorf("without events: %+v", a)
	default:
	}
	b.append(t, several(numberA, 0, 5)...)
	same(t, "long poll", (<-answers).wamids(), wamids(0, 5))
	if a := b.page(t, "wait=1ms&type=inbound&cursor="+at); len(a.Events) > 0 || a.Cursor == at {
		t.Errorf("a wait past events of other types: %+v", a)
	}
	began = time.Now()
	b.stop()
	if a := <-answers; a.Status != http.StatusOK || len(a.Events) > 0 || a.Cursor == "" {
		t.Errorf("at a stop: %+v", a)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("the stop took %s", d)
	}
}

// TestTooManyClients: one key does not get all places, and all keys together get no more than there are.
func TestTooManyClients(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *feed.Options) { o.Clients = 2 })
	busy := func(what, key string) {
		t.Helper()
		if a := b.ask(t, key, ""); a.Status != http.StatusTooManyRequests || a.Code != "feed_busy" {
			t.Errorf("%s: %+v", what, a)
		}
	}
	first := open(t, b.url+"/v1/events", b.wide, "")
	busy("the second client of a key", b.wide)
	second := open(t, b.url+"/v1/events", b.narrow, "")
	busy("the third client", b.expiring)
	first.block()
	second.block()
}

// TestClientsLeave: a caller that leaves does not keep its place.
func TestClientsLeave(t *testing.T) {
	t.Parallel()
	b := setup(t)
	feed.KeepAlive(b.feed, time.Hour)
	clients := func(poll, stream int) func() bool {
		return func() bool {
			return testutil.GatherAndCompare(b.registry, strings.NewReader(fmt.Sprintf(`
# HELP sluice_feed_clients Callers of GET /v1/events that have no answer yet, by mode: poll (a page, or a long poll), stream (server-sent events).
# TYPE sluice_feed_clients gauge
sluice_feed_clients{mode="poll"} %d
sluice_feed_clients{mode="stream"} %d
`, poll, stream)), "sluice_feed_clients") == nil
		}
	}
	at := b.page(t, "").Cursor
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, "GET", b.url+"/v1/events?wait=30s&cursor="+at, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.wide)
	left := make(chan error)
	go func() {
		_, err := http.DefaultClient.Do(req)
		left <- err
	}()
	s := open(t, b.url+"/v1/events", b.wide, "")
	poll.Until(t, "both wait", clients(1, 1))
	began := time.Now()
	leave()
	s.close()
	if err := <-left; err == nil {
		t.Error("the long poll was answered")
	}
	poll.Until(t, "both have left", clients(0, 0))
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("the places were free after %s", d)
	}
}

// TestTooOld: a cursor before events that were dropped gets 410, with a cursor that works.
func TestTooOld(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.page(t, "").Cursor
	b.append(t, event(numberA, 0), event(numberB, 0))
	for n := 1; n < 5; n++ {
		b.append(t, event(numberA, n)) // an entry each
	}
	first := b.page(t, "limit=1&cursor="+at)
	key := events.MetaKey(shards.Of(numberA))
	entries := b.db.XRange(t.Context(), key, "-", "+").Val()
	if err := b.db.XTrimMinID(t.Context(), key, entries[2].ID).Err(); err != nil {
		t.Fatal(err)
	}
	b.stop() // a process that has them in memory would deliver them
	again := setup(t, func(o *feed.Options) { o.Tail, o.Names = events.NewTail(b.stream), feed.NewNames(b.db) })
	for _, cursor := range []string{at, first.Cursor} {
		a := again.ask(t, again.wide, "cursor="+cursor)
		ms, _, _ := strings.Cut(entries[2].ID, "-")
		if a.Status != http.StatusGone || a.Code != "cursor_too_old" || fmt.Sprint(a.FirstAt.UnixMilli()) != ms {
			t.Fatalf("%+v, want 410 with the first time %s", a, ms)
		}
		rest := again.page(t, "cursor="+a.FirstCursor)
		for _, want := range wamids(2, 5) {
			if !strings.Contains(strings.Join(rest.wamids(), " "), want) {
				t.Errorf("from the first cursor: %v, want %s", rest.wamids(), want)
			}
		}
	}
	// The other number has missed nothing.
	same(t, "the other number", again.page(t, "phone_number_id="+numberB+"&cursor="+at).wamids(), wamids(0, 1))
	s := open(t, again.url+"/v1/events?cursor="+at, again.wide, "")
	if _, err := s.block(); err != nil {
		t.Fatal(err)
	}
	fields, err := s.block()
	if err != nil || fields["event"] != "problem" || !strings.Contains(fields["data"], `"first_cursor":"`) || !strings.Contains(fields["data"], "cursor_too_old") {
		t.Errorf("in a stream: %v, %v", fields, err)
	}
	if _, err := s.block(); err == nil {
		t.Error("the stream goes on")
	}
}

func TestCursorText(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1763820424512)
	places := map[string]events.Place{
		events.MetaKey(0):    {Entry: "1763820424000-3", N: 100, Count: 1 << 40},
		events.MessageKey(1): {Entry: "1863820424000-0"},
		events.MetaKey(2):    {Entry: "0-0", Count: 7},
		events.MessageKey(3): {},
	}
	text := feed.EncodeCursor(at, places, shards)
	gotAt, got, err := feed.DecodeCursor(text, shards)
	if err != nil || !gotAt.Equal(at) || len(got) != len(places) {
		t.Fatalf("%s: %v, %v, %v", text, gotAt, got, err)
	}
	for key, p := range places {
		if got[key] != p {
			t.Errorf("%s: %+v, want %+v", key, got[key], p)
		}
	}
	for i := range text {
		if _, _, err := feed.DecodeCursor(text[:i], shards); err == nil {
			t.Errorf("cut to %d characters it is a cursor", i)
		}
		if _, _, err := feed.DecodeCursor(text[:i]+"-"+text[i:], shards); err == nil {
			t.Errorf("with another character at %d it is a cursor", i)
		}
	}
	if _, _, err := feed.DecodeCursor(text, 1); err == nil {
		t.Error("a cursor of more shards is accepted")
	}
}

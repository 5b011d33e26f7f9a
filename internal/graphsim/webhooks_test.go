package graphsim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/graphsim"
)

// hooked is a simulator that reports to a receiver.
func hooked(t *testing.T, w graphsim.Webhook) (*bundle, *receiver) {
	t.Helper()
	r := newReceiver(t)
	w.URL, w.Secret = r.URL, secret
	return setup(t, graphsim.Options{Seed: 1, Webhook: w}), r
}

func TestReports(t *testing.T) {
	t.Parallel()
	const to = `"to":"+16505551234",`
	all := graphsim.Webhook{Senders: 1, Read: 1, Tap: 1}
	list := to + `"type":"interactive","interactive":{"type":"list","body":{"text":"Pick"},"action":{"button":"x","sections":[` +
		`{"title":"s","rows":[{"id":"r1","title":"Row","description":"d"}]}]}}`
	quick := to + `"type":"template","template":{"name":"t","language":{"code":"en_US"},"components":[` +
		`{"type":"button","sub_type":"quick_reply","index":"0","parameters":[{"type":"payload","payload":"p"}]}]}`
	for _, c := range []struct {
		name, members string
		webhook       graphsim.Webhook
		want          []string
	}{
		{"text", text("16505551234", ""), graphsim.Webhook{Senders: 1}, []string{"sent", "delivered"}},
		{"read", text("16505551234", ""), all, []string{"sent", "delivered", "read"}},
		{"failed", text("16505551234", ""), graphsim.Webhook{Senders: 1, Read: 1, Fail: 1}, []string{"failed"}},
		{"voice", to + `"type":"audio","audio":{"id":"1","voice":true}`, all, []string{"sent", "delivered", "read", "played"}},
		{"audio", to + `"type":"audio","audio":{"id":"1"}`, all, []string{"sent", "delivered", "read"}},
		{"reaction", to + `"type":"reaction","reaction":{"message_id":"wamid.x","emoji":"👍"}`, all, []string{"sent"}},
		{"buttons", to + buttons("Good"), all, []string{"sent", "delivered", "read", "interactive"}},
		{"tapped, so read", to + buttons("Good"), graphsim.Webhook{Senders: 1, Tap: 1}, []string{"sent", "delivered", "read", "interactive"}},
		{"buttons, not tapped", to + buttons("Good"), graphsim.Webhook{Senders: 1}, []string{"sent", "delivered"}},
		{"quick replies", quick, all, []string{"sent", "delivered", "read", "button"}},
		{"list", list, all, []string{"sent", "delivered", "read", "interactive"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, r := hooked(t, c.webhook)
			b.run()
			b.send(c.members)
			b.drained()
			if got := statuses(r.received()); !slices.Equal(got, c.want) {
				t.Errorf("reported %q, want %q", got, c.want)
			}
		})
	}
}

func TestReportsHaveMetasShape(t *testing.T) {
	t.Parallel()
	b, r := hooked(t, graphsim.Webhook{Senders: 1, Read: 1, Tap: 1})
	b.run()
	marker := "sl1.demo.1-a.1.00000000"
	a := b.send(`"to":"+16505551234","biz_opaque_callback_data":"` + marker + `",` + buttons("Good"))
	b.drained()
	got := r.received()
	for _, u := range got[:3] {
		if u.ID != a.Messages[0].ID || u.Recipient != "16505551234" || u.Marker != marker || u.Number != number || u.Contact != "16505551234" {
			t.Errorf("%s: %+v", u.Status, u)
		}
		if u.Time == "" || (u.Status != "read") != (u.Pricing != nil && u.Pricing.Model == "PMP" && u.Pricing.Category == "service") {
			t.Errorf("%s at %q costs %+v", u.Status, u.Time, u.Pricing)
		}
	}
	tap := got[3]
	if tap.From != "16505551234" || tap.Context.ID != a.Messages[0].ID || tap.ID == a.Messages[0].ID || tap.Marker != "" {
		t.Errorf("tap: %+v", tap)
	}
	if i := tap.Interactive; i.Type != "button_reply" || i.ButtonReply.ID != "id-Good" || i.ButtonReply.Title != "Good" {
		t.Errorf("tapped: %+v", i)
	}
	// Meta signs escaped text: a receiver that parses before it checks the signature must fail.
	if body := <-r.posts; !bytes.Contains(body, []byte(`Zo\u00eb`)) {
		t.Errorf("not escaped: %s", body)
	}

	b.send(`"recipient":"US.1349","type":"text","text":{"body":"x"}`)
	b.drained()
	if u := r.received()[0]; u.UserID != "US.1349" || u.Recipient != "" || u.Contact != "" {
		t.Errorf("user without a number: %+v", u)
	}
}

func TestRepeatedUntil200(t *testing.T) {
	t.Parallel()
	b, r := hooked(t, graphsim.Webhook{Senders: 1, Fail: 1, Retry: graphsim.Span{Min: time.Millisecond, Max: 4 * time.Millisecond}})
	refusals := []int{500, 503, 201, 302, 401}
	for _, code := range refusals {
		r.answers <- code
	}
	b.run()
	b.send(text("16505551234", ""))
	b.drained()
	if got, want := len(r.posts), len(refusals)+1; got != want {
		t.Fatalf("%d POSTs, want %d", got, want)
	}
	first := <-r.posts
	for range refusals {
		if again := <-r.posts; !bytes.Equal(again, first) {
			t.Errorf("repeated as %s, was %s", again, first)
		}
	}
	if got := r.received(); len(got) != 1 {
		t.Errorf("taken %d times", len(got))
	}
	w := b.Stats().Webhooks
	if w.OK != 1 || w.Failed != len(refusals) || w.Waiting != 0 || w.Err != "webhook answered 401" {
		t.Errorf("%+v", w)
	}
}

func TestDouble(t *testing.T) {
	t.Parallel()
	b, r := hooked(t, graphsim.Webhook{Senders: 1, Double: 1})
	b.run()
	b.send(text("16505551234", ""))
	b.drained()
	got := statuses(r.received())
	slices.Sort(got)
	if want := []string{"delivered", "delivered", "sent", "sent"}; !slices.Equal(got, want) {
		t.Errorf("reported %q, want %q", got, want)
	}
}

func TestShuffle(t *testing.T) {
	t.Parallel()
	b, r := hooked(t, graphsim.Webhook{Senders: 1, Read: 1, Shuffle: 1})
	b.run()
	orders := map[string]bool{}
	for range 40 {
		b.send(text("16505551234", ""))
		b.drained()
		orders[strings.Join(statuses(r.received()), " ")] = true
	}
	if len(orders) != 6 { // every order of three; the seed is fixed
		t.Errorf("orders: %v", orders)
	}
}

func TestSeedDecidesReports(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) string {
		r := newReceiver(t)
		w := graphsim.Webhook{URL: r.URL, Secret: secret, Senders: 1, Read: .5, Tap: .5, Fail: .3, Double: .3, Shuffle: .5}
		b := setup(t, graphsim.Options{Seed: seed, Webhook: w})
		b.run()
		var seen []string
		for range 20 {
			b.send(`"to":"+16505551234",` + buttons("Good", "Bad"))
			b.drained()
			for _, u := range r.received() {
				seen = append(seen, u.Status+u.Interactive.ButtonReply.Title)
			}
		}
		return strings.Join(seen, " ")
	}
	one, again, two := run(1), run(1), run(2)
	if one != again {
		t.Errorf("the same seed gave\n%s and\n%s", one, again)
	}
	if one == two {
		t.Errorf("another seed gave the same: %s", one)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	b, r := hooked(t, graphsim.Webhook{Senders: 1, Batch: 7})
	for i := range 10 { // 20 reports, all due before Run begins
		number := fmt.Sprint(1000 + i%2)
		b.do("POST", "/v25.0/"+number+"/messages", `{"messaging_product":"whatsapp",`+text(fmt.Sprint(16505551000+i), "")+`}`)
	}
	b.run()
	b.drained()
	var sizes []int
	seen := map[string]string{}
	close(r.updates) // all is delivered
	for batch := range r.updates {
		sizes = append(sizes, len(batch))
		for _, u := range batch {
			seen[u.ID+u.Status] = u.Number
		}
	}
	if want := []int{7, 7, 6}; !slices.Equal(sizes, want) {
		t.Errorf("batches of %v, want %v", sizes, want)
	}
	for _, a := range b.Accepted() {
		if seen[a.WAMID+"sent"] != a.Number || seen[a.WAMID+"delivered"] != a.Number {
			t.Errorf("of %+v: %q", a, seen)
		}
	}
}

func TestRunStopsAndGoesOn(t *testing.T) {
	t.Parallel()
	b, r := hooked(t, graphsim.Webhook{Delay: graphsim.Span{Min: time.Hour}})
	stop := b.run()
	b.send(text("16505551234", ""))
	stop()
	b.send(text("16505551234", ""))
	if got := b.Stats().Webhooks.Waiting; got != 4 || len(r.received()) != 0 {
		t.Errorf("%d waiting, want 4", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Drained(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drained: %v", err)
	}

	b, r = hooked(t, graphsim.Webhook{})
	b.send(text("16505551234", ""))
	b.run()()
	b.run()
	b.drained()
	if got := len(r.received()); got < 2 { // one under way at the stop may come twice
		t.Errorf("%d reports, want 2", got)
	}
}

func TestManyMessages(t *testing.T) {
	t.Parallel()
	b, r := hooked(t, graphsim.Webhook{Senders: 4, Batch: 50, Delay: graphsim.Span{Max: 20 * time.Millisecond}, Double: .1})
	b.run()
	const callers, each = 8, 150
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := range each {
				b.send(text("16505551234", fmt.Sprintf("sl1.demo.1-%d.%d.x", c, i)))
			}
		})
	}
	all.Wait()
	b.drained()
	seen := map[string]bool{}
	for _, u := range r.received() {
		seen[u.ID+u.Status] = true
	}
	for _, a := range b.Accepted() {
		if !seen[a.WAMID+"sent"] || !seen[a.WAMID+"delivered"] {
			t.Fatalf("not all reported of %+v", a)
		}
	}
	if s := b.Stats(); s.Accepted != callers*each || len(seen) != 2*callers*each || s.Duplicates != callers {
		t.Errorf("%d statuses, %+v", len(seen), s)
	}
}

// TestLateInbound: count makes several messages with ids of their own, and ago dates them back. They are reported now.
func TestLateInbound(t *testing.T) {
	t.Parallel()
	b, r := hooked(t, graphsim.Webhook{})
	b.run()
	before := time.Now()
	if a := b.do("POST", "/_sim/inbound", `{"from":"16505551234","to":"1000","text":"hi","count":3,"ago":"1h"}`); a.Status != 202 {
		t.Fatalf("%d %s", a.Status, a.Raw)
	}
	b.drained()
	got := r.received()
	ids := map[string]bool{}
	for _, u := range got {
		ids[u.ID] = true
		written, err := strconv.ParseInt(u.Time, 10, 64)
		if ago := before.Unix() - written; err != nil || ago < 3500 || ago > 3601 || u.From != "16505551234" || u.Number != "1000" || u.Text.Body != "hi" {
			t.Errorf("written at %s, %d s before the call: %+v", u.Time, ago, u)
		}
	}
	if len(got) != 3 || len(ids) != 3 {
		t.Errorf("%d messages with %d ids, want 3", len(got), len(ids))
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	b, r := hooked(t, graphsim.Webhook{})
	b.run()
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", "/_sim/faults", `{"lots":1}`, 400},
		{"PUT", "/_sim/faults", `{"lost":1.5}`, 400},
		{"PUT", "/_sim/faults", `{"lost":0.6,"reset":0.6}`, 400},
		{"PUT", "/_sim/faults", `{"latency":"80ms..20ms"}`, 400},
		{"PUT", "/_sim/faults", `{"throttle":1,"latency":"1ms..2ms"}`, 200},
		{"PUT", "/_sim/outage", `true`, 400},
		{"PUT", "/_sim/outage", `{"Outage":true}`, 400},
		{"PUT", "/_sim/outage", `{"outage":true,"outage":false}`, 400},
		{"PUT", "/_sim/outage", `{"outage":true} {}`, 400},
		{"PUT", "/_sim/outage", ``, 400},
		{"PUT", "/_sim/faults", `{"Lost":1}`, 400},
		{"PATCH", "/_sim/account", `{"token":{"Revoked":true}}`, 400},
		{"PATCH", "/_sim/numbers/1000", `{"refuse":131057,"refuse":0}`, 400},
		{"POST", "/_sim/inbound", `{"from":"16505551234","to":"1000","text":"hi","count":0}`, 400},
		{"POST", "/_sim/inbound", `{"from":"16505551234","to":"1000","text":"hi","count":-1}`, 400},
		{"POST", "/_sim/inbound", `{"from":"16505551234","to":"1000","text":"hi","count":100001}`, 400},
		{"POST", "/_sim/inbound", `{"from":"16505551234","to":"1000","text":"hi","ago":"-1s"}`, 400},
		{"POST", "/_sim/inbound", `{"from":"16505551234","to":"me","text":"hi"}`, 400},
		{"POST", "/_sim/inbound", `{"from":"16505551234","to":"1000","text":"hi"}`, 202},
		{"GET", "/_sim/stats", "", 200},
	} {
		if a := b.do(c.method, c.path, c.body); a.Status != c.status {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, a.Status, a.Raw)
		}
	}
	b.drained()
	got := r.received()
	if len(got) != 1 || got[0].Type != "text" || got[0].Text.Body != "hi" || got[0].From != "16505551234" || got[0].Number != "1000" {
		t.Errorf("inbound: %+v", got)
	}
	want := graphsim.Faults{Throttle: 1, Latency: graphsim.Span{Min: time.Millisecond, Max: 2 * time.Millisecond}}
	if got := b.Stats().Faults; got != want {
		t.Errorf("faults: %+v", got)
	}
	if a := b.do("GET", "/_sim/stats", ""); !strings.Contains(a.Raw, `"latency":"1ms..2ms"`) {
		t.Errorf("stats: %s", a.Raw)
	}
	if a := b.send(text("16505551234", "")); a.Error.Code != 130429 {
		t.Errorf("faults are not in force: %s", a.Raw)
	}
	if a := setup(t, graphsim.Options{}).do("POST", "/_sim/inbound", `{"from":"1","to":"1","text":"hi"}`); a.Status != 409 {
		t.Errorf("inbound without webhook: %d", a.Status)
	}
}

package relay

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
)

// TestATargetFindsWhatItMissed: entries are dropped before they are relayed. The target gets a gap event before the
// remaining ones, also if the worker ends before the target takes it. A target in Meta's form gets the remaining ones only.
func TestATargetFindsWhatItMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Client(t))
	var down atomic.Bool
	var refused atomic.Int64
	hook := newReceiver(t, func(_ int, rw http.ResponseWriter, _ *http.Request) bool {
		if down.Load() {
			refused.Add(1)
			rw.WriteHeader(500)
		}
		return !down.Load()
	})
	meta := newReceiver(t, nil)
	w.set(t, message.RelayTarget{Name: "crm", URL: hook.URL, Format: message.RelaySluice, Numbers: []string{testNumber}}, "")
	w.set(t, message.RelayTarget{Name: "shop", URL: meta.URL, Format: message.RelayMeta}, "")
	key := events.MetaKey(testShards.Of(testNumber))
	written := func(from, to int) {
		for n := from; n < to; n++ {
			w.webhook(t, fmt.Sprintf(`{%s,"statuses":[{"id":"wamid.%d","status":"sent"}]}`, metadata, n))
		}
	}
	_, stop := w.run(t, "a", time.Second)
	written(0, 3)
	hook.until(t, 3)
	meta.until(t, 3)
	stop()

	last := w.db.XRevRangeN(t.Context(), key, "+", "-", 1).Val()[0].ID
	written(3, 10)
	w.db.XTrimMaxLen(t.Context(), key, 2)
	kept := w.db.XRange(t.Context(), key, "-", "+").Val()
	down.Store(true)
	_, stop = w.run(t, "b", time.Second)
	poll.Until(t, "the target refuses the gap event", func() bool { return refused.Load() > 2 })
	stop()
	down.Store(false)
	w.run(t, "c", time.Second)
	got := hook.until(t, 6)[3:]
	ms, n := splitEntry(last)
	want := fmt.Sprintf(`"gap":{"target":"crm","stream":"%s","from":"%d-%d","to":"%s"}`, key, ms, n+1, kept[0].ID)
	if !slices.ContainsFunc(got, func(body string) bool { return strings.Contains(body, want) }) {
		t.Errorf("no %s in %s", want, got)
	}
	for _, wamid := range []string{`"wamid.8"`, `"wamid.9"`} {
		for name, all := range map[string][]string{"crm": got, "shop": meta.until(t, 5)[3:]} {
			if !slices.ContainsFunc(all, func(body string) bool { return strings.Contains(body, wamid) }) {
				t.Errorf("%s: no %s in %s", name, wamid, all)
			}
		}
	}
	poll.Until(t, "nothing waits", func() bool {
		all, err := w.targets.List(t.Context())
		return err == nil && all[0].Lag == 0 && all[1].Lag == 0
	})
	all, err := w.targets.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end, _ := splitEntry(kept[0].ID)
	for _, one := range all {
		if one.Gaps == 0 || one.GapFrom.UnixMilli() != ms || one.GapTo.UnixMilli() != end {
			t.Errorf("%s: %d gaps, the last from %s to %s", one.Name, one.Gaps, one.GapFrom, one.GapTo)
		}
	}
	if len(hook.got()) != 6 || len(meta.got()) != 5 {
		t.Errorf("the targets got %d and %d requests", len(hook.got()), len(meta.got()))
	}
}

// TestThePositionStaysBeforeAGap: until the entry after the gap is read, a worker that takes over must find the gap.
func TestThePositionStaysBeforeAGap(t *testing.T) {
	t.Parallel()
	before := events.Place{Entry: "5-1", N: 1, Count: 7}
	r := reading{low: before, gap: "5-2"}
	if r.pass(); r.low != before {
		t.Errorf("the position is %v", r.low)
	}
	r.gap, r.next = "", events.Place{Entry: "9-0", N: 1, Count: 9}
	if r.pass(); r.low != r.next {
		t.Errorf("after the gap the position is %v", r.low)
	}
}

// TestAnEventBelongsToTheAccountOfItsNumber: our own events name no account.
func TestAnEventBelongsToTheAccountOfItsNumber(t *testing.T) {
	t.Parallel()
	p := preparer{
		target:   message.RelayTarget{Format: message.RelaySluice, Accounts: []string{"77"}},
		mark:     func(string) (string, int, int64, bool) { return "", 0, 0, false },
		accounts: events.NewAccounts(func(context.Context) (map[string]string, error) { return map[string]string{testNumber: "77"}, nil }),
	}
	items, err := p.prepare(t.Context(), 0, []events.Line{
		{Event: message.Event{Type: message.EventMessage, Number: testNumber, Message: &message.Context{ID: "a"}}},
		{Event: message.Event{Type: message.EventMessage, Number: "2", Message: &message.Context{ID: "b"}}},
		{Event: message.Event{Type: message.EventInbound, Number: testNumber, WABA: "78"}},
		{Event: message.Event{Type: message.EventUpdate, WABA: "77"}},
	}, false)
	if err != nil || items[0] == nil || items[1] != nil || items[2] != nil || items[3] == nil {
		t.Errorf("%v, %v", items, err)
	}
}

// TestRepliesNameOurMessages: a target that gets our ids gets them also where an inbound message names a message of ours,
// after that message was read too. Other ids stay Meta's.
func TestRepliesNameOurMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Client(t))
	hook, plain := newReceiver(t, nil), newReceiver(t, nil)
	w.set(t, message.RelayTarget{Name: "crm", URL: hook.URL, Format: message.RelayMeta, MessageIDs: message.RelaySluice, Types: []string{message.EventInbound}}, "")
	w.set(t, message.RelayTarget{Name: "shop", URL: plain.URL, Format: message.RelayMeta, MessageIDs: message.RelayMeta, Types: []string{message.EventInbound}}, "")
	w.run(t, "a", 2*time.Second)
	id := message.NewID(testNumber, "order-1")
	for _, status := range []string{"sent", "read"} {
		w.webhook(t, `{`+metadata+`,"statuses":[{"id":"wamid.A","status":"`+status+`","biz_opaque_callback_data":"`+marks.Make(id, 1, 1)+`"}]}`)
	}
	inbound := []string{
		`{"from":"2","id":"wamid.1","context":{"from":"1","id":"%s"},"type":"text","text":{"body":"id"}}`,
		`{"from":"2","id":"wamid.2","type":"reaction","reaction":{"message_id":"%s","emoji":"x"}}`,
	}
	for _, text := range inbound {
		w.webhook(t, `{`+metadata+`,"messages":[`+fmt.Sprintf(text, "wamid.A")+`]}`)
		w.webhook(t, `{`+metadata+`,"messages":[`+fmt.Sprintf(text, "wamid.of-another")+`]}`)
	}
	ours, metas := strings.Join(hook.until(t, 4), ""), strings.Join(plain.until(t, 4), "")
	for _, text := range inbound {
		for _, want := range []string{fmt.Sprintf(text, id), fmt.Sprintf(text, "wamid.of-another")} {
			if !strings.Contains(ours, want) {
				t.Errorf("no %s in %s", want, ours)
			}
		}
		if want := fmt.Sprintf(text, "wamid.A"); !strings.Contains(metas, want) {
			t.Errorf("no %s in %s", want, metas)
		}
	}
	// A target that is new finds the ids, which another one's requests have stored, also on the next day.
	yesterday := time.Now().Add(-24 * time.Hour)
	if err := w.db.Rename(t.Context(), idsKey(testShards.Of(testNumber), time.Now()), idsKey(testShards.Of(testNumber), yesterday)).Err(); err != nil {
		t.Fatal(err)
	}
	w.webhook(t, `{`+metadata+`,"messages":[`+fmt.Sprintf(inbound[0], "wamid.A")+`]}`)
	if got := hook.until(t, 5)[4]; !strings.Contains(got, id) {
		t.Errorf("on the next day: %s", got)
	}
	if left := w.db.TTL(t.Context(), idsKey(testShards.Of(testNumber), yesterday)).Val(); left <= 24*time.Hour || left > idsFor {
		t.Errorf("the ids are kept for %s", left)
	}
}

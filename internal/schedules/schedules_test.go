package schedules

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/redis/go-redis/v9"

	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

const (
	numberA   = "100000000000001"
	numberB   = "100000000000002"
	recipient = "15551230042"
)

// fixture is an installation: a Redis, a clock that all producers share, and what accepts messages.
type fixture struct {
	t     *testing.T
	redis *redis.Client
	clock atomic.Int64 // Unix ms
	log   bytes.Buffer
	lines *slog.Logger // to log

	mu       sync.Mutex
	keys     []httpapi.Key
	messages map[string]string                               // the bodies of accepted messages by idempotency key
	calls    int                                             // orders that were given
	refuse   func(o message.Order) (status int, code string) // nil: nothing is refused
}

func setup(t *testing.T, now string) *fixture {
	f := &fixture{t: t, redis: redistest.Client(t), messages: map[string]string{}}
	f.lines = slog.New(slog.NewTextHandler(&f.log, nil))
	f.at(now)
	all := []string{httpapi.ScopeSend, httpapi.ScopeRead}
	for _, k := range []httpapi.Key{
		{Name: "wide", Scopes: all, Numbers: []string{httpapi.AllNumbers}},
		{Name: "narrow", Scopes: all, Numbers: []string{numberA}},
		{Name: "acme", Scopes: all, Numbers: []string{numberA}, Client: "acme"},
		{Name: "reader", Scopes: all[1:], Numbers: []string{httpapi.AllNumbers}},
		{Name: "scopeless", Numbers: []string{httpapi.AllNumbers}},
	} {
		k.Hash = httpapi.HashToken(k.Name)
		f.keys = append(f.keys, k)
	}
	return f
}

// at sets the clock.
func (f *fixture) at(now string) {
	f.t.Helper()
	at, err := time.Parse(time.RFC3339, now)
	if err != nil {
		f.t.Fatal(err)
	}
	f.clock.Store(at.UnixMilli())
}

func (f *fixture) allKeys() []httpapi.Key {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]httpapi.Key(nil), f.keys...)
}

// accept accepts orders as intake does.
func (f *fixture) accept(_ context.Context, _ string, orders []message.Order) (all []message.OrderResult, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range orders {
		f.calls++
		was, duplicate := f.messages[o.Key]
		status, code := 0, ""
		if f.refuse != nil {
			status, code = f.refuse(o)
		}
		if duplicate && was != string(o.Body) {
			status, code = 422, "idempotency_key_reused"
		}
		if code != "" {
			problem, _ := json.Marshal(httpapi.Failure{Status: status, Code: code, Detail: "Because.", Errors: []message.Problem{{Path: "message"}}})
			all = append(all, message.OrderResult{Code: code, Problem: problem, Retry: status == 503})
			continue
		}
		f.messages[o.Key] = string(o.Body)
		all = append(all, message.OrderResult{ID: "id of " + o.Key, Duplicate: duplicate})
	}
	return all, nil
}

// check checks a request as intake does, in part.
func check(key httpapi.Key, body []byte) (number, to string, warnings []message.Problem, refused httpapi.Refusal) {
	var m struct {
		From, Ref string
		Message   struct{ To string }
	}
	switch {
	case json.Unmarshal(body, &m) != nil || m.From == "":
		return "", "", nil, httpapi.RefuseAt("from", "from_missing")
	case !key.Covers(m.From):
		return "", "", nil, httpapi.RefuseAt("from", "phone_number_id_not_found")
	case m.Ref == "odd":
		warnings = []message.Problem{{Path: "message.x", Code: "member_unknown"}}
	}
	return m.From, m.Message.To, warnings, nil
}

// recipientOf reads the recipient of a request as intake does.
func recipientOf(body []byte) string {
	var m struct{ Message struct{ To string } }
	json.Unmarshal(body, &m)
	return m.Message.To
}

// producer is the schedules of a producer.
type producer struct {
	*Schedules
	f        *fixture
	handler  http.Handler
	registry *prometheus.Registry
}

func (f *fixture) producer(change ...func(*Options)) *producer {
	f.t.Helper()
	db, err := store.New(f.t.Context(), redis.NewClient(f.redis.Options()))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { db.Close() })
	db.UseClock(func() time.Time { return time.UnixMilli(f.clock.Load()) })
	p := &producer{f: f, registry: prometheus.NewRegistry()}
	o := Options{DB: db, Box: secrets.New("the key", ""), Keys: f.allKeys, Check: check, Recipient: recipientOf, Accept: f.accept, Log: f.lines, Registerer: p.registry}
	for _, c := range change {
		c(&o)
	}
	p.Schedules = New(o)
	if err := db.Load(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	p.handler = httpapi.Handler(p.Routes())
	return p
}

// pass handles what is due.
func (p *producer) pass() {
	p.f.t.Helper()
	if err := p.Schedules.pass(p.f.t.Context()); err != nil {
		p.f.t.Error(err)
	}
}

// count returns how many ticks had a result.
func (p *producer) count(result string) int { return int(testutil.ToFloat64(p.ticks[result])) }

// do makes a request with an API key, and returns the status and the body.
func (p *producer) do(key, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(p.f.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	return w
}

// set stores a schedule.
func (p *producer) set(key, name, timing string) schedule {
	p.f.t.Helper()
	return p.answer(p.do(key, "PUT", "/v1/schedules/"+name, order(timing, numberA)))
}

func (p *producer) show(name string) schedule {
	p.f.t.Helper()
	return p.answer(p.do("reader", "GET", "/v1/schedules/"+name, ""))
}

func (p *producer) answer(w *httptest.ResponseRecorder) (s schedule) {
	p.f.t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != http.StatusOK {
		p.f.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return s
}

func order(timing, number string) string {
	return fmt.Sprintf(`{%s,"request":{"from":%q,"message":{"to":"+%s","type":"text","text":{"body":"the text"}}}}`, timing, number, recipient)
}

// hourly is the times of a schedule that sends every hour.
func hourly() string {
	all := make([]string, 24)
	for h := range all {
		all[h] = fmt.Sprintf(`"%02d:00"`, h)
	}
	return `"at":[` + strings.Join(all, ",") + `]`
}

// TestEachTickOnce: three producers run at once, and one of them dies again and again after a message was accepted and before it can store
// that. Each tick of each schedule is one message and is counted once, also in the night in which 02:00 comes twice.
func TestEachTickOnce(t *testing.T) {
	t.Parallel()
	f := setup(t, "2026-10-24T20:30:00Z")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var dies context.CancelFunc
	died := atomic.Int64{}
	dying := f.producer(func(o *Options) {
		o.Accept = func(ctx context.Context, key string, orders []message.Order) ([]message.OrderResult, error) {
			all, err := f.accept(ctx, key, orders)
			died.Add(1)
			dies()
			return all, err
		}
	})
	others := []*producer{f.producer(), f.producer()}
	const n, hours = 150, 6 // more than a group
	for i := range n {
		dying.set("wide", fmt.Sprint("s", i), hourly()+`,"time_zone":"Europe/Berlin"`)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			var living context.Context
			living, dies = context.WithCancel(ctx)
			dying.Run(living)
		}
	})
	for _, p := range others {
		wg.Go(func() { p.Run(ctx) })
	}
	for range hours { // 23:00, 00:00, 01:00, 02:00 and 03:00 in Berlin are six hours of UTC
		f.clock.Add(time.Hour.Milliseconds())
		poll.Until(t, "all ticks are handled", func() bool {
			ids, err := dying.all.due(t.Context(), time.UnixMilli(f.clock.Load()))
			return err == nil && len(ids) == 0
		})
	}
	cancel()
	wg.Wait()
	const ticks = hours - 1 // the second 02:00 is none
	if len(f.messages) != n*ticks {
		t.Errorf("%d messages, want %d", len(f.messages), n*ticks)
	}
	if got := dying.count(accepted) + others[0].count(accepted) + others[1].count(accepted); got != n*ticks {
		t.Errorf("%d ticks are counted, want %d", got, n*ticks)
	}
	if f.calls == n*ticks || died.Load() == 0 {
		t.Errorf("%d orders, %d deaths: the producers did not compete", f.calls, died.Load())
	}
	if _, ok := f.messages["schedule:/s0:2026-10-25T00:00:00Z"]; !ok {
		t.Errorf("no message at the first 02:00")
	}
	if s := others[0].show("s7"); s.Last == nil || s.Last.Result != accepted || s.Last.Message != "id of schedule:/s7:2026-10-25T02:00:00Z" {
		t.Errorf("%+v", s.Last)
	}
}

// TestGap: after no producer ran for hours, the tick of the last hour is sent late, and the older ones are skipped and counted.
func TestGap(t *testing.T) {
	t.Parallel()
	f := setup(t, "2026-03-01T08:30:00Z")
	p := f.producer()
	p.set("wide", "report", hourly())
	p.set("wide", "over", `"at":["09:00"],"last_day":"2026-03-01"`)
	f.at("2026-03-01T12:40:00Z")
	p = f.producer()
	if s := p.show("report"); len(s.Next) != 5 || s.Next[0].Hour() != 12 {
		t.Errorf("next %s", s.Next)
	}
	p.pass()
	p.pass()
	if len(f.messages) != 1 || f.messages["schedule:/report:2026-03-01T12:00:00Z"] == "" {
		t.Errorf("sent %q", f.messages)
	}
	s := p.show("report")
	if s.Skipped != 3 || s.Last.Result != accepted || s.Next[0].Hour() != 13 || p.count(skipped) != 4 || p.count(accepted) != 1 {
		t.Errorf("%+v %+v, %d skipped", s, s.Last, p.count(skipped))
	}
	if s := p.show("over"); s.Skipped != 1 || s.Last.Result != skipped || len(s.Next) != 0 {
		t.Errorf("%+v", s)
	}
	f.at("2026-03-01T13:59:59Z")
	p.pass()
	if len(f.messages) != 2 {
		t.Errorf("the tick of 13:00 is not sent at 13:59:59: %q", f.messages)
	}
}

// TestRefusedTicks: a tick that is refused says why, sends nothing, and does not hinder the next one. A temporary cause is tried again for an hour.
func TestRefusedTicks(t *testing.T) {
	t.Parallel()
	f := setup(t, "2026-03-01T08:30:00Z")
	p := f.producer()
	p.set("wide", "report", hourly())
	step := func(now, tick, result, code string, messages int) {
		t.Helper()
		f.at(now)
		p.pass()
		got := p.show("report").Last
		if got == nil || got.At.Format("15:04") != tick || got.Result != result || got.Code != code || (got.Detail == "") != (code == "") || result == refused && tick == "11:00" && got.Detail != "message: Because." || len(f.messages) != messages {
			t.Errorf("%s: %+v, %d messages", now, got, len(f.messages))
		}
	}
	all := f.keys
	f.keys[0].Revoked = true
	step("2026-03-01T09:00:00Z", "09:00", refused, "api_key_revoked", 0)
	f.keys = all[1:] // another producer may know a key that this one does not know yet
	step("2026-03-01T10:00:01Z", "10:00", waiting, "unauthenticated", 0)
	step("2026-03-01T10:00:31Z", "10:00", refused, "unauthenticated", 0)
	f.keys = all
	f.keys[0].Revoked = false
	f.refuse = func(message.Order) (int, string) { return 422, "template_not_found" }
	step("2026-03-01T11:00:00Z", "11:00", refused, "template_not_found", 0)
	f.refuse = func(message.Order) (int, string) { return 503, "store_unavailable" }
	step("2026-03-01T12:00:00Z", "12:00", waiting, "store_unavailable", 0)
	f.refuse = func(message.Order) (int, string) { return 429, "quota_exceeded" }
	step("2026-03-01T12:01:00Z", "12:00", waiting, "quota_exceeded", 0)
	f.refuse = nil
	step("2026-03-01T12:59:00Z", "12:00", accepted, "", 1)
	f.refuse = func(message.Order) (int, string) { return 429, "quota_exceeded" }
	step("2026-03-01T13:00:00Z", "13:00", waiting, "quota_exceeded", 1)
	step("2026-03-01T14:00:00Z", "13:00", skipped, "quota_exceeded", 1)
	f.refuse = nil
	step("2026-03-01T14:00:01Z", "14:00", accepted, "", 2)
	if p.count(refused) != 3 || p.count(skipped) != 1 || p.count(accepted) != 2 {
		t.Errorf("%d refused, %d skipped, %d accepted", p.count(refused), p.count(skipped), p.count(accepted))
	}
	log := f.log.String()
	if strings.Contains(log, recipient) || strings.Contains(log, "the text") || !strings.Contains(log, "schedule=report problem=api_key_revoked result=refused") {
		t.Errorf("log: %s", log)
	}
}

// TestChanges: a new text does not lose a tick that is due, and sends none twice. New times count from the change on. What is due while a
// schedule is paused is not sent later.
func TestChanges(t *testing.T) {
	t.Parallel()
	f := setup(t, "2026-03-01T08:30:00Z")
	p := f.producer()
	const nine, ten = `"at":["09:00"]`, `"at":["10:00"]`
	ref := func(timing, ref string) {
		t.Helper()
		p.answer(p.do("wide", "PUT", "/v1/schedules/report", strings.Replace(order(timing, numberA), `"from"`, `"ref":"`+ref+`","from"`, 1)))
	}
	sent := func(n int, last string) {
		t.Helper()
		p.pass()
		if len(f.messages) != n || last != "" && !strings.Contains(f.messages["schedule:/report:"+last], `"ref":"new"`) {
			t.Errorf("%d messages, want %d: %q", len(f.messages), n, f.messages)
		}
	}
	ref(nine, "old")
	f.at("2026-03-01T09:00:01Z")
	ref(nine, "new")
	sent(1, "2026-03-01T09:00:00Z")
	f.at("2026-03-02T09:00:01Z")
	f.accept(t.Context(), "wide", []message.Order{{Key: "schedule:/report:2026-03-02T09:00:00Z", Body: []byte("by a producer that did not store it")}})
	sent(2, "")
	if last := p.show("report").Last; last.Result != accepted || last.Message != "" {
		t.Errorf("%+v", last)
	}
	f.at("2026-03-03T10:30:00Z")
	ref(ten, "new")
	sent(2, "")
	ref(nine+`,"paused":true`, "new")
	f.at("2026-03-04T09:00:01Z")
	sent(2, "")
	ref(nine, "new")
	sent(2, "")
	f.at("2026-03-05T09:00:01Z")
	sent(3, "2026-03-05T09:00:00Z")
	p.answer(p.do("wide", "DELETE", "/v1/schedules/report", ""))
	f.at("2026-03-06T09:00:01Z")
	sent(3, "")
	if n := f.redis.Exists(t.Context(), allKey(), dueKey()).Val(); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

// TestSecrets: Redis has neither the recipient nor the text, and what another writes there sends nothing. After a change of the secrets
// key schedules can be read with the new one.
func TestSecrets(t *testing.T) {
	t.Parallel()
	f := setup(t, "2026-03-01T08:30:00Z")
	ctx, p := t.Context(), f.producer()
	p.set("wide", "report", `"at":["09:00"]`)
	p.set("wide", "other", `"at":["09:00"]`)
	stored := f.redis.HGet(ctx, allKey(), "/report").Val()
	if stored == "" || strings.Contains(stored, recipient) || strings.Contains(stored, "the text") {
		t.Errorf("stored as %q", stored)
	}
	f.redis.HSet(ctx, allKey(), "/other", stored) // another's entry
	f.at("2026-03-01T09:00:00Z")
	p.pass()
	if len(f.messages) != 1 || !strings.Contains(f.log.String(), "cannot read a schedule, it sends nothing") {
		t.Errorf("%d messages; log: %s", len(f.messages), &f.log)
	}
	p.set("wide", "other", `"at":["09:30"]`)

	with := func(first, second string) *producer {
		return f.producer(func(o *Options) { o.Box = secrets.New(first, second) })
	}
	p = with("new key", "the key")
	for _, want := range []int{2, 0} {
		if n, err := p.Reencrypt(ctx); n != want || err != nil {
			t.Errorf("%d encrypted, %v, want %d", n, err, want)
		}
	}
	p = with("new key", "")
	f.at("2026-03-01T09:30:00Z")
	p.pass()
	if s := p.show("other"); s.Last == nil || s.Last.Result != accepted || !strings.Contains(string(s.Request), recipient) {
		t.Errorf("%+v", s)
	}
	if _, err := with("third key", "").Reencrypt(ctx); !errors.Is(err, secrets.ErrDecrypt) {
		t.Error(err)
	}
	for _, path := range []string{"", "/report"} {
		if w := with("", "").do("wide", "GET", "/v1/schedules"+path, ""); w.Code != 422 || !strings.Contains(w.Body.String(), "schedules_need_key") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

// TestPauses: a tick that is refused for a temporary cause is tried again after pauses that double up to a minute, and at once when the
// schedule was changed. The next tick begins with the first pause. The tick is skipped when it is an hour old. The log has a line for each
// cause, and not for each try.
func TestPauses(t *testing.T) {
	t.Parallel()
	f := setup(t, "2026-03-01T08:30:00Z")
	p := f.producer()
	put := func(ref string) {
		p.answer(p.do("wide", "PUT", "/v1/schedules/report", strings.Replace(order(hourly(), numberA), `"from"`, `"ref":"`+ref+`","from"`, 1)))
	}
	put("old")
	for _, hour := range []struct {
		tick   string
		status int
		code   string
		want   []int // after how many seconds it is tried
	}{
		{"2026-03-01T09:00:00Z", 429, "quota_exceeded", []int{0, 1, 3, 7, 15, 31, 63, 123, 183, 200, 201, 203, 207}},
		{"2026-03-01T10:00:00Z", 503, "store_unavailable", []int{1, 2, 4, 8, 16, 32, 64, 124, 184, 200, 201, 203, 207}}, // the first pass skips the tick before
	} {
		f.refuse = func(message.Order) (int, string) { return hour.status, hour.code }
		f.at(hour.tick)
		var tried []int
		for second := range 210 {
			before := f.calls
			if second == 200 {
				put(hour.code)
			}
			if p.pass(); f.calls > before {
				tried = append(tried, second)
			}
			f.clock.Add(1000)
		}
		if !slices.Equal(tried, hour.want) {
			t.Errorf("%s: tried after %d s, want %d", hour.tick, tried, hour.want)
		}
	}
	if p.count(skipped) != 1 {
		t.Errorf("%d ticks skipped", p.count(skipped))
	}
	if n := strings.Count(f.log.String(), "schedule tick not accepted"); n != 2 {
		t.Errorf("%d lines of the log:\n%s", n, &f.log)
	}
}

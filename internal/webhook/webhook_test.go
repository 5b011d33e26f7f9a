package webhook_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
	"sluice/internal/webhook"
)

func TestNotifications(t *testing.T) {
	t.Parallel()
	one := notification(sent(1))
	spaced := bytes.ReplaceAll(one, []byte(`","`), []byte(`", "`))
	signed := func(secret string, body []byte) []string { return []string{cloudapi.Sign(secret, body)} }
	huge := slices.Concat(one, bytes.Repeat([]byte(" "), 4<<20-len(one)+1))
	good := signed(current, one)[0]
	inbound := []byte(`{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{` +
		`"metadata":{"phone_number_id":"106540352242922"},"contacts":[{"wa_id":"16505551234","profile":{"name":"Ann"}}],` +
		`"messages":[{"from":"16505551234","id":"wamid.in","type":"text","text":{"body":"\u202e\u001b[31m` + strings.Repeat("x", 1<<20) + `"}}]}}]}]}`)
	account := []byte(`{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","time":1739321024,"changes":[` +
		`{"field":"account_update","value":{"event":"DISABLED_UPDATE"}},{"field":"not_known_yet","value":{}}]}]}`)

	for _, tt := range []struct {
		name       string
		app        string // "shop" when empty
		body       []byte
		signatures []string
		streamErr  error

		status int
		result string
		events []string // types
	}{
		{name: "79 no signature", body: one, status: 401, result: "bad_signature"},
		{name: "80 SHA-1", body: one, signatures: []string{"sha1=" + strings.Repeat("a", 40)}, status: 401, result: "bad_signature"},
		{name: "81 one digit short", body: one, signatures: []string{good[:len(good)-1]}, status: 401, result: "bad_signature"},
		{name: "81 not hex", body: one, signatures: []string{"sha256=" + strings.Repeat("g", 64)}, status: 401, result: "bad_signature"},
		{name: "81 upper case", body: one, signatures: []string{"sha256=" + strings.ToUpper(good[7:])}, status: 200, result: "accepted", events: []string{"status"}},
		{name: "82 two signatures", body: one, signatures: []string{good, good}, status: 401, result: "bad_signature"},
		{name: "83 signed in another encoding", body: spaced, signatures: []string{good}, status: 401, result: "bad_signature"},
		{name: "84 previous secret", body: one, signatures: signed(previous, one), status: 200, result: "accepted", events: []string{"status"}},
		{name: "85 another app's secret", body: one, signatures: signed(foreign, one), status: 401, result: "bad_signature"},
		{name: "an app without secrets", app: "bare", body: one, signatures: signed("", one), status: 401, result: "bad_signature"},
		{name: "an unknown app", app: "unknown", body: one, signatures: signed(current, one), status: 404, result: "unknown_app"},
		{name: "86 too large", body: huge, signatures: signed(current, huge), status: 413, result: "too_large"},
		{name: "86 of the maximum size", body: huge[:4<<20], signatures: signed(current, huge[:4<<20]), status: 200, result: "accepted", events: []string{"status"}},
		{name: "87 not JSON", body: []byte("<html>"), signatures: signed(current, []byte("<html>")), status: 200, result: "quarantined"},
		{name: "87 nothing", body: nil, signatures: signed(current, nil), status: 200, result: "quarantined"},
		{name: "87 while Redis is away", body: []byte("<html>"), signatures: signed(current, []byte("<html>")), streamErr: errors.New("away"), status: 503, result: "unavailable"},
		{name: "88 another object", body: []byte(`{"object":"page","entry":[]}`), signatures: signed(current, []byte(`{"object":"page","entry":[]}`)), status: 200, result: "other_object"},
		{name: "89 no entries", body: []byte(`{"object":"whatsapp_business_account","entry":[]}`), signatures: signed(current, []byte(`{"object":"whatsapp_business_account","entry":[]}`)), status: 200, result: "accepted"},
		{name: "91 and 92 every status is kept", body: notification(sent(1), status(2, "teleported", "abc"), status(3, "read", "0")), signatures: signed(current, notification(sent(1), status(2, "teleported", "abc"), status(3, "read", "0"))), status: 200, result: "accepted", events: []string{"status", "status", "status"}},
		{name: "99 Redis is away", body: one, signatures: signed(current, one), streamErr: errors.New("away"), status: 503, result: "unavailable"},
		{name: "102 a long text with escapes", body: inbound, signatures: signed(current, inbound), status: 200, result: "accepted", events: []string{"inbound"}},
		{name: "other fields", body: account, signatures: signed(current, account), status: 200, result: "accepted", events: []string{"update", "update"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			s.stream.err = tt.streamErr
			if tt.app == "" {
				tt.app = "shop"
			}
			res := s.post(t, tt.app, tt.body, tt.signatures...)
			if res.StatusCode != tt.status {
				t.Errorf("status %d, want %d", res.StatusCode, tt.status)
			}
			if got := s.count(t, "sluice_webhook_requests_total", tt.result); got != 1 {
				t.Errorf("counted %v as %s, want 1", got, tt.result)
			}
			var types []string
			for _, e := range s.stream.events {
				types = append(types, e.Type)
			}
			if !slices.Equal(types, tt.events) {
				t.Errorf("events %v, want %v", types, tt.events)
			}
			if s.stream.appends > 1 {
				t.Errorf("%d appends for one body", s.stream.appends)
			}
			for _, kind := range []string{"status", "inbound", "update"} {
				want := 0
				for _, e := range tt.events {
					if e == kind {
						want++
					}
				}
				if got := s.count(t, "sluice_webhook_events_total", kind); got != float64(want) {
					t.Errorf("counted %v %s events, want %d", got, kind, want)
				}
			}
			if quarantined := len(s.stream.quarantined) == 1; quarantined != (tt.result == "quarantined") {
				t.Errorf("quarantine: %q", s.stream.quarantined)
			}
			refused := 0.0
			if tt.status == 401 {
				refused = 1
			}
			if got := s.count(t, "sluice_webhook_signature_failures_total", ""); got != refused {
				t.Errorf("signature failures %v, want %v", got, refused)
			}
			acked := 0.0
			if tt.status == 200 {
				acked = 1
			}
			if got := s.count(t, "sluice_webhook_ack_duration_seconds", ""); got != acked {
				t.Errorf("acknowledgements measured %v, want %v", got, acked)
			}
			for _, private := range []string{current, previous, foreign, "16505551234", "sha256=", "html", "xxxx", "\x1b"} {
				if strings.Contains(s.logs.String(), private) {
					t.Errorf("%q in the logs: %s", private, s.logs)
				}
			}
		})
	}
}

// TestRefusedDeliveriesAreTracked: a delivery that may be Meta's and was not stored counts as refused. Until
// Meta retries it, a missing status proves nothing.
func TestRefusedDeliveriesAreTracked(t *testing.T) {
	t.Parallel()
	one := notification(sent(1))
	signature := cloudapi.Sign(current, one)
	post := func(t *testing.T, s *site) { s.post(t, "shop", one, signature) }
	for _, tt := range []struct {
		name string
		err  error
		send func(t *testing.T, s *site)
		want string // "kept" or "refused" of each delivery
	}{
		{"kept", nil, post, "kept"},
		{"Redis is away", errors.New("away"), post, "refused"},
		{"an incomplete body", nil, func(t *testing.T, s *site) { s.raw(t, signature, one[:len(one)-1], len(one)) }, "refused"},
		{"another secret", nil, func(t *testing.T, s *site) { s.post(t, "shop", one, cloudapi.Sign(foreign, one)) }, "kept"},
		{"no signature", nil, func(t *testing.T, s *site) { s.post(t, "shop", one) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			s.stream.err = tt.err
			tt.send(t, s)
			s.mu.Lock() // each delivery was tracked before it was answered
			defer s.mu.Unlock()
			if got := strings.Join(s.tracked, " "); got != tt.want {
				t.Errorf("tracked %q, want %q", got, tt.want)
			}
		})
	}
}

// TestArrivalsAreByRedissClock: the times of events are times of Redis's clock.
func TestArrivalsAreByRedissClock(t *testing.T) {
	t.Parallel()
	stream := &fakeStream{}
	h := webhook.NewHandler(stream, webhook.Options{
		Apps:        func(name string) (webhook.App, bool) { a, ok := apps[name]; return a, ok },
		ClockOffset: func() time.Duration { return -time.Hour },
	})
	body := notification(sent(1))
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/webhooks/whatsapp/shop", bytes.NewReader(body))
	r.Header.Set(cloudapi.SignatureHeader, cloudapi.Sign(current, body))
	h.ServeHTTP(httptest.NewRecorder(), r)
	if len(stream.events) != 1 {
		t.Fatalf("%d events", len(stream.events))
	}
	if age := time.Since(time.UnixMilli(stream.events[0].At)); (age - time.Hour).Abs() > time.Minute {
		t.Errorf("an event of now is %s old", age)
	}
}

func TestWhichSecretSigned(t *testing.T) {
	t.Parallel()
	s := setup(t)
	body := notification(sent(1))
	s.post(t, "shop", body, cloudapi.Sign(current, body))
	s.post(t, "shop", body, cloudapi.Sign(current, body))
	s.post(t, "shop", body, cloudapi.Sign(previous, body))
	got := map[string]float64{}
	for _, secret := range []string{"current", "previous"} {
		got[secret] = s.count(t, "sluice_webhook_signatures_total", secret)
	}
	if want := map[string]float64{"current": 2, "previous": 1}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// 97, 98: Meta may send a notification several times, and the signature has no time. Each POST is accepted.
func TestARepeatedNotificationIsTakenAgain(t *testing.T) {
	t.Parallel()
	s := setup(t)
	body := notification(sent(1))
	for range 50 {
		if res := s.post(t, "shop", body, cloudapi.Sign(current, body)); res.StatusCode != 200 {
			t.Fatalf("status %d", res.StatusCode)
		}
	}
	if len(s.stream.events) != 50 {
		t.Errorf("%d events, want 50", len(s.stream.events))
	}
}

func TestWhatIsAppended(t *testing.T) {
	t.Parallel()
	s := setup(t)
	body := notification(sent(1), status(2, "read", "2099"))
	before := time.Now()
	s.post(t, "shop", body, cloudapi.Sign(current, body))
	if len(s.stream.events) != 2 {
		t.Fatalf("%d events, want 2", len(s.stream.events))
	}
	e := s.stream.events[0]
	if e.Version != message.EventVersion || e.Number != "106540352242922" || e.WABA != "102290129340398" || e.Field != "messages" || string(e.Meta) != sent(1) {
		t.Errorf("event %+v", e)
	}
	if at := time.UnixMilli(e.At); at.Before(before.Truncate(time.Millisecond)) || at.After(time.Now()) {
		t.Errorf("at %v, want now", at)
	}
	want := message.StatusReport{Number: "106540352242922", WAMID: "wamid.1", Status: "sent", At: time.Unix(1750030073, 0).UTC()}
	if *e.Report != want {
		t.Errorf("report %+v, want %+v", *e.Report, want)
	}
	if at := s.stream.events[1].Report.At; !at.IsZero() {
		t.Errorf("95: time %v, want none", at)
	}
}

func TestABodyThatBreaksOffIsNotTaken(t *testing.T) {
	t.Parallel()
	s := setup(t)
	body := notification(sent(1))
	answer := s.raw(t, cloudapi.Sign(current, body), body[:len(body)-1], len(body))
	if !strings.HasPrefix(answer, "HTTP/1.1 400 ") || len(s.stream.events) != 0 {
		t.Errorf("answer %q, %d events", answer, len(s.stream.events))
	}
}

func BenchmarkPost(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("%d statuses", n), func(b *testing.B) {
			s := setup(b)
			var all []string
			for i := range n {
				all = append(all, sent(i))
			}
			body := notification(all...)
			signature := cloudapi.Sign(current, body)
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if res := s.post(b, "shop", body, signature); res.StatusCode != 200 {
					b.Fatal(res.Status)
				}
				s.stream.events = s.stream.events[:0]
			}
		})
	}
}

// Anyone can send requests without a valid signature: each is counted, and the log has one line per minute.
func TestAFloodWithoutSignaturesFillsNoLog(t *testing.T) {
	t.Parallel()
	s := setup(t)
	start := time.Now()
	for range 200 {
		if res := s.post(t, "shop", []byte("{}"), "sha256=00"); res.StatusCode != http.StatusUnauthorized {
			t.Fatalf("status %d", res.StatusCode)
		}
	}
	if n := s.count(t, "sluice_webhook_signature_failures_total", ""); n != 200 {
		t.Errorf("%.0f counted, want 200", n)
	}
	if n, most := strings.Count(s.logs.String(), "\n"), 2+int(time.Since(start)/time.Minute); n < 1 || n > most {
		t.Errorf("%d lines of log, want one a minute", n)
	}
}

package intake_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

func TestAccepted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := time.Now()
	r := b.post(t, envelope(`,"key":"order-7","ref":"7","tags":["spring","vip"]`))
	a := r.accepted(t)
	if r.status != http.StatusAccepted || a.State != message.Queued || a.Class != message.Service || a.Duplicate {
		t.Errorf("got %d %+v", r.status, a)
	}
	if a.ID != message.NewID(ours, "order-7") {
		t.Errorf("id %s", a.ID)
	}
	if day := a.ExpiresAt.Sub(before); day < 23*time.Hour+59*time.Minute || day > 24*time.Hour+time.Minute {
		t.Errorf("expires in %v, want the 24 h of the class", day)
	}
	m := b.store.messages[a.ID]
	if string(m.Payload) != `{"messaging_product":"whatsapp",`+hello[1:] || m.Ref != "7" || len(m.Tags) != 2 || m.Content.To != "+15551234567" || m.Key != "order-7" {
		t.Errorf("stored %+v", m)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("media type %q", got)
	}
}

func TestDeadlineAndClass(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now().UTC().Truncate(time.Second)
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	template := `{"from":"` + ours + `","message":{"to":"+15551234567","type":"template","template":{"name":"a","language":{"code":"en"}}}`
	cases := []struct {
		name, body string
		class      message.Class
		expires    time.Duration // from now, to the minute
	}{
		{"template", template + `}`, message.Utility, 24 * time.Hour},
		{"marketing", template + `,"class":"marketing"}`, message.Marketing, 7 * 24 * time.Hour},
		{"authentication", envelope(`,"class":"authentication"`), message.Authentication, 10 * time.Minute},
		{"own deadline", envelope(`,"expires_at":"` + at(time.Hour) + `"`), message.Service, time.Hour},
		{"scheduled", envelope(`,"send_at":"` + at(48*time.Hour) + `"`), message.Service, 72 * time.Hour},
		{"scheduled in the past", envelope(`,"send_at":"` + at(-48*time.Hour) + `"`), message.Service, 24 * time.Hour},
		{"90 days", envelope(`,"send_at":"` + at(90*24*time.Hour) + `"`), message.Service, 91 * 24 * time.Hour},
	}
	for _, c := range cases {
		a := b.post(t, c.body).accepted(t)
		if got := a.ExpiresAt.Sub(now).Round(time.Minute); a.Class != c.class || got != c.expires {
			t.Errorf("%s: %s expires in %v, want %s in %v", c.name, a.Class, got, c.class, c.expires)
		}
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.post(t, envelope(`,"key":"k","tags":["a"]`)).accepted(t)
	repeats := map[string]reply{
		"same":         b.post(t, envelope(`,"key":"k","tags":["a"]`)),
		"other order":  b.post(t, ` { "tags" : ["\u0061"], "key":"k", "message":{"type":"text","text":{"body":"hi"},"to":"+15551234567"},"from":"`+ours+`"}`),
		"as header":    b.do(t, "POST", "/v1/messages", envelope(`,"tags":["a"]`), withHeader("Idempotency-Key", "k")),
		"in both":      b.do(t, "POST", "/v1/messages", envelope(`,"key":"k","tags":["a"]`), withHeader("Idempotency-Key", "k")),
		"null members": b.post(t, envelope(`,"key":"k","tags":["a"],"ref":null,"send_at":null`)),
	}
	for name, r := range repeats {
		a := r.accepted(t)
		if r.status != http.StatusOK || !a.Duplicate || a.ID != first.ID || !a.ExpiresAt.Equal(first.ExpiresAt) {
			t.Errorf("%s: got %d %+v, want a repeat of %+v", name, r.status, a, first)
		}
		if r.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("%s: no Idempotent-Replayed", name)
		}
	}
	for name, body := range map[string]string{
		"other text":  strings.Replace(envelope(`,"key":"k","tags":["a"]`), "hi", "ho", 1),
		"other tags":  envelope(`,"key":"k"`),
		"class added": envelope(`,"key":"k","tags":["a"],"class":"utility"`),
		"time added":  envelope(`,"key":"k","tags":["a"],"expires_at":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"`),
	} {
		if r := b.post(t, body); r.status != http.StatusUnprocessableEntity || r.problem(t).Code != "idempotency_key_reused" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	a := b.do(t, "POST", "/v1/messages", strings.Replace(envelope(`,"key":"k"`), ours, theirs, 1), withHeader("Authorization", "Bearer "+b.wide)).accepted(t)
	if a.Duplicate || a.ID == first.ID {
		t.Errorf("the same key of another number is a duplicate: %+v", a)
	}
	if one, two := b.post(t, envelope("")).accepted(t), b.post(t, envelope("")).accepted(t); one.ID == two.ID {
		t.Error("two messages without a key have the same id")
	}
}

// Deadlines are compared with Redis's clock on every path, and explanations use it too.
func TestTheStoresClockDecides(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.offset = 2 * time.Hour
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second) // past, by Redis's clock
	at := soon.Format(time.RFC3339)
	lines := withHeader("Content-Type", "application/x-ndjson")
	for name, r := range map[string]reply{
		"a message":      b.post(t, envelope(`,"expires_at":"`+at+`"`)),
		"a batch":        b.do(t, "POST", "/v1/messages/batch", envelope(`,"expires_at":"`+at+`"`), lines),
		"on Meta's path": b.do(t, "POST", metas, `{"messaging_product":"whatsapp",`+hello[1:], withHeader("Sluice-Expires-At", at)),
	} {
		if r.status == http.StatusAccepted || !strings.Contains(r.body, "expires_at_invalid") && !strings.Contains(r.body, "Sluice-Expires-At: ") {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if left := time.Until(b.post(t, envelope("")).accepted(t).ExpiresAt); left < 2*time.Hour {
		t.Errorf("the default deadline is in %s", left)
	}
	id := message.NewID(ours, "due")
	b.store.records[id] = message.Record{Context: message.Context{ID: id, From: ours}, State: message.Queued, NextAt: soon, ExpiresAt: soon.Add(24 * time.Hour)}
	r := b.do(t, http.MethodGet, "/v1/messages/"+id+"/explain", "", withHeader("Authorization", "Bearer "+b.readOnly))
	if strings.Contains(r.body, `"scheduled"`) || r.status != http.StatusOK {
		t.Errorf("a due message is explained as %d %s", r.status, r.body)
	}
}

// A request that is repeated after its deadline is answered with the state of the message, and another message
// with the key is refused.
func TestRepeatAfterDeadline(t *testing.T) {
	t.Parallel()
	b := setup(t)
	past := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	id := message.NewID(ours, "k")
	b.store.records[id] = message.Record{Context: message.Context{ID: id}, State: message.Queued, ExpiresAt: past}
	body := envelope(`,"key":"k","expires_at":"` + past.Format(time.RFC3339) + `"`)
	b.post(t, body).accepted(t) // now the fake has the content of that record
	if r := b.post(t, body); r.status != http.StatusOK || !r.accepted(t).Duplicate || r.accepted(t).ID != id {
		t.Errorf("repeat: %d %s", r.status, r.body)
	}
	for name, other := range map[string]string{
		"other content":   strings.Replace(body, `"hi"`, `"ho"`, 1),
		"other recipient": strings.Replace(body, "4567", "4568", 1),
		"other deadline":  strings.Replace(body, past.Format(time.RFC3339), past.Add(time.Second).Format(time.RFC3339), 1),
	} {
		if r := b.post(t, other); r.status != http.StatusUnprocessableEntity || r.problem(t).Code != "idempotency_key_reused" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	for name, other := range map[string]string{
		"other key": strings.Replace(body, `"k"`, `"l"`, 1),
		"no key":    strings.Replace(body, `"key":"k",`, ``, 1),
	} {
		if r := b.post(t, other); r.status != http.StatusUnprocessableEntity || r.problem(t).Code != "expires_at_invalid" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	b.store.err = errors.New("away")
	if r := b.post(t, body); r.status != http.StatusServiceUnavailable {
		t.Errorf("store away: %d %s", r.status, r.body)
	}
}

// A message that would expire before it can be sent is refused, with the expected wait.
func TestBacklogBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	cases := []struct {
		name  string
		body  string
		class message.Class // of the estimate; empty: no estimate
		wait  time.Duration
		err   error
		after string // Retry-After of the refusal; empty: accepted
	}{
		{"authentication in time", envelope(`,"class":"authentication"`), message.Authentication, 9 * time.Minute, nil, ""},
		{"authentication too late", envelope(`,"class":"authentication"`), message.Authentication, 11*time.Minute + time.Millisecond, nil, "661"},
		{"the deadline of the class", envelope(`,"class":"marketing"`), message.Marketing, 25 * time.Hour, nil, ""},
		{"default class", envelope(""), message.Service, 25 * time.Hour, nil, "90000"},
		{"a given deadline", envelope(`,"expires_at":"` + at(time.Minute) + `"`), message.Service, 2 * time.Minute, nil, "120"},
		{"scheduled in the past", envelope(`,"send_at":"` + at(-time.Hour) + `"`), message.Service, 25 * time.Hour, nil, "90000"},
		{"scheduled ahead", envelope(`,"send_at":"` + at(time.Hour) + `"`), "", 100 * time.Hour, nil, ""},
		{"not known", envelope(""), message.Service, 100 * time.Hour, errors.New("away"), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var asked message.Class
			b.eta = func(_ context.Context, number string, class message.Class) (time.Duration, error) {
				if number != ours {
					t.Errorf("estimate for number %s", number)
				}
				asked = class
				return c.wait, c.err
			}
			r := b.post(t, c.body)
			if asked != c.class {
				t.Errorf("estimate for class %q, want %q", asked, c.class)
			}
			if got := r.header.Get("Retry-After"); got != c.after {
				t.Errorf("Retry-After %q, want %q", got, c.after)
			}
			if c.after == "" {
				r.accepted(t)
				return
			}
			p := r.problem(t)
			if r.status != http.StatusTooManyRequests || p.Code != "deadline_unreachable" || p.Errors[0].Path != "expires_at" {
				t.Errorf("%d %s", r.status, r.body)
			}
			seconds, err := time.ParseDuration(c.after + "s")
			if err != nil || !strings.Contains(p.Detail, " "+seconds.String()+".") || p.Errors[0].Fix == "" {
				t.Errorf("the detail lacks the wait of %v: %s", seconds, r.body)
			}
			if len(b.store.messages) != 0 {
				t.Error("the refused message was stored")
			}
		})
	}
}

// A repeated request is a duplicate, even if the backlog is too long by then.
func TestRepeatBehindABacklog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first := b.post(t, envelope(`,"key":"k"`)).accepted(t)
	b.eta = func(context.Context, string, message.Class) (time.Duration, error) { return 100 * time.Hour, nil }
	if r := b.post(t, envelope(`,"key":"k"`)); r.status != http.StatusOK || !r.accepted(t).Duplicate || r.accepted(t).ID != first.ID {
		t.Errorf("repeat: %d %s", r.status, r.body)
	}
	if r := b.post(t, strings.Replace(envelope(`,"key":"k"`), "hi", "ho", 1)); r.problem(t).Code != "idempotency_key_reused" {
		t.Errorf("other content: %d %s", r.status, r.body)
	}
	if r := b.post(t, envelope(`,"key":"l"`)); r.status != http.StatusTooManyRequests {
		t.Errorf("another key: %d %s", r.status, r.body)
	}
	b.store.err = errors.New("away")
	if r := b.post(t, envelope(`,"key":"k"`)); r.status != http.StatusServiceUnavailable {
		t.Errorf("store away: %d %s", r.status, r.body)
	}
}

func TestAcceptedAtTheLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, r := range map[string]reply{
		"charset":        b.do(t, "POST", "/v1/messages", envelope(""), withHeader("Content-Type", "application/json; charset=utf-8")),
		"identity":       b.do(t, "POST", "/v1/messages", envelope(""), withHeader("Content-Encoding", "identity")),
		"bearer":         b.do(t, "POST", "/v1/messages", envelope(""), withHeader("Authorization", "bearer "+b.narrow)),
		"key 255":        b.post(t, envelope(`,"key":"`+strings.Repeat("k", 255)+`"`)),
		"header key 255": b.do(t, "POST", "/v1/messages", envelope(""), withHeader("Idempotency-Key", strings.Repeat("k", 255))),
		"ref 255":        b.post(t, envelope(`,"ref":"`+strings.Repeat("é", 255)+`"`)),
		"10 tags of 64":  b.post(t, envelope(`,"tags":["0","1","2","3","4","5","6","7","8","`+strings.Repeat("é", 64)+`"]`)),
		"a pair":         b.post(t, strings.Replace(envelope(""), "hi", `\ud83d\ude00 \\ud800`, 1)),
		"256 KiB":        b.post(t, envelope("")+strings.Repeat(" ", 256<<10-len(envelope("")))),
		"callback data":  b.post(t, strings.Replace(envelope(""), `"type"`, `"biz_opaque_callback_data":"theirs","type"`, 1)),
	} {
		if r.status != http.StatusAccepted && r.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

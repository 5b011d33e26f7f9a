package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/events"
	"sluice/internal/message"
)

// status returns a status of Meta with more members.
func status(wamid, word, more string) string {
	return fmt.Sprintf(`{"id":%q,"status":%q,"timestamp":"%d","recipient_id":"15551234567"%s}`, wamid, word, time.Now().Unix(), more)
}

func notification(number string, statuses ...string) string {
	return `{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"field":"messages","value":{` +
		`"messaging_product":"whatsapp","metadata":{"phone_number_id":"` + number + `"},"statuses":[` + strings.Join(statuses, ",") + `]}}]}]}`
}

// streamed returns how many events or quarantined bodies contain a text.
func (s *site) streamed(t *testing.T, key, text string) int {
	t.Helper()
	entries, err := s.redis.admin.XRange(t.Context(), key, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		for line := range strings.SplitSeq(fmt.Sprint(e.Values), "\n") {
			if strings.Contains(line, text) {
				n++
			}
		}
	}
	return n
}

// posted posts a webhook with these signatures, and returns the status of the answer.
func (s *site) posted(t *testing.T, app, body string, signatures ...string) int {
	t.Helper()
	return ask(t, "POST", s.hooks+app, body, http.Header{cloudapi.SignatureHeader: signatures}).status
}

// report posts webhooks with statuses of the number ours.
func (s *site) report(t *testing.T, statuses ...string) {
	t.Helper()
	for _, one := range statuses {
		body := notification(ours, one)
		if got := s.posted(t, "main", body, cloudapi.Sign(currentSecret, []byte(body))); got != 200 {
			t.Fatalf("status %d", got)
		}
	}
}

func (s *site) record(t *testing.T, id string) message.Record {
	t.Helper()
	r, err := s.book.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// reports: webhooks, what is stored of them, and how they change records.
func (s *site) reports(t *testing.T) {
	const kept, put, nothing = "in the stream", "in quarantine", "nowhere"
	sign := func(secret string) func(body string) []string {
		return func(body string) []string { return []string{cloudapi.Sign(secret, []byte(body))} }
	}
	good := sign(currentSecret)
	digits := func(change func(string) string) func(string) []string {
		return func(body string) []string {
			return []string{"sha256=" + change(strings.TrimPrefix(good(body)[0], "sha256="))}
		}
	}
	one := func(wamid string) string { return notification(ours, status(wamid, "sent", "")) }
	full := func(wamid string, size int) string {
		body := one(wamid)
		return body + strings.Repeat(" ", size-len(body))
	}
	for _, row := range []struct {
		name   string
		body   func(mark string) string // in which mark must stand
		sign   func(body string) []string
		status int
		where  string
	}{
		{"no signature", one, func(string) []string { return nil }, 401, nothing},
		{"a signature of SHA-1", one, func(string) []string { return []string{"sha1=" + strings.Repeat("a", 40)} }, 401, nothing},
		{"63 digits", one, digits(func(hex string) string { return hex[1:] }), 401, nothing},
		{"64 letters", one, digits(func(hex string) string { return strings.Repeat("z", 64) }), 401, nothing},
		{"capital digits", one, digits(strings.ToUpper), 200, kept},
		{"two signatures", one, func(body string) []string { return append(good(body), good(body)...) }, 401, nothing},
		{"signed in another form", one, func(body string) []string { return good(strings.ReplaceAll(body, ",", ", ")) }, 401, nothing},
		{"the secret before", one, sign(previousSecret), 200, kept},
		{"another app's secret", one, sign(otherSecret), 401, nothing},
		{"a byte more than 4 MiB", func(mark string) string { return full(mark, 4<<20+1) }, good, 413, nothing},
		{"4 MiB", func(mark string) string { return full(mark, 4<<20) }, good, 200, kept},
		{"not JSON", func(mark string) string { return "<html>" + mark }, good, 200, put},
		{"cut JSON", func(mark string) string { body := one(mark); return body[:len(body)-1] }, good, 200, put},
		{"about a page", func(mark string) string { return strings.Replace(one(mark), "whatsapp_business_account", "page", 1) }, good, 200, nothing},
		{"no entries", func(mark string) string {
			return `{"object":"whatsapp_business_account","mark":"` + mark + `","entry":[]}`
		}, good, 200, nothing},
		// It changes no record. It stays in the stream, because other consumers may use the number. The
		// reconciler counts it and names the number.
		{"a number that is not ours", func(mark string) string { return notification("999", status(mark, "sent", "")) }, good, 200, kept},
		{"an unknown status", func(mark string) string { return notification(ours, status(mark, "teleported", "")) }, good, 200, kept},
		{"a megabyte of text with escapes", func(mark string) string {
			return `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"` + ours + `"},` +
				`"messages":[{"from":"15551234567","id":"` + mark + `","type":"text","text":{"body":"\u202e\u001b[31msecret text` + strings.Repeat("x", 1<<20) + `"}}]}}]}]}`
		}, good, 200, kept},
	} {
		t.Run(row.name, func(t *testing.T) {
			mark := "wamid.row-" + strings.ReplaceAll(row.name, " ", "-") + "-"
			body := row.body(mark)
			if got := s.posted(t, "main", body, row.sign(body)...); got != row.status {
				t.Errorf("status %d, want %d", got, row.status)
			}
			number := ours
			if strings.Contains(body, `"999"`) {
				number = "999"
			}
			in := s.streamed(t, events.MetaKey(message.DefaultShards.Of(number)), mark)
			away := s.streamed(t, events.QuarantineKey(), mark)
			if got := map[[2]int]string{{1, 0}: kept, {0, 1}: put, {0, 0}: nothing}[[2]int{in, away}]; got != row.where {
				t.Errorf("%d times in the stream and %d in quarantine, want it %s", in, away, row.where)
			}
		})
	}
	t.Run("a secret before whose time is over", func(t *testing.T) {
		body := one("wamid.over")
		if before, now := s.posted(t, "other", body, sign(previousSecret)(body)...), s.posted(t, "other", body, sign(otherSecret)(body)...); before != 401 || now != 200 {
			t.Errorf("status %d, and %d by the present one", before, now)
		}
	})

	until(t, "the unconfigured number is logged", func() bool {
		return strings.Contains(s.logs.text(), `"received a status for a number that is not configured","phone_number_id":"999"`)
	})

	// A message that Meta accepted with this wamid.
	submitted := func(t *testing.T, wamid string) string {
		t.Helper()
		id := s.send(t, "")
		s.try(t, id, message.Move{To: message.Submitted, WAMID: wamid})
		return id
	}
	// settled waits until all earlier reports are applied: it posts one more and waits until that one is applied.
	fences := 0
	settled := func(t *testing.T) {
		t.Helper()
		fences++
		wamid := fmt.Sprintf("wamid.fence-%d", fences)
		id := submitted(t, wamid)
		s.report(t, status(wamid, "read", ""))
		until(t, "the reports are applied", func() bool { return s.record(t, id).State == message.Read })
	}
	for i, row := range []struct {
		name     string
		statuses func(wamid string) []string
		state    message.State
	}{
		{"an unknown status moves nothing", func(w string) []string { return []string{status(w, "teleported", "")} }, message.Submitted},
		{"read before sent", func(w string) []string { return []string{status(w, "read", ""), status(w, "sent", "")} }, message.Read},
		{"sent after read", func(w string) []string {
			return []string{status(w, "delivered", ""), status(w, "read", ""), status(w, "sent", "")}
		}, message.Read},
		{"delivered after failed", func(w string) []string {
			return []string{status(w, "failed", `,"errors":[{"code":131026}]`), status(w, "delivered", "")}
		}, message.Delivered},
		{"captured three days ago", func(w string) []string {
			old := fmt.Sprintf(`{"id":%q,"status":"delivered","timestamp":"%d","recipient_id":"15551234567"}`, w, time.Now().Add(-72*time.Hour).Unix())
			return []string{status(w, "read", ""), old, old}
		}, message.Read},
		{"another environment's marker: by Meta's id", func(w string) []string {
			return []string{status(w, "sent", `,"biz_opaque_callback_data":"`+cloudapi.NewMarks("other", []byte(markerKey)).Make(message.NewID(ours, "x"), 1, 0)+`"`)}
		}, message.Sent},
		{"a marker of a false key: by Meta's id", func(w string) []string {
			return []string{status(w, "sent", `,"biz_opaque_callback_data":"`+cloudapi.NewMarks("e2e", []byte("another key of a marker")).Make(message.NewID(ours, "x"), 1, 0)+`"`)}
		}, message.Sent},
		{"a marker of another number's message: by Meta's id", func(w string) []string {
			return []string{status(w, "sent", `,"biz_opaque_callback_data":"`+cloudapi.NewMarks("e2e", []byte(markerKey)).Make(message.NewID(theirs, "x"), 1, 0)+`"`)}
		}, message.Sent},
	} {
		t.Run(row.name, func(t *testing.T) {
			wamid := fmt.Sprintf("wamid.state-%d", i)
			id := submitted(t, wamid)
			s.report(t, row.statuses(wamid)...)
			settled(t)
			if r := s.record(t, id); r.State != row.state || r.Duplicates != 0 {
				t.Errorf("state %s with %d duplicates, want %s", r.State, r.Duplicates, row.state)
			}
		})
	}
	t.Run("a marker of a false key does not reach its message", func(t *testing.T) {
		id := s.send(t, "")
		s.report(t, status("wamid.forged", "read", `,"biz_opaque_callback_data":"`+cloudapi.NewMarks("e2e", []byte("another key of a marker")).Make(id, 1, 0)+`"`))
		settled(t)
		if r := s.record(t, id); r.State != message.Queued {
			t.Errorf("state %s", r.State)
		}
	})
	t.Run("a report before its message is known is kept for it", func(t *testing.T) {
		s.report(t, status("wamid.early", "delivered", ""))
		settled(t)
		id := submitted(t, "wamid.early")
		until(t, "the early report is applied", func() bool { return s.record(t, id).State == message.Delivered })
	})
	for i, when := range []string{"abc", "0", "4070908800", "-1"} {
		t.Run("a time that cannot be: "+when, func(t *testing.T) {
			wamid := fmt.Sprintf("wamid.time-%d", i)
			id := submitted(t, wamid)
			s.report(t, fmt.Sprintf(`{"id":%q,"status":"sent","timestamp":%q,"recipient_id":"15551234567"}`, wamid, when))
			until(t, "it is sent", func() bool { return s.record(t, id).State == message.Sent })
			steps := s.record(t, id).Timeline
			if at := steps[len(steps)-1].At; time.Since(at).Abs() > time.Minute {
				t.Errorf("sent at %s", at)
			}
		})
	}
	t.Run("a thousand statuses in one", func(t *testing.T) {
		var all []string
		for i := range 1000 {
			all = append(all, status(fmt.Sprintf("wamid.many-%d-", i), "sent", ""))
		}
		body := notification(ours, all...)
		// `sluice bench webhook` measures the limit of 250 ms.
		if got := s.posted(t, "main", body, good(body)...); got != 200 {
			t.Errorf("status %d", got)
		}
		if n := s.streamed(t, events.MetaKey(message.DefaultShards.Of(ours)), "wamid.many-"); n != 1000 {
			t.Errorf("%d events", n)
		}
	})
	t.Run("the same a thousand times", func(t *testing.T) {
		id := submitted(t, "wamid.same")
		var wg sync.WaitGroup
		for range 10 {
			one := status("wamid.same", "delivered", "")
			wg.Go(func() { s.report(t, slices.Repeat([]string{one}, 100)...) })
		}
		wg.Wait()
		settled(t)
		r := s.record(t, id)
		if n := len(r.Timeline); r.State != message.Delivered || r.Duplicates != 0 || n != 4 {
			t.Errorf("state %s, %d duplicates, %d steps: %v", r.State, r.Duplicates, n, r.Timeline)
		}
	})
}

// handshakes: only a request with the token gets its challenge back, and only a harmless challenge.
func (s *site) handshakes(t *testing.T) {
	mode, token, challenge := "hub.mode=subscribe", "&hub.verify_token="+verify, "&hub.challenge=1158201444"
	for name, row := range map[string]struct {
		query  string
		status int
		body   string
	}{
		"right":                     {mode + token + challenge, 200, "1158201444"},
		"no mode":                   {token + challenge, 403, ""},
		"a wrong token":             {mode + token + "x" + challenge, 403, ""},
		"the token twice":           {mode + token + token + challenge, 403, ""},
		"a challenge of 5 KiB":      {mode + token + "&hub.challenge=" + strings.Repeat("1", 5<<10), 400, ""},
		"a challenge with a script": {mode + token + "&hub.challenge=" + url.QueryEscape("<script>alert(1)</script>"), 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, "GET", s.hooks+"main?"+row.query, "", nil)
			if a.status != row.status || a.body != row.body || a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%d %q, want %d %q", a.status, a.body, row.status, row.body)
			}
			if row.status == 200 && a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("it is %q", a.header.Get("Content-Type"))
			}
		})
	}
}

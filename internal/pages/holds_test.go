package pages_test

import (
	"html"
	"strings"
	"testing"

	"sluice/internal/pages"
)

// TestHoldAndRelease: the acts of a page are those of the console API, with its checks and its audit log.
func TestHoldAndRelease(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	if p := b.get("/console/holds"); !strings.Contains(p.text, "Nothing is held") {
		t.Errorf("without holds: %s", p.text)
	}
	if p := b.act("/console/holds", "hold", "phone_number_id", ours, "tag", hostile, "for", "2h"); p.StatusCode != 422 || !strings.Contains(p.text, "reason is missing") || strings.Contains(p.text, hostile) || !strings.Contains(p.text, html.EscapeString(hostile)) {
		t.Errorf("without a reason: %d %s", p.StatusCode, p.text)
	}
	if p := b.act("/console/holds", "hold", "phone_number_id", ours, "tag", hostile, "for", "2h", "reason", hostile); p.StatusCode != 200 || !strings.Contains(p.text, "Held: tag ") || strings.Contains(p.text, hostile) {
		t.Errorf("hold: %d %s", p.StatusCode, p.text)
	}
	for _, path := range []string{"/console/holds", "/console/audit"} {
		p := b.get(path)
		if strings.Contains(p.text, hostile) || strings.Count(p.text, html.EscapeString(hostile)) < 2 || !strings.Contains(p.text, "anna") {
			t.Errorf("%s: %s", path, p.text)
		}
		if strings.Contains(p.text, `id="done"`) {
			t.Errorf("%s shows the notice again", path)
		}
	}
	if p := b.get("/console/holds?release=1&tag=spring"); !strings.Contains(p.text, `id="release-submit"`) {
		t.Errorf("the form: %s", p.text)
	}
	if p := b.act("/console/holds", "release", "tag", "spring", "reason", "x"); !strings.Contains(p.text, "it had ended already") {
		t.Errorf("another one: %s", p.text)
	}
	if p := b.act("/console/holds", "release", "phone_number_id", ours, "tag", hostile, "reason", "x"); !strings.Contains(p.text, "Released: tag ") || !strings.Contains(p.text, "Nothing is held") {
		t.Errorf("release: %s", p.text)
	}
	if p := b.act("/console/holds", "nosuch"); p.StatusCode != 400 {
		t.Errorf("an unknown act: %d", p.StatusCode)
	}
}

// TestRightsOfKeys: a key that only reads sees no forms, and the API refuses its acts. A key of one number sees only that number.
func TestRightsOfKeys(t *testing.T) {
	t.Parallel()
	s := setup(t)
	admin, reader, narrow := s.signIn("admin"), s.signIn("reader"), s.signIn("narrow")
	admin.act("/console/holds", "hold", "phone_number_id", theirs, "reason", "x")
	p := reader.get("/console/holds?release=1&phone_number_id=" + theirs)
	if p.StatusCode != 200 || !strings.Contains(p.text, theirs) || strings.Count(p.text, "<form") != 1 || strings.Contains(p.text, ">Release<") {
		t.Errorf("a reader sees %s", p.text)
	}
	if p := reader.act("/console/holds", "release", "phone_number_id", theirs, "reason", "x"); p.StatusCode != 403 {
		t.Errorf("a reader releases: %d", p.StatusCode)
	}
	if p := narrow.get("/console/holds"); p.StatusCode != 200 || strings.Contains(p.text, theirs) {
		t.Errorf("a key of one number sees %s", p.text)
	}
	if p := narrow.act("/console/holds", "release", "phone_number_id", theirs, "reason", "x"); p.StatusCode != 404 {
		t.Errorf("a key of one number releases: %d", p.StatusCode)
	}
	if p := narrow.get("/console/audit"); p.StatusCode != 403 || !strings.Contains(p.text, "not for all numbers") {
		t.Errorf("the audit log for one number: %d %s", p.StatusCode, p.text)
	}
	if p := admin.get("/console/holds"); !strings.Contains(p.text, theirs) {
		t.Errorf("the hold is gone: %s", p.text)
	}
}

// TestCrossOriginRequestsDoNothing: a form of another site does nothing, although the browser is signed in.
func TestCrossOriginRequestsDoNothing(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	form := map[string][]string{"act": {"hold"}, "phone_number_id": {ours}, "reason": {"x"}}
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		for _, path := range []string{"/console/holds", "/console/sign-in", "/console/sign-out"} {
			if p := b.do("POST", path, form, header...); p.StatusCode != 403 {
				t.Errorf("%s %v: %d", path, header, p.StatusCode)
			}
		}
	}
	if p := b.get("/console/holds"); p.StatusCode != 200 || !strings.Contains(p.text, "Nothing is held") {
		t.Errorf("%d %s", p.StatusCode, p.text)
	}
}

// TestLive: a live page shows what changes, and its stream ends with the session and with the server.
func TestLive(t *testing.T) {
	t.Parallel()
	s := setup(t)
	pages.Check(s.pages, 0)
	b := s.signIn("admin")
	if p := b.get("/console/holds?x=1"); !strings.Contains(p.text, `hx-sse:connect="/console/live/holds?x=1"`) {
		t.Fatalf("no live region: %s", p.text)
	}
	_, next := b.stream("/console/live/holds")
	if text := next(); !strings.HasPrefix(text, "data: ") || !strings.Contains(text, "Nothing is held") {
		t.Errorf("first: %s", text)
	}
	b.act("/console/holds", "hold", "phone_number_id", ours, "reason", hostile)
	if text := next(); !strings.Contains(text, ours) || strings.Contains(text, hostile) {
		t.Errorf("after a hold: %s", text)
	}
	other := s.signIn("reader")
	_, theirNext := other.stream("/console/live/holds")
	if text := theirNext(); !strings.Contains(text, ours) || strings.Contains(text, "Release") {
		t.Errorf("a reader sees: %s", text)
	}
	b.post("/console/sign-out", nil)
	if text := next(); !strings.Contains(text, "event: ended") {
		t.Errorf("after the session: %q", text)
	}
	s.pages.Stop()
	if text := theirNext(); text != "" {
		t.Errorf("after the stop: %q", text)
	}
	if _, next := s.browser(s.url).stream("/console/live/holds"); !strings.Contains(next(), "event: ended") {
		t.Error("a stream without a session")
	}
}

// TestLiveStreamsAreLimited: further viewers get the page, which does not change by itself. Without Redis browsers try again later.
func TestLiveStreamsAreLimited(t *testing.T) {
	t.Parallel()
	s := setup(t)
	pages.Streams(s.pages, 1)
	b := s.signIn("admin")
	_, next := b.stream("/console/live/holds")
	next()
	if status, _ := b.stream("/console/live/holds"); status != 503 {
		t.Errorf("the second stream: %d", status)
	}
	s.db.Close()
	if status, _ := b.stream("/console/live/holds"); status != 503 {
		t.Errorf("a stream without Redis: %d", status)
	}
	if p := b.get("/console/holds"); p.StatusCode != 503 || !strings.Contains(p.text, "Storage is temporarily unavailable") {
		t.Errorf("a page without Redis: %d %s", p.StatusCode, p.text)
	}
}

package pages_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/httpapi"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := setup(t)
	form := func(key, actor, next string) url.Values {
		return url.Values{"key": {key}, "actor": {actor}, "next": {next}}
	}
	for name, c := range map[string]struct {
		form url.Values
		want int
	}{
		"a wrong key":         {form("sk_wrong", "anna", ""), 403},
		"no key":              {form("", "anna", ""), 403},
		"without the scope":   {form(s.tokens["sender"], "anna", ""), 403},
		"no name":             {form(s.tokens["admin"], " ", ""), 422},
		"a reserved name":     {form(s.tokens["admin"], " Sluice", ""), 422},
		"a name that is long": {form(s.tokens["admin"], strings.Repeat("x", 65), ""), 422},
	} {
		if p := s.browser(s.url).post("/console/sign-in", c.form); p.StatusCode != c.want || len(p.Cookies()) > 0 || strings.Contains(p.text, s.tokens["admin"]) {
			t.Errorf("%s: %d with %d cookies", name, p.StatusCode, len(p.Cookies()))
		}
	}
	for next, want := range map[string]string{
		"": "/console/", "/console/audit?x=1": "/console/audit?x=1", "https://evil.example/": "/console/", "//evil.example/": "/console/", `/console/\evil`: "/console/",
	} {
		p := s.browser(s.url).post("/console/sign-in", form(s.tokens["admin"], "anna", next))
		if p.StatusCode != 303 || p.location() != want {
			t.Errorf("next %q: %d %q", next, p.StatusCode, p.location())
		}
		c := p.Cookies()[0]
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/console/" || c.Secure || len(c.Value) < 43 {
			t.Errorf("cookie %+v", c)
		}
	}
	p := s.browser(s.url).do("POST", "/console/sign-in", form(s.tokens["admin"], "anna", ""), "X-Forwarded-Proto", "https")
	if !p.Cookies()[0].Secure {
		t.Error("behind TLS the cookie is not Secure")
	}
	// A browser that follows a link of another site sends no cookie: the page loads itself again.
	if p := s.browser(s.url).do("GET", "/console/audit", nil, "Sec-Fetch-Site", "cross-site"); p.StatusCode != 200 || !strings.Contains(p.text, `http-equiv="refresh"`) {
		t.Errorf("a link of another site: %d %s", p.StatusCode, p.text)
	}
}

// TestTriesAreLimited: after ten refused API keys a minute from an address no further one is tried, but a valid one passes: behind a proxy
// all operators have one address.
func TestTriesAreLimited(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.browser(s.url)
	for i := range 10 {
		if p := b.post("/console/sign-in", url.Values{"actor": {"anna"}, "key": {"sk_wrong"}}); p.StatusCode != 403 {
			t.Fatalf("try %d: %d", i, p.StatusCode)
		}
	}
	if p := b.post("/console/sign-in", url.Values{"actor": {"anna"}, "key": {"sk_wrong"}}); p.StatusCode != 429 || len(p.Cookies()) > 0 {
		t.Errorf("after ten: %d", p.StatusCode)
	}
	if p := b.post("/console/sign-in", url.Values{"actor": {"anna"}, "key": {s.tokens["admin"]}}); p.StatusCode != 303 || len(p.Cookies()) == 0 {
		t.Errorf("a valid key after ten: %d", p.StatusCode)
	}
}

// TestSessionsEnd: a session serves every producer, and ends with its API key, with sign out, and in Redis.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	s := setup(t)
	keys, err := s.redis.Keys(t.Context(), "*console:session*").Result()
	if err != nil || len(keys) > 0 {
		t.Fatalf("%v %v", keys, err)
	}
	b := s.signIn("admin")
	keys, err = s.redis.Keys(t.Context(), "*console:session*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("%v %v", keys, err)
	}
	text := s.redis.Get(t.Context(), keys[0]).Val()
	id := b.session()
	for _, secret := range []string{s.tokens["admin"], httpapi.HashToken(s.tokens["admin"]), id} {
		if strings.Contains(text+keys[0], secret) {
			t.Errorf("Redis has %q in %s %s", secret, keys[0], text)
		}
	}
	// Every page that is opened extends the session.
	s.redis.Expire(t.Context(), keys[0], time.Minute)
	b.get("/console/holds")
	if life := s.redis.TTL(t.Context(), keys[0]).Val(); life < 11*time.Hour || life > 12*time.Hour {
		t.Errorf("it lives for %s", life)
	}

	change := func(f func(*httpapi.Key)) []httpapi.Key {
		keys := slices.Clone(s.keys)
		f(&keys[0])
		return keys
	}
	for name, c := range map[string]struct {
		keys []httpapi.Key
		want int
	}{
		"another producer":           {s.keys, 200},
		"the key is revoked":         {change(func(k *httpapi.Key) { k.Revoked = true }), 303},
		"the key has expired":        {change(func(k *httpapi.Key) { k.Expires = time.Now() }), 303},
		"the key is removed":         {s.keys[1:], 303},
		"the key is another one":     {change(func(k *httpapi.Key) { k.Hash = httpapi.HashToken("sk_other") }), 303},
		"another key has its hash":   {change(func(k *httpapi.Key) { k.Name = "other" }), 303},
		"the key has lost its scope": {change(func(k *httpapi.Key) { k.Scopes = []string{httpapi.ScopeSend} }), 303},
	} {
		_, other := s.serve(c.keys)
		again := s.browser(other)
		where, _ := url.Parse(other)
		again.http.Jar.SetCookies(where, []*http.Cookie{{Name: "sluice_session", Value: id, Path: "/console/"}})
		if p := again.get("/console/holds"); p.StatusCode != c.want || c.want == 303 && !strings.Contains(p.location(), "ended=1") {
			t.Errorf("%s: %d %q", name, p.StatusCode, p.location())
		}
	}
	// Who can write to Redis cannot make a session of another key: the proof does not fit.
	s.redis.Set(t.Context(), keys[0], strings.Replace(text, `"admin"`, `"narrow"`, 1), time.Hour)
	if p := b.get("/console/holds"); p.StatusCode != 303 {
		t.Errorf("a session with another key: %d", p.StatusCode)
	}

	b = s.signIn("admin")
	if p := b.post("/console/sign-out", nil); p.location() != "/console/sign-in" {
		t.Errorf("sign out: %d %q", p.StatusCode, p.location())
	}
	if p := b.get("/console/holds"); p.StatusCode != 303 {
		t.Errorf("after sign out: %d", p.StatusCode)
	}
}

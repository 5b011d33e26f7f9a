package pages_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/pages"
)

// TestEveryAnswerIsProtected: no page is shown without a session, and every answer has the policy that forbids scripts
// which are not ours.
func TestEveryAnswerIsProtected(t *testing.T) {
	t.Parallel()
	s := setup(t)
	in, out := s.signIn("admin"), s.browser(s.url)
	check := func(path string, p page, status int) {
		t.Helper()
		if p.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, p.StatusCode, status)
		}
		for name, want := range map[string]string{"Content-Security-Policy": "default-src 'none'; script-src 'self'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin"} {
			if !strings.HasPrefix(p.Header.Get(name), want) {
				t.Errorf("%s: %s: %q", path, name, p.Header.Get(name))
			}
		}
	}
	for _, path := range pages.Addresses() {
		status := 200
		if strings.Contains(path, "messages/") || strings.Contains(path, "clients/") || strings.Contains(path, "campaigns/") { // none has this id
			status = 404
		}
		path = strings.Replace(path, "{id}", ours, 1)
		check(path, in.get(path), status)
		p := out.get(path)
		check(path, p, 303)
		if !strings.HasPrefix(p.location(), "/console/sign-in?next=") || strings.Contains(p.text, "<html") {
			t.Errorf("%s without a session: %q %s", path, p.location(), p.text)
		}
		if p := out.post(path, nil); p.StatusCode != 303 {
			t.Errorf("POST %s without a session: %d", path, p.StatusCode)
		}
	}
	check("not found", in.get("/console/nosuch"), 404)
	check("sign in", out.get("/console/sign-in"), 200)
	check("static", out.get("/console/static/console.css"), 200)
	check("no static file", out.get("/console/static/../pages.go"), 307)
	check("no static file", out.get("/console/static/pages.go"), 404)
	check("another site", in.do("POST", "/console/holds", nil, "Sec-Fetch-Site", "cross-site"), 403)
	if p := in.get("/v1/holds"); p.StatusCode != 401 {
		t.Errorf("the API with the cookie of a session: %d", p.StatusCode)
	}
	if p := out.do("GET", "/", nil, "Accept", "text/html"); p.location() != "/console/" {
		t.Errorf("a browser at /: %q", p.location())
	}
	if p := out.get("/"); !strings.Contains(p.text, "/v1/holds") {
		t.Errorf("another client at /: %s", p.text)
	}
}

// TestTemplatesHaveNothingInline: the policy forbids inline scripts, handlers and styles, so a page would not work with them.
func TestTemplatesHaveNothingInline(t *testing.T) {
	t.Parallel()
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|<script>|<script [^s]|\son[a-z]+=|hx-on|javascript:|\bjs:`)
	files, err := filepath.Glob("templates/*.html")
	if err != nil || len(files) < 5 {
		t.Fatalf("%v %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := inline.Find(text); found != nil {
			t.Errorf("%s has %q", file, found)
		}
	}
}

// TestVendoredFilesAreThoseOfNpm: the scripts of others are as `make vendor-web` copied them.
func TestVendoredFilesAreThoseOfNpm(t *testing.T) {
	t.Parallel()
	sums, err := os.ReadFile("npm/sums")
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir("static/lib")
	if err != nil {
		t.Fatal(err)
	}
	if want := bytes.Count(sums, []byte("\n")); len(files) != want || want == 0 {
		t.Errorf("static/lib has %d files, npm/sums has %d", len(files), want)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join("static/lib", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha512.Sum384(text)
		if line := hex.EncodeToString(sum[:]) + "  " + f.Name() + "\n"; !strings.Contains(string(sums), line) {
			t.Errorf("npm/sums does not have the sum of static/lib/%s. Do not edit it: make vendor-web writes both", f.Name())
		}
	}
}

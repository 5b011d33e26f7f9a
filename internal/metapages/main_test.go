package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"sluice/internal/golden"
)

//go:generate go test . -run TestPage -update

// TestPage: docs/meta-sources.md lists the pages that the repository cites.
func TestPage(t *testing.T) {
	t.Parallel()
	all, err := cited(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 30 {
		t.Errorf("only %d pages are cited", len(all))
	}
	golden.File(t, "../../"+page, render(all))
}

func TestCited(t *testing.T) {
	t.Parallel()
	repository := fstest.MapFS{}
	for _, source := range sources {
		repository[source] = &fstest.MapFile{}
	}
	delete(repository, "internal")
	for file, text := range map[string]string{
		"internal/a.go":            "// https://developers.facebook.com/docs/one#limits.\n// https://developers.facebook.com/docs/one/",
		"internal/a_test.go":       "https://developers.facebook.com/docs/two",
		"internal/testdata/a.json": "https://developers.facebook.com/docs/two",
		"internal/b.go":            "(https://developers.facebook.com/docs/one), https://developers.facebook.com/apps/",
	} {
		repository[file] = &fstest.MapFile{Data: []byte(text)}
	}
	all, err := cited(repository)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(all); got != "map[https://developers.facebook.com/docs/one:[internal/a.go internal/b.go]]" {
		t.Errorf("cited: %s", got)
	}
}

// TestCheck: another text is a change and another markup is none; what is accepted is the same from then on.
func TestCheck(t *testing.T) {
	t.Parallel()
	words, nonce := "Ten messages per second. ", 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nonce++
		switch r.URL.Path {
		case "/empty":
		case "/gone":
			w.WriteHeader(http.StatusNotFound)
		default:
			fmt.Fprintf(w, "<head><script>%d</script></head><p class=x%d>%s</p>", nonce, nonce, strings.Repeat(words, 20))
		}
	}))
	defer server.Close()
	seen := filepath.Join(t.TempDir(), "seen.txt")
	run := func(path string, accept bool, want, wantErr string) {
		t.Helper()
		var out strings.Builder
		err := check(t.Context(), &out, []string{server.URL + path}, seen, accept)
		if !strings.HasPrefix(out.String(), want) || (wantErr == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%s: %q, %v; want %q, %q", path, out.String(), err, want, wantErr)
		}
	}
	run("/limits", false, "new", "1 of 1 pages are new or changed")
	run("/limits", true, "new", "")
	run("/limits", false, "same", "")
	words = "Nine messages per second. "
	run("/limits", false, "changed", "1 of 1 pages are new or changed")
	run("/limits", true, "changed", "")
	run("/limits", false, "same", "")
	run("/gone", false, "failed", "could not be fetched")
	run("/empty", false, "failed", "could not be fetched")
	run("/limits", false, "same", "")
}

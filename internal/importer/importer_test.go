package importer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/client"
	"sluice/internal/importfile"
)

// importing runs an import of a file through an API, and returns it with what it printed.
func importing(t *testing.T, api http.HandlerFunc, file string) (im *Import, ids, said string, err error) {
	t.Helper()
	srv := httptest.NewServer(api)
	t.Cleanup(srv.Close)
	var out, wrong strings.Builder
	im = New(Options{API: once(srv.URL), File: fileOf(t, file, importfile.Options{From: "9"}), IDs: &out, Notes: &wrong})
	im.pause = func(context.Context) error { return nil }
	err = im.Run(t.Context())
	return im, out.String(), wrong.String(), err
}

// once returns a client that makes each call once.
func once(url string) *client.Client { return client.New(url, "k", client.WithRetryFor(0)) }

// fileOf returns a file of messages.
func fileOf(t *testing.T, text string, o importfile.Options) *importfile.File {
	t.Helper()
	f, err := importfile.Open(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestImport(t *testing.T) {
	t.Parallel()
	const answer = `{"line":1,"status":202,"id":"1-a","state":"queued","class":"service","expires_at":"2030-01-01T00:00:00Z","duplicate":false}
{"line":2,"status":200,"id":"1-b","state":"read","class":"service","expires_at":"2030-01-01T00:00:00Z","duplicate":true}
{"line":3,"status":422,"problem":{"status":422,"code":"text_too_long","detail":"Too long.","errors":[{"path":"message.text.body","detail":"Too long.","fix":"Shorten it."}]}}
`
	var got string
	im, ids, said, err := importing(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + r.Header.Get("Content-Type") + " " + string(body)
		io.WriteString(w, answer)
	}, "{\"a\":1,\"key\":\"1\"}\n{\"key\":\"2\"}\n\n{\"key\":\"3\"}")
	if c := im.Progress().String(); c != "1 accepted, 1 accepted before, 1 refused" || err != nil {
		t.Errorf("%s, %v", c, err)
	}
	if want := "POST /v1/messages/batch Bearer k application/x-ndjson {\"a\":1,\"key\":\"1\"}\n{\"key\":\"2\"}\n{\"key\":\"3\"}\n"; got != want {
		t.Errorf("called %q, want %q", got, want)
	}
	if ids != "1 1-a\n2 1-b\n" || !strings.HasPrefix(said, "line 4: 422 text_too_long") || !strings.Contains(said, "message.text.body: Too long. Shorten it.") {
		t.Errorf("ids %q, said %q", ids, said)
	}
}

// What the API refuses as a whole, and an API that is not there, end the import at once.
func TestImportEndsWhereWaitingIsOfNoUse(t *testing.T) {
	t.Parallel()
	_, _, said, err := importing(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"code":"scope_missing","detail":"No."}`)
	}, `{"key":"1"}`)
	if err == nil || !strings.Contains(err.Error(), "scope_missing") || said != "" {
		t.Errorf("%v, said %q", err, said)
	}
	im := New(Options{API: once("http://127.0.0.1:1"), File: fileOf(t, `{"key":"1"}`, importfile.Options{})})
	if err := im.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("no API: %v", err)
	}
}

// TestImportWaitsForTheStore: while the API answers 503, breaks off or cannot be reached, the import waits, says so in
// one line, and goes on with the lines that were not accepted, in their order.
func TestImportWaitsForTheStore(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	for n := range 40 {
		fmt.Fprintf(&file, "{\"key\":\"%d\"}\n", n+1)
	}
	for name, outage := range map[string]func(w http.ResponseWriter, line int){
		"full":      func(w http.ResponseWriter, line int) { answer(w, line, "overloaded") },
		"no Redis":  func(w http.ResponseWriter, line int) { answer(w, line, "store_unavailable") },
		"a restart": func(w http.ResponseWriter, line int) { answer(w, line, "stopping"); panic(http.ErrAbortHandler) },
		"a crash":   func(http.ResponseWriter, int) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			var accepted []string
			seen := map[string]bool{}
			im, ids, said, err := importing(t, func(w http.ResponseWriter, r *http.Request) {
				call := calls.Add(1)
				http.NewResponseController(w).EnableFullDuplex()
				w.WriteHeader(http.StatusOK)
				lines := bufio.NewScanner(r.Body)
				for n := 1; lines.Scan(); n++ {
					if call == 1 && n > 5 || call == 2 || call == 3 {
						outage(w, n)
						continue
					}
					if !seen[lines.Text()] { // what is answered while the connection breaks is sent again
						accepted = append(accepted, lines.Text())
					}
					seen[lines.Text()] = true
					answer(w, n, "")
				}
			}, file.String())
			if c := im.Progress().String(); c != "40 accepted, 0 accepted before, 0 refused" || err != nil {
				t.Errorf("%s, %v", c, err)
			}
			if got := strings.Join(accepted, "\n") + "\n"; got != file.String() {
				t.Errorf("the API accepted\n%s", got)
			}
			if n := strings.Count(ids, "\n"); n != 40 {
				t.Errorf("%d ids:\n%s", n, ids)
			}
			if lines := strings.Split(said, "\n"); len(lines) != 3 || !strings.Contains(lines[0], "The import waits") || !strings.Contains(lines[1], "accepted after") {
				t.Errorf("said %q", said)
			}
		})
	}
}

// A line without a key gets one, so it can be sent again.
func TestImportGivesKeys(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	seen := map[string]int{}
	im, _, _, err := importing(t, func(w http.ResponseWriter, r *http.Request) {
		call := calls.Add(1)
		lines := bufio.NewScanner(r.Body)
		for n := 1; lines.Scan(); n++ {
			seen[lines.Text()]++
			if call == 1 {
				answer(w, n, "store_unavailable")
			} else {
				answer(w, n, "")
			}
		}
	}, `{"ref":"a"}
{"ref":"b"}
`)
	if c := im.Progress().String(); c != "2 accepted, 0 accepted before, 0 refused" || err != nil || len(seen) != 2 {
		t.Errorf("%s, %v, %v", c, err, seen)
	}
	for line := range seen {
		if !strings.HasPrefix(line, `{"key":"ndjson-`) {
			t.Errorf("sent %s", line)
		}
	}
}

// answer writes the result of a line: accepted, or 503 with a code.
func answer(w http.ResponseWriter, line int, code string) {
	if code == "" {
		fmt.Fprintf(w, `{"line":%d,"status":202,"id":"1-%d"}`+"\n", line, line)
	} else {
		fmt.Fprintf(w, `{"line":%d,"status":503,"problem":{"status":503,"code":%q,"detail":"No."}}`+"\n", line, code)
	}
	w.(http.Flusher).Flush()
}

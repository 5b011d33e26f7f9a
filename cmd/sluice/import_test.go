package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/client"
)

func TestImport(t *testing.T) {
	t.Parallel()
	const answer = `{"line":1,"status":202,"id":"1-a","state":"queued","class":"service","expires_at":"2030-01-01T00:00:00Z","duplicate":false}
{"line":2,"status":200,"id":"1-b","state":"read","class":"service","expires_at":"2030-01-01T00:00:00Z","duplicate":true}
{"line":4,"status":422,"problem":{"status":422,"code":"text_too_long","detail":"Too long.","errors":[{"path":"message.text.body","detail":"Too long.","fix":"Shorten it."}]}}
`
	var got string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + " " + r.Header.Get("Content-Type") + " " + string(body)
		if strings.Contains(string(body), "stop") {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"code":"scope_missing","detail":"No."}`)
			return
		}
		io.WriteString(w, answer)
	}))
	defer api.Close()
	var out, wrong strings.Builder
	c := &client.Client{Base: api.URL, Key: "k"}
	accepted, duplicates, refused, err := importCmd{IDs: true}.lines(t.Context(), c, strings.NewReader("{}\n"), &out, &wrong)
	if accepted != 1 || duplicates != 1 || refused != 1 || err != nil {
		t.Errorf("%d accepted, %d before, %d refused, %v", accepted, duplicates, refused, err)
	}
	if want := "POST /v1/messages/batch Bearer k application/x-ndjson {}\n"; got != want {
		t.Errorf("called %q, want %q", got, want)
	}
	if out.String() != "1 1-a\n2 1-b\n" || !strings.HasPrefix(wrong.String(), "line 4: 422 text_too_long") || !strings.Contains(wrong.String(), "message.text.body: Too long.; Shorten it.") {
		t.Errorf("out %q, wrong %q", &out, &wrong)
	}
	if _, _, _, err := (importCmd{}).lines(t.Context(), c, strings.NewReader("stop"), &out, &wrong); err == nil || !strings.Contains(err.Error(), "scope_missing") {
		t.Errorf("refused as a whole: %v", err)
	}
}

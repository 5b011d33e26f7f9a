package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestEvents: the command prints the events of a stream, and goes on after the last id when the stream ends.
func TestEvents(t *testing.T) {
	t.Parallel()
	var asked []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		switch len(asked) {
		case 1:
			fmt.Fprint(w, ": hello\nretry: 2000\nid: a\n\ndata: {\"n\":1}\n\nid: b\ndata: {\"n\":2}\n\ndata: {\"n\":")
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			fmt.Fprint(w, ": keep-alive\nid: c\n\n: keep-alive\n\ndata: {\"n\":3}\n\n")
		case 4:
			fmt.Fprint(w, "event: problem\ndata: {\"status\":410,\"code\":\"cursor_too_old\",\"errors\":[{\"detail\":\"Dropped.\",\"fix\":\"Go on.\"}]}\n\n")
		default:
			cancel()
		}
	}))
	defer srv.Close()
	var out, log strings.Builder
	s := eventStream{url: srv.URL, key: "k", out: &out, log: &log}
	err := s.follow(ctx)
	if err == nil || err.Error() != "410 cursor_too_old:\n  Dropped. Go on." {
		t.Errorf("error %v", err)
	}
	if got := out.String(); got != "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n" {
		t.Errorf("printed %s", got)
	}
	if got := strings.Join(asked, ","); got != ",b,b,c" {
		t.Errorf("connected with the ids %s", got)
	}
	if n := strings.Count(log.String(), "connecting again"); n != 3 {
		t.Errorf("log: %s", log.String())
	}

	for status, want := range map[int]string{http.StatusNotFound: "404: the answer is not from Sluice", http.StatusBadGateway: "502: the answer"} {
		refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		s := eventStream{url: refuses.URL, out: &out, log: &log}
		if err := s.follow(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%d: %v", status, err)
		}
		refuses.Close()
	}
}

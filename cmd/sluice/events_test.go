package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/client"
)

// TestEvents: the command prints the events as they are, goes on after the last cursor when the API was away, and ends at a
// refusal.
func TestEvents(t *testing.T) {
	t.Parallel()
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.FormValue("from")+" "+r.FormValue("type")+" "+r.FormValue("cursor"))
		switch len(asked) {
		case 1:
			fmt.Fprint(w, `{"events":[{"n":1},{"n":2}],"cursor":"a"}`)
		case 2:
			w.Header().Set("Retry-After", "3") // longer than the command waits before it says so
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			fmt.Fprint(w, `{"events":[{"n":3,"new":[]}],"cursor":"b"}`)
		default:
			w.WriteHeader(http.StatusGone)
			fmt.Fprint(w, `{"status":410,"code":"cursor_too_old","detail":"Dropped.","errors":[{"fix":"Go on."}],"first_cursor":"c"}`)
		}
	}))
	defer srv.Close()
	var out, log strings.Builder
	err := eventsCmd{API: srv.URL, APIKey: "k", From: "oldest", Type: []client.EventType{"status"}}.print(t.Context(), &out, &log)
	if err == nil || err.Error() != "410 cursor_too_old: Dropped.\n  Go on." {
		t.Errorf("error %v", err)
	}
	if got := out.String(); got != "{\"n\":1}\n{\"n\":2}\n{\"n\":3,\"new\":[]}\n" {
		t.Errorf("printed %s", got)
	}
	if got := strings.Join(asked, ","); got != "oldest status ,oldest status a,oldest status a,oldest status b" {
		t.Errorf("asked %s", got)
	}
	if n := strings.Count(log.String(), "trying again: 503"); n != 1 {
		t.Errorf("log: %s", log.String())
	}
}

// TestEventsEnd: the first failure ends the command, and so does Ctrl-C.
func TestEventsEnd(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{http.StatusNotFound: "404 unknown: the answer is not from Sluice", http.StatusBadGateway: "502 unknown: the answer"} {
		refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		if err := (eventsCmd{API: refuses.URL, APIKey: "k"}).print(t.Context(), nil, nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%d: %v", status, err)
		}
		refuses.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("wait") != "" {
			cancel()
			<-r.Context().Done()
		}
		fmt.Fprint(w, `{"events":[],"cursor":"a"}`)
	}))
	defer waits.Close()
	if err := (eventsCmd{API: waits.URL, APIKey: "k"}).print(ctx, nil, nil); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
}

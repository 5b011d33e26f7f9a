package app_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"sluice/internal/redistest"
)

// Metrics, health and profiles are served on the ops listener alone: the others may be seen by
// those who are not to see these.
func TestOpsPagesAreNowhereElse(t *testing.T) {
	t.Parallel()
	p := startProducer(t, redistest.Start(t).URL(), "")
	for _, listener := range []string{p.Addr(), p.ConsoleAddr()} {
		for _, page := range []string{"/metrics", "/livez", "/readyz", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars"} {
			resp, err := http.Get("http://" + listener + page)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s%s: %d", listener, page, resp.StatusCode)
			}
		}
	}
}

// Above 75 % of Redis's memory nothing more is accepted, but who repeats an accepted message
// learns what became of it; below, all goes on by itself.
func TestAdmissionEndsBeforeRedisIsFull(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	c := srv.Client()
	p := startProducer(t, srv.URL(), "")
	order := func(key string) string {
		t.Helper()
		status, answer := ask(t, "POST", "http://"+p.Addr()+"/v1/messages", fmt.Sprintf(
			`{"from":%q,"key":%q,"message":{"to":"+15551234567","type":"text","text":{"body":"x"}}}`, number, key))
		if code, refused := answer["code"].(string); refused {
			return code
		}
		return strconv.Itoa(status)
	}
	limit := func(share float64) {
		t.Helper()
		used, err := strconv.ParseFloat(c.InfoMap(t.Context(), "memory").Item("Memory", "used_memory"), 64)
		if err == nil {
			err = c.ConfigSet(t.Context(), "maxmemory", strconv.FormatInt(int64(used/share), 10)).Err()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	until := func(what, key, want string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			got := order(key)
			if got == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %s, want %s", what, got, want)
			}
		}
	}
	until("there is room", "first", "202")
	limit(0.7)
	time.Sleep(1200 * time.Millisecond) // Redis is asked once a second
	until("70 % are used", "second", "202")
	limit(0.8)
	time.Sleep(1200 * time.Millisecond)
	until("80 % are used", "refused", "overloaded")
	if got := order("first"); got != "200" {
		t.Errorf("a repeat: %s", got)
	}
	limit(0.1)
	until("there is room again", "third", "202")
}

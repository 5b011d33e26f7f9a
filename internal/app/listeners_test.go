package app_test

import (
	"bufio"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sluice/internal/poll"
	"sluice/internal/redistest"
)

// TestOpsPagesAreNowhereElse: only the ops listener serves metrics, health and profiles, because the other listeners
// are open to callers.
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

// TestAdmissionEndsBeforeRedisIsFull: above 75 % of Redis's memory new messages are refused. A repeat of an accepted
// message is answered. Below 75 % new messages are accepted again.
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
		tries := 0
		poll.Until(t, what+": "+want, func() bool {
			tries++
			return order(key+strings.Repeat("'", tries-1)) == want // a repeat would get another answer
		})
	}
	// noticed waits until the producer has read this share from Redis, which it does once a second. The memory in use
	// varies, so the limit is set again before each check.
	noticed := func(share float64) {
		t.Helper()
		poll.Until(t, fmt.Sprint("the producer has read the used share ", share), func() bool {
			limit(share)
			until("the memory is read", "first", "200") // a producer reads it only while requests come
			return math.Abs(metric(t, p.OpsAddr(), "sluice_redis_memory_ratio")-share) < 0.02
		})
	}
	until("memory is free", "first", "202")
	noticed(0.7)
	until("70 % are used", "second", "202")
	noticed(0.8)
	until("80 % are used", "refused", "overloaded")
	if got := order("first"); got != "200" {
		t.Errorf("a repeat: %s", got)
	}
	limit(0.1)
	until("memory is free again", "third", "202")
}

// metric returns a metric of a program; 0: it has none with this name.
func metric(t *testing.T, ops, name string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if text, value, found := strings.Cut(lines.Text(), " "); found && strings.HasPrefix(text, name) {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}
